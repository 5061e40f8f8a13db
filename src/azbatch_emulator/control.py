"""The routes under `/_emulator/`: what a test or a person may see and cause.

Loopback alone does not guard them, since any web page could post there: a header must carry the token that lies in
the state folder.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from azbatch_emulator import events
from azbatch_emulator.client import PREFIX, TOKEN_HEADER
from azbatch_emulator.engine import Engine
from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.records import Fault, NodeState, Pool, Refused

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What the routes act on. `facts` are addresses and settings; `wipe(storage)` drops files, and blobs if asked."""

    engine: Engine
    counts: Counter[str]
    token: str
    facts: Callable[[], Mapping[str, Any]]
    wipe: Callable[[bool], None]
    shutdown: Callable[[], None]


def routes(control: Control) -> list[Route]:
    """`status`, `requests` (GET); `reset`, `preempt`, `break`, `fail-start-tasks`, `quota`, `shutdown` (POST, JSON)."""

    def guarded(endpoint: Callable[[Any], Awaitable[Mapping[str, Any]]]) -> Endpoint:
        async def respond(request: Request) -> Response:
            given = request.headers.get(TOKEN_HEADER, "")
            if not hmac.compare_digest(given.encode(), control.token.encode()):
                return _fault(403, "AuthenticationFailed", f"The header {TOKEN_HEADER} is missing or wrong.")
            try:
                body = json.loads(await request.body() or b"{}") if request.method == "POST" else {}
                return JSONResponse(await endpoint(body))
            except EmulatorError as error:
                return _fault(500, "EmulatorError", str(error))
            except Refused as refusal:
                return _fault(409, refusal.code, str(refusal))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                return _fault(400, "InvalidRequestBody", f"{type(error).__name__}: {error}")

        return respond

    def causing(make: Callable[[Mapping[str, Any]], events.Event]) -> Endpoint:
        async def cause(body: Mapping[str, Any]) -> Mapping[str, Any]:
            control.engine.submit(make(body))
            return {}

        return guarded(cause)

    async def status(_body: Any) -> Mapping[str, Any]:
        return {**control.facts(), **_world(control.engine), "requests": dict(control.counts)}

    async def requests(_body: Any) -> Mapping[str, Any]:
        return dict(control.counts)

    async def reset(body: Mapping[str, Any]) -> Mapping[str, Any]:
        await control.engine.reset()
        await asyncio.to_thread(control.wipe, bool(body.get("storage", True)))
        control.counts.clear()
        return {}

    async def shutdown(_body: Any) -> Mapping[str, Any]:
        control.shutdown()
        return {}

    table: list[tuple[str, str, Endpoint]] = [
        ("GET", "status", guarded(status)),
        ("GET", "requests", guarded(requests)),
        ("POST", "reset", guarded(reset)),
        ("POST", "preempt", causing(lambda body: events.PreemptNode(**_node(body)))),
        ("POST", "break", causing(_break)),
        ("POST", "fail-start-tasks", causing(_fail_start_tasks)),
        ("POST", "quota", causing(_quota)),
        ("POST", "shutdown", guarded(shutdown)),
    ]
    return [Route(f"{PREFIX}/{name}", endpoint, methods=[method]) for method, name, endpoint in table]


def _fault(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)


def _node(body: Mapping[str, Any]) -> dict[str, str]:
    return {"pool_id": str(body["pool_id"]), "node_id": str(body["node_id"])}


def _break(body: Mapping[str, Any]) -> events.Event:
    fault = Fault(code=str(body.get("code", "NodeUnusable")), message=str(body.get("message", "The node is broken.")))
    return events.BreakNode(**_node(body), fault=fault)


def _fail_start_tasks(body: Mapping[str, Any]) -> events.Event:
    return events.FailStartTasks(
        pool_id=str(body["pool_id"]), count=int(body.get("count", 1)), exit_code=int(body.get("exit_code", 1))
    )


def _quota(body: Mapping[str, Any]) -> events.Event:
    def cores(name: str) -> int | None:
        return None if body.get(name) is None else int(body[name])

    return events.SetQuota(dedicated_cores=cores("dedicated_cores"), spot_cores=cores("spot_cores"))


def _world(engine: Engine) -> dict[str, Any]:
    """Pools with their nodes, jobs with their task counts."""
    world = engine.world

    def pool(record: Pool) -> dict[str, Any]:
        dedicated, spot = world.node_counts(record.id)
        states = {state.value: dedicated[state] + spot[state] for state in NodeState}
        return {
            "id": record.id,
            "state": record.state.value,
            "allocation_state": record.allocation_state.value,
            "target_dedicated": record.target_dedicated,
            "target_spot": record.target_spot,
            "nodes": {state: count for state, count in states.items() if count},
        }

    return {
        "pools": [pool(record) for record in world.pools.values()],
        "jobs": [
            {
                "id": job.id,
                "state": job.state.value,
                "pool_id": job.pool_id,
                "tasks": asdict(world.task_counts(job.id)[0]),
            }
            for job in world.jobs.values()
        ],
    }
