"""What the pytest fixtures `batch_faults` and `batch_clock` are; usable with any running `Emulator`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Protocol


class Controlled(Protocol):
    """What has control routes: an `Emulator`."""

    def control(self, path: str, /, **body: Any) -> dict[str, Any]: ...


class BatchFaults:
    """Faults by rule and by call; `reset` of the emulator, and so the next test, ends them.

    All methods raise EmulatorError, which says why, where what is asked makes no sense.
    """

    def __init__(self, emulator: Controlled) -> None:
        self._control = emulator.control

    def add(self, kind: str, **rule: Any) -> str:
        """A rule for requests (docs/emulator-faults.md): its id. `add("status", status=503, operation="GetJob")`."""
        return str(self._control("faults/add", kind=kind, **rule)["ids"][0])

    def clear(self, rule: str | None = None) -> None:
        """Forget one rule, or all."""
        self._control("faults/clear", **({} if rule is None else {"id": rule}))

    def struck(self) -> dict[str, int]:
        """How many requests were hit, by kind."""
        return dict(self._control("struck"))

    def preempt(self, pool_id: str, node_id: str) -> None:
        """A spot node loses its machine."""
        self._control("preempt", pool_id=pool_id, node_id=node_id)

    def break_node(self, pool_id: str, node_id: str, **error: str) -> None:
        """A node becomes unusable, with `code` and `message`; its tasks are requeued."""
        self._control("break", pool_id=pool_id, node_id=node_id, **error)

    def fail_start_tasks(self, pool_id: str, count: int = 1, exit_code: int = 1) -> None:
        """The next start tasks of a pool fail."""
        self._control("fail-start-tasks", pool_id=pool_id, count=count, exit_code=exit_code)

    def fail_nodes(self, pool_id: str, count: int = 1, **error: str) -> None:
        """The next nodes of a pool come up unusable, with `code` and `message`."""
        self._control("fail-nodes", pool_id=pool_id, count=count, **error)

    def fail_resizes(self, pool_id: str, count: int = 1, **error: str) -> None:
        """The next resizes of a pool get no node, with `code` and `message`."""
        self._control("fail-resizes", pool_id=pool_id, count=count, **error)

    def quota(self, dedicated_cores: int | None = None, spot_cores: int | None = None) -> None:
        """How many cores the account may use; None: without limit."""
        self._control("quota", dedicated_cores=dedicated_cores, spot_cores=spot_cores)


class BatchClock:
    """The service's clock. Signatures and tokens are judged by the real one."""

    def __init__(self, emulator: Controlled) -> None:
        self._control = emulator.control

    def now(self) -> datetime:
        """The service's time, UTC."""
        return datetime.fromisoformat(str(self._control("clock")["now"]))

    def pause(self) -> None:
        """Let time stand still but for `advance`."""
        self._control("clock", pause=True)

    def resume(self) -> None:
        """Let time jump to what is due next again."""
        self._control("clock", pause=False)

    def advance(self, by: timedelta | float) -> datetime:
        """Let that much time (seconds, or a timedelta) pass at once, with all that becomes due on the way."""
        seconds = by.total_seconds() if isinstance(by, timedelta) else float(by)
        return datetime.fromisoformat(str(self._control("clock", advance=seconds)["now"]))
