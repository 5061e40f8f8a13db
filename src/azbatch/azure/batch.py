"""The Batch data plane through azure-batch's client: its pipeline signs, retries and paces; bodies are plain JSON.

Retries: 429 and 503 are tried again after Retry-After, at most RETRIES times. Source: REST API 2025-06-01.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from azbatch.azure import credentials
from azbatch.azure.faults import broke_off, refused, unreachable
from azbatch.errors import ConfigurationError, ServiceError

API_VERSION = "2025-06-01"
POOLS = "2024-07-01"  # of Azure Resource Manager
CONTENT = "application/json; odata=minimalmetadata"
RETRIES = 6
TIMEOUT = 60
RESETS = 4  # times that a request is repeated after its connection was reset
MADE = frozenset({"PoolExists", "JobExists"})

Json = dict[str, Any]


def _path(*parts: str) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)


class BatchAccount:
    """One Batch account. `requests` counts calls by method and kind; methods raise ServiceError.

    Implements azbatch.pools.ports.PoolPort and azbatch.jobs.ports.JobPort.
    """

    def __init__(self, account_url: str | None = None, key: str | None = None, *, account_id: str = "") -> None:
        """`account_id` is the account's resource id, for what only Azure Resource Manager does."""
        self.account_id = account_id or os.environ.get(credentials.ACCOUNT_ID, "")
        self.url = credentials.endpoint(account_url, credentials.ACCOUNT_URL, "Batch account URL")
        self._key = key or os.environ.get(credentials.ACCOUNT_KEY)
        self._client: Any = None
        self.requests: Counter[str] = Counter()

    def _connected(self) -> Any:
        if self._client is None:
            from azure.batch import BatchClient

            credential = credentials.shared_key(self.url, self._key) if self._key else credentials.entra()
            self._client = BatchClient(
                self.url, credential, retry_total=RETRIES, connection_timeout=10, read_timeout=TIMEOUT
            )
        return self._client

    def close(self) -> None:
        """Give the connections back."""
        if self._client is not None:
            self._client.close()

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        kind: str = "",
    ) -> Any:
        from azure.core.exceptions import AzureError
        from azure.core.rest import HttpRequest

        self.requests[f"{method} {kind or path.split('/')[1]}"] += 1
        tries: list[Any] = []
        for attempt in range(RESETS + 1):
            request = HttpRequest(
                method,
                path,
                params={"api-version": API_VERSION, **(query or {})},
                headers={"Content-Type": CONTENT, "Accept": "application/json", **(headers or {})}
                if body is not None
                else {"Accept": "application/json", **(headers or {})},
                json=body,
            )
            try:
                response = self._connected().send_request(request, stream=stream, raw_request_hook=tries.append)
                break
            except AzureError as error:
                # The client itself raises for some codes, with the service's answer.
                answer = getattr(error, "response", None)
                if answer is not None:
                    response = answer
                    break
                # The client repeats no POST whose answer was lost; ours may all be sent twice.
                if not broke_off(error) or attempt == RESETS:
                    raise unreachable(self.url, error) from error
                time.sleep(0.1 * 2**attempt)
        if response.status_code >= 400:
            if stream:
                response.read()
            fault = refused(response, f"{method} {path}")
            if len(tries) > 1 and fault.code in MADE:
                # An earlier try made it, and its answer was lost.
                return response
            raise fault
        return response

    def _json(self, method: str, path: str, **options: Any) -> Json:
        response = self._send(method, path, **options)
        value = response.json() if response.content else {}
        assert isinstance(value, dict)
        return value

    def _pages(self, path: str, query: Mapping[str, str] | None = None, kind: str = "") -> Iterator[list[Json]]:
        """The pages of a list; each is one request."""
        from urllib.parse import parse_qsl, urlsplit

        asked = dict(query or {})
        while True:
            answer = self._json("GET", path, query=asked, kind=kind)
            yield answer.get("value", [])
            following = answer.get("odata.nextLink")
            if not following:
                return
            asked = {name: value for name, value in parse_qsl(urlsplit(following).query) if name != "api-version"}

    def _list(self, path: str, query: Mapping[str, str] | None = None, kind: str = "") -> list[Json]:
        return [entry for page in self._pages(path, query, kind) for entry in page]

    # Pools

    def create_pool(self, body: Json) -> None:
        self._send("POST", "/pools", body=body)

    def create_pool_resource(self, pool_id: str, resource: Json) -> None:
        """Pool - Create of Azure Resource Manager; raises ServiceError PoolExists where there is one of that id."""
        from azbatch.azure.arm import ArmClient

        if not self.account_id:
            text = (
                f"Pool '{pool_id}' with an identity is made by Azure Resource Manager, which asks for the account's "
                f"resource id: set {credentials.ACCOUNT_ID}, or run on the head node of a workspace."
            )
            raise ConfigurationError([text])
        arm = ArmClient()
        try:
            arm.put(f"{self.account_id}/pools/{pool_id}", POOLS, resource, new=True)
        except ServiceError as error:
            if error.status != 412:
                raise
            raise ServiceError(
                f"Pool '{pool_id}' exists already: choose another name.", code="PoolExists", status=409
            ) from None
        finally:
            arm.close()

    def get_pool(self, pool_id: str) -> Json:
        return self._json("GET", _path("pools", pool_id))

    def list_pools(self) -> list[Json]:
        return self._list("/pools")

    def delete_pool(self, pool_id: str) -> None:
        """Ask for the deletion; a pool that is gone or going is fine."""
        self._forgiving("DELETE", _path("pools", pool_id), {"PoolNotFound", "PoolBeingDeleted"})

    def resize_pool(self, pool_id: str, dedicated: int | None, spot: int | None) -> None:
        body = {"targetDedicatedNodes": dedicated, "targetLowPriorityNodes": spot}
        self._send("POST", _path("pools", pool_id, "resize"), body={k: v for k, v in body.items() if v is not None})

    def enable_autoscale(self, pool_id: str, formula: str, interval: str) -> None:
        body = {"autoScaleFormula": formula, "autoScaleEvaluationInterval": interval}
        self._send("POST", _path("pools", pool_id, "enableautoscale"), body=body)

    def disable_autoscale(self, pool_id: str) -> None:
        self._send("POST", _path("pools", pool_id, "disableautoscale"))

    def remove_nodes(self, pool_id: str, node_ids: Sequence[str]) -> None:
        """At most 100 nodes; their tasks are queued again. Only a steady pool without autoscale takes it."""
        body = {"nodeList": list(node_ids), "nodeDeallocationOption": "requeue"}
        self._send("POST", _path("pools", pool_id, "removenodes"), body=body)

    def evaluate_autoscale(self, pool_id: str, formula: str) -> Json:
        """The outcome of one evaluation; a fault of the formula is in its `error`."""
        return self._json("POST", _path("pools", pool_id, "evaluateautoscale"), body={"autoScaleFormula": formula})

    def list_nodes(self, pool_id: str) -> list[Json]:
        return self._list(_path("pools", pool_id, "nodes"), kind="nodes")

    def supported_images(self) -> list[Json]:
        return self._list("/supportedimages")

    def read_node_file(self, pool_id: str, node_id: str, path: str, last: int) -> bytes:
        """The last bytes of a node's file, such as startup/stderr.txt."""
        return self._tail(_path("pools", pool_id, "nodes", node_id, "files", path), last)

    # Jobs and tasks

    def create_job(self, body: Json) -> None:
        self._send("POST", "/jobs", body=body)

    def get_job(self, job_id: str) -> Json:
        return self._json("GET", _path("jobs", job_id))

    def list_jobs(self) -> list[Json]:
        return self._list("/jobs")

    def terminate_job(self, job_id: str, reason: str) -> None:
        """End the job and all its tasks with one call; a job that has ended or is gone is fine."""
        ended = {"JobNotFound", "JobCompleted", "JobBeingTerminated", "JobBeingDeleted"}
        self._forgiving("POST", _path("jobs", job_id, "terminate"), ended, body={"terminateReason": reason})

    def delete_job(self, job_id: str) -> None:
        """Ask for the deletion; a job that is gone or going is fine."""
        self._forgiving("DELETE", _path("jobs", job_id), {"JobNotFound", "JobBeingDeleted"})

    def add_tasks(self, job_id: str, bodies: Sequence[Json]) -> list[Json]:
        """One addtaskcollection call of at most 100 tasks: a result for each."""
        answer = self._json(
            "POST", _path("jobs", job_id, "addtaskcollection"), body={"value": list(bodies)}, kind="tasks"
        )
        return list(answer.get("value", []))

    def list_tasks(self, job_id: str, *, filter: str | None = None, select: str | None = None) -> list[Json]:
        query = {"$filter": filter, "$select": select}
        given = {name: value for name, value in query.items() if value}
        return self._list(_path("jobs", job_id, "tasks"), given, kind="tasks")

    def get_task(self, job_id: str, task_id: str) -> Json:
        return self._json("GET", _path("jobs", job_id, "tasks", task_id), kind="task")

    def terminate_task(self, job_id: str, task_id: str) -> None:
        ended = {"TaskNotFound", "TaskCompleted", "JobNotFound", "JobCompleted"}
        self._forgiving("POST", _path("jobs", job_id, "tasks", task_id, "terminate"), ended)

    def task_counts(self, job_id: str) -> Json:
        counts = self._json("GET", _path("jobs", job_id, "taskcounts"), kind="taskcounts")["taskCounts"]
        assert isinstance(counts, dict)
        return counts

    def list_task_files(self, job_id: str, task_id: str) -> list[Json]:
        return self._list(_path("jobs", job_id, "tasks", task_id, "files"), {"recursive": "true"}, kind="files")

    def read_task_file(self, job_id: str, task_id: str, path: str, last: int) -> bytes:
        """The last `last` bytes of a task's file, such as stderr.txt."""
        return self._tail(_path("jobs", job_id, "tasks", task_id, "files", path), last)

    def read_task_file_from(self, job_id: str, task_id: str, path: str, first: int) -> bytes:
        """What was written to a task's file since its byte number `first`; empty where nothing was."""
        url = _path("jobs", job_id, "tasks", task_id, "files", path)
        size = self._size(url)
        if size <= first:
            return b""
        answer = self._send("GET", url, headers={"ocp-range": f"bytes={first}-{size - 1}"}, stream=True, kind="files")
        return b"".join(answer.iter_bytes())

    def _size(self, path: str) -> int:
        """Bytes of a file now. Raises ServiceError."""
        try:
            return int(self._send("HEAD", path, kind="files").headers.get("Content-Length", "0"))
        except ServiceError as error:
            if error.code.startswith("HTTP "):
                # A refused HEAD has no body: what is wrong stands in that of a GET.
                self._send("GET", path, headers={"ocp-range": "bytes=0-0"}, kind="files")
            raise

    def _tail(self, path: str, last: int) -> bytes:
        size = self._size(path)
        if size == 0:
            return b""
        first = max(0, size - last)
        response = self._send(
            "GET", path, headers={"ocp-range": f"bytes={first}-{size - 1}"}, stream=True, kind="files"
        )
        return b"".join(response.iter_bytes())

    def _forgiving(self, method: str, path: str, fine: set[str], body: Json | None = None) -> None:
        try:
            self._send(method, path, body=body)
        except ServiceError as error:
            if error.code not in fine:
                raise
