"""A pool for one run: made for it, known to be ours by its metadata, removed after it whatever happens."""

from __future__ import annotations

import atexit
import os
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from azbatch.errors import AzbatchError, ServiceError
from azbatch.pools import manage
from azbatch.pools.ports import PoolPort
from azbatch.pools.spec import PoolSpec
from azbatch.pools.watch import Assessment
from azbatch.signals import Interrupts

Json = dict[str, Any]
RUN, OWNER = "azbatch-run", "azbatch-owner"


class RunPort(PoolPort, Protocol):
    """Pools, and the jobs that run on them."""

    def list_jobs(self) -> list[Json]: ...

    def terminate_job(self, job_id: str, reason: str) -> None: ...


def this_process() -> str:
    """`HOST/PID/START`: START tells this process from a later one with the same number."""
    return f"{socket.gethostname()}/{os.getpid()}/{_started(os.getpid())}"


def _started(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def alive(owner: str) -> bool | None:
    """Whether the process that `this_process` described still runs; None where that cannot be known (another host)."""
    host, _, rest = owner.rpartition("/")[0].rpartition("/")
    started = owner.rpartition("/")[2]
    if host != socket.gethostname() or not rest.isdigit():
        return None
    return bool(started) and _started(int(rest)) == started


class OwnPool:
    """`with OwnPool(...)`: made and usable inside, removed at the end, also on failure, Ctrl-C and SIGTERM.

    A pool of the same id that a killed run of this machine left is removed first; any other is refused, never touched.
    Raises AzbatchError, ServiceError, ConfigurationError.
    """

    def __init__(
        self,
        port: RunPort,
        spec: PoolSpec,
        *,
        interrupts: Interrupts,
        said: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.run = uuid.uuid4().hex
        metadata = {**spec.metadata, RUN: self.run, OWNER: this_process()}
        self.spec = replace(spec, metadata=metadata)
        self._port, self._interrupts, self._said, self._sleep = port, interrupts, said, sleep
        self._asked = False
        self._last: tuple[str, ...] = ()

    def __enter__(self) -> OwnPool:
        self.spec.body()
        self._clear_the_place()
        atexit.register(self.close)
        try:
            # A request that was sent may be carried out although nobody waits for its answer.
            with self._interrupts.held():
                self._asked = True
                manage.create(self._port, self.spec)
            self._said(f"Pool '{self.spec.id}' of {self.spec.vm_size} is being made.")
            if self.spec.dedicated or self.spec.spot:
                manage.wait_until_ready(self._port, self.spec.id, progress=self._progress, sleep=self._sleep)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _progress(self, now: Assessment) -> None:
        if now.lines != self._last:
            self._last = now.lines
            for line in now.lines:
                self._said(line)

    def _clear_the_place(self) -> None:
        found = self._find()
        if found is None:
            return
        if found.get("state") != "deleting":
            owner = _metadata(found).get(OWNER, "")
            if not owner or alive(owner) is not False:
                whose = f"by process {owner.split('/')[1]} on {owner.split('/')[0]}" if owner else "by someone else"
                raise AzbatchError(
                    f"Pool '{self.spec.id}' exists already, made {whose}: choose another name, or delete it with "
                    f"`azbatch pool delete {self.spec.id}` if nobody needs it."
                )
            self._said(f"Removing pool '{self.spec.id}', which a killed run left.")
            self._port.delete_pool(self.spec.id)
        while self._find() is not None:
            self._sleep(0.5)

    def _find(self) -> Json | None:
        try:
            return self._port.get_pool(self.spec.id)
        except ServiceError as error:
            if error.code != "PoolNotFound":
                raise
            return None

    def close(self) -> None:
        """End the jobs on the pool, and remove it if it is this run's. Once; signals wait meanwhile."""
        if not self._asked:
            return
        with self._interrupts.held(dropped=True):
            found = self._find()
            if found is not None and _metadata(found).get(RUN) == self.run:
                for job in self._port.list_jobs():
                    on_it = (job.get("poolInfo") or {}).get("poolId") == self.spec.id
                    if on_it and job.get("state") not in {"completed", "terminating", "deleting"}:
                        self._port.terminate_job(str(job["id"]), "The run that made the pool has ended.")
                self._port.delete_pool(self.spec.id)
                self._said(f"Pool '{self.spec.id}' is being removed.")
            self._asked = False
        atexit.unregister(self.close)


def _metadata(pool: Json) -> dict[str, str]:
    return {str(item["name"]): str(item["value"]) for item in pool.get("metadata") or ()}
