"""What a node's agent does with blobs: fetch, list, put. Blocking, streaming in constant memory, over plain REST.

The Azure SDK is not used here, so that what it misreads is not excused by the emulator misreading it in the same way.
Source: REST, Get Blob, List Blobs, Put Blob, Put Block, Put Block List.
"""

from __future__ import annotations

import base64
import errno
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from azbatch_emulator.faults import fault
from azbatch_emulator.records import Fault
from azbatch_emulator.runners.layout import bare_url, blob_url

API_VERSION = "2021-12-02"
CHUNK = 1024 * 1024
BLOCK = 8 * 1024 * 1024
MAX_BLOCKS = 50_000
TIMEOUT = (10.0, 60.0)  # seconds to connect, and between bytes
ATTEMPTS = 3
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
STORAGE = "https://storage.azure.com"
_HEADERS = {
    "content-type": "x-ms-blob-content-type",
    "content-encoding": "x-ms-blob-content-encoding",
    "content-language": "x-ms-blob-content-language",
    "content-disposition": "x-ms-blob-content-disposition",
    "cache-control": "x-ms-blob-cache-control",
}


class Cancelled(Exception):
    """The run was killed while its files were on their way."""


class TransferFailed(Exception):
    """A transfer did not succeed; `fault` is the task's failureInfo."""

    def __init__(self, reason: Fault) -> None:
        super().__init__(reason.code)
        self.fault = reason


