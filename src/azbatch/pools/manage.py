"""Making a pool and waiting for it. Time and sleep are arguments."""

from __future__ import annotations

import time
from collections.abc import Callable

from azbatch.errors import AzbatchError, ServiceError
from azbatch.pools.ports import PoolPort
from azbatch.pools.spec import PoolSpec
from azbatch.pools.watch import Assessment, Verdict, assess
from azbatch.signals import Interrupts


def create(port: PoolPort, spec: PoolSpec) -> None:
    """Ask the service for the pool: through Resource Manager where it has identities, else through the data plane.

    Raises ConfigurationError, ServiceError.
    """
    if spec.identities():
        port.create_pool_resource(spec.id, spec.resource())
    else:
        port.create_pool(spec.body())


def make(
    port: PoolPort,
    spec: PoolSpec,
    *,
    interrupts: Interrupts,
    said: Callable[[str], None],
    judge: Callable[[], None] = lambda: None,
    progress: Callable[[Assessment], None] = lambda _: None,
    wait: bool = True,
    keep_failed: bool = False,
) -> None:
    """Create the pool, let `judge` look at it, and wait for a node where it has a fixed number of them.

    One that fails or is interrupted is deleted again, unless it is to be kept; one that was there before stays. Raises
    ConfigurationError, ServiceError, AzbatchError, KeyboardInterrupt.
    """
    made = False
    try:
        # A request that was sent may be carried out although nobody waits for its answer.
        with interrupts.held():
            create(port, spec)
            made = True
        said(f"Pool '{spec.id}' of {spec.vm_size} with {spec.slots} slots a node is being made.")
        judge()
        if wait and (spec.dedicated or spec.spot):
            wait_until_ready(port, spec.id, progress=progress)
    except (AzbatchError, KeyboardInterrupt):
        if made and keep_failed:
            said(f"Pool '{spec.id}' is kept, and costs; delete it with: azbatch pool delete {spec.id}")
        elif made:
            with interrupts.held():
                port.delete_pool(spec.id)
            said(f"Pool '{spec.id}' is being deleted again.")
        raise


def look(port: PoolPort, pool_id: str) -> Assessment:
    """Judge the pool as it is now."""
    return assess(port.get_pool(pool_id), port.list_nodes(pool_id))


def wait_until_ready(
    port: PoolPort,
    pool_id: str,
    *,
    timeout: float = 1800.0,
    progress: Callable[[Assessment], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Assessment:
    """Return once a node is usable. Raises AzbatchError, saying why, where none will be or none came in time."""
    started, pause = clock(), 0.2
    while True:
        now = look(port, pool_id)
        progress(now)
        if now.verdict is Verdict.READY:
            return now
        if now.verdict is Verdict.FAILED:
            raise AzbatchError(" ".join([*now.lines, *start_task_output(port, pool_id)]))
        if clock() - started > timeout:
            raise AzbatchError(f"{' '.join(now.lines)} No node became usable within {timeout:g} s.")
        sleep(pause)
        pause = min(pause * 1.5, 10.0)


def start_task_output(port: PoolPort, pool_id: str, last: int = 2000) -> list[str]:
    """What the start task said at its end on the first node where it failed; nothing where none can be read."""
    for node in port.list_nodes(pool_id):
        if node.get("state") != "starttaskfailed":
            continue
        for name in ("stderr.txt", "stdout.txt"):
            try:
                text = port.read_node_file(pool_id, str(node["id"]), f"startup/{name}", last).decode(errors="replace")
            except ServiceError:
                continue
            if text.strip():
                return [f"Its {name} ends:\n{text.strip()}"]
    return []