class Blobs:
    """Transfers that trust `ca_bundle`; `token(resource, identity)` opens what that identity may. Safe for threads."""

    def __init__(self, ca_bundle: Path, token: Callable[[str, str], str], proxy: str = "") -> None:
        self._bundle = str(ca_bundle)
        self._token = token
        self._sessions = {True: self._session(), False: self._session()}
        # Loopback is reached directly, whatever proxies and netrc the user has; other hosts as the user has set up.
        self._sessions[True].trust_env = False
        if proxy:
            self._sessions[False].proxies = {"https": proxy}
            self._sessions[False].trust_env = False

    @staticmethod
    def _session() -> requests.Session:
        retry = Retry(
            total=4,
            connect=1,
            backoff_factor=0.2,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=None,
            raise_on_status=False,
        )
        session = requests.Session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry, pool_maxsize=32))
        return session

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()

    def _send(self, method: str, url: str, *, bearer: str, headers: Mapping[str, str], **more: Any) -> Any:
        sent = {"Accept-Encoding": "identity", **headers}
        if bearer:
            sent |= {"Authorization": f"Bearer {self._token(STORAGE, bearer)}", "x-ms-version": API_VERSION}
        session = self._sessions[(urlsplit(url).hostname or "") in LOOPBACK]
        return session.request(method, url, headers=sent, timeout=TIMEOUT, verify=self._bundle, **more)

    def download(self, url: str, path: Path, *, bearer: str, cancelled: Callable[[], bool]) -> None:
        """GET `url` into the file. Raises TransferFailed, Cancelled."""
        for left in reversed(range(ATTEMPTS)):
            try:
                self._fetch(url, path, bearer, cancelled)
                return
            except (requests.Timeout, requests.ConnectionError, HTTPError) as error:
                if left == 0:
                    code = "BlobDownloadTimedOut" if isinstance(error, requests.Timeout) else "BlobDownloadMiscError"
                    raise _failed(code, url, type(error).__name__) from None
            except requests.RequestException as error:
                raise _failed("BlobDownloadMiscError", url, type(error).__name__) from None
            except OSError as error:
                code = "DiskFull" if error.errno in {errno.ENOSPC, errno.EDQUOT} else "ResourceFileCreateFailed"
                raise _failed(code, url, error.strerror or str(error)) from None

    def _fetch(self, url: str, path: Path, bearer: str, cancelled: Callable[[], bool]) -> None:
        with self._send("GET", url, bearer=bearer, headers={}, stream=True) as answer:
            if answer.status_code != 200:
                code = {401: "BlobAccessDenied", 403: "BlobAccessDenied", 404: "BlobNotFound"}
                raise _failed(code.get(answer.status_code, "BlobDownloadMiscError"), url, _reason(answer))
            with path.open("wb") as file:
                # Stored bytes as they are, also where the blob says that they are compressed.
                for chunk in answer.raw.stream(CHUNK, decode_content=False):
                    if cancelled():
                        raise Cancelled
                    file.write(chunk)

    def names(self, container_url: str, prefix: str, *, bearer: str) -> Iterator[str]:
        """The names of a container's blobs below a prefix. Raises TransferFailed."""
        marker = ""
        while True:
            query = {"restype": "container", "comp": "list", "prefix": prefix, "marker": marker}
            try:
                answer = self._send("GET", container_url, bearer=bearer, headers={}, params=query)
            except requests.RequestException as error:
                raise _failed("ResourceContainerListMiscError", container_url, type(error).__name__) from None
            if answer.status_code != 200:
                denied, missing = "ResourceContainerAccessDenied", "ResourceContainerNotFound"
                code = {401: denied, 403: denied, 404: missing}.get(
                    answer.status_code, "ResourceContainerListMiscError"
                )
                raise _failed(code, container_url, _reason(answer))
            page = ElementTree.fromstring(answer.content)  # noqa: S314 - expat limits entity expansion
            yield from (name.text or "" for name in page.iterfind("Blobs/Blob/Name"))
            marker = page.findtext("NextMarker") or ""
            if not marker:
                return

    def upload(
        self,
        path: Path,
        container_url: str,
        name: str,
        *,
        bearer: str,
        headers: Mapping[str, str],
        cancelled: Callable[[], bool],
    ) -> None:
        """Put a file as a block blob. `headers` are its uploadHeaders. Raises TransferFailed, Cancelled."""
        url = blob_url(container_url, name)
        properties = {_HEADERS[key.lower()]: value for key, value in headers.items() if key.lower() in _HEADERS}
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                if size <= BLOCK:
                    self._put(url, file.read(), bearer, {"x-ms-blob-type": "BlockBlob", **properties})
                    return
                ids: list[str] = []
                block = max(BLOCK, math.ceil(size / MAX_BLOCKS))
                while part := file.read(block):
                    if cancelled():
                        raise Cancelled
                    ids.append(base64.b64encode(f"{len(ids):06d}".encode()).decode())
                    self._put(_with(url, f"comp=block&blockid={ids[-1].replace('=', '%3D')}"), part, bearer, {})
            listed = "".join(f"<Latest>{escape(block_id)}</Latest>" for block_id in ids)
            body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'.encode()
            self._put(_with(url, "comp=blocklist"), body, bearer, properties)
        except requests.RequestException as error:
            raise _failed("FileUploadMiscError", url, type(error).__name__) from None
        except OSError as error:
            raise _failed("FileUploadMiscError", url, f"{path.name}: {error.strerror}") from None

    def upload_bytes(self, content: bytes, container_url: str, name: str, *, bearer: str) -> None:
        """Put a small block blob. Raises TransferFailed."""
        url = blob_url(container_url, name)
        try:
            self._put(url, content, bearer, {"x-ms-blob-type": "BlockBlob"})
        except requests.RequestException as error:
            raise _failed("FileUploadMiscError", url, type(error).__name__) from None

    def _put(self, url: str, body: bytes, bearer: str, headers: Mapping[str, str]) -> None:
        answer = self._send("PUT", url, bearer=bearer, headers=headers, data=body)
        if answer.status_code != 201:
            code = {401: "FileUploadAccessDenied", 403: "FileUploadAccessDenied", 404: "FileUploadContainerNotFound"}
            raise _failed(code.get(answer.status_code, "FileUploadMiscError"), url, _reason(answer))


def _with(url: str, query: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, query)))))


def _reason(answer: requests.Response) -> str:
    return str(answer.headers.get("x-ms-error-code") or f"HTTP {answer.status_code}")


def _failed(code: str, url: str, reason: str) -> TransferFailed:
    # The service names the file under FilePath; the address is told without its SAS.
    return TransferFailed(fault(code, FilePath=bare_url(url), Message=reason))
