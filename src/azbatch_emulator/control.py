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
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from azbatch_emulator import events, faults
from azbatch_emulator.arm.records import ArmRefused
from azbatch_emulator.client import PREFIX, TOKEN_HEADER
from azbatch_emulator.engine import Engine
from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.injection.rules import FaultRule, Faults
from azbatch_emulator.records import Fault, NodeState, Pool, Refused
from azbatch_emulator.virtual import VirtualClock

MOST_ADVANCE = 366 * 86400  # seconds, of virtual time at once
MACHINE_DIFFERS = (
    "AZBATCH_ACCOUNT_URL",
    "AZBATCH_ACCOUNT_NAME",
    "AZBATCH_STORAGE_URL",
    "SNAKEMAKE_STORAGE_AZBLOB_ENDPOINT_URL",
)
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
    faults: Faults
    tenant: TenantRoutes | None = None


class TenantSite(Protocol):
    """What the routes of the tenant act on: `app.Site`."""

    tenant: Any
    entra: Any

    def whereabouts(self, who: str) -> dict[str, Any]: ...

    async def reset(self) -> None: ...

    async def changed(self) -> None: ...

    def batch_url(self, account_id: str, who: str) -> str | None: ...

    def storage_url(self, account_id: str, who: str) -> str | None: ...


class TenantRoutes:
    """`environment` are the variables of the default identity, which those of others are made from."""

    def __init__(self, site: TenantSite, environment: Callable[[], dict[str, str]]) -> None:
        self._site, self._environment = site, environment

    async def reset(self) -> None:
        await self._site.reset()

    async def workspace(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make a workspace to start from."""
        made: dict[str, Any] = self._site.tenant.create_workspace(
            str(body["name"]), body.get("subscription"), str(body.get("location") or "westeurope")
        )
        await self._site.changed()
        return made

    async def person(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Somebody new; `role` at `scope`, if given, is theirs at once. `secret` makes an application of them."""
        tenant = self._site.tenant
        who = tenant.add_person(str(body["name"]), secret=body.get("secret"))
        if body.get("role"):
            tenant.grant(who.object_id, str(body["role"]), str(body["scope"]))
        await self._site.changed()
        return {"name": who.name, "object_id": who.object_id, "client_id": who.client_id}

    async def environment(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Variables to act as a person or on a machine."""
        who = str(body["who"])
        if self._site.tenant.identity_of(who, {}) is None and self._site.tenant.machine(who) is None:
            raise EmulatorError(f"There is nobody called '{who}' in the tenant, and no machine.")
        variables = self._environment()
        found = self._site.whereabouts(who)
        if self._site.tenant.machine(who) is not None:
            variables = {name: value for name, value in variables.items() if name not in MACHINE_DIFFERS}
        host = f"{variables['AZURE_POD_IDENTITY_AUTHORITY_HOST']}/_identity/{who}"
        return {**variables, **found, "AZURE_POD_IDENTITY_AUTHORITY_HOST": host}

    async def address(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Where a Batch or storage account (ARM id) answers, seen by someone."""
        account, who = str(body["account"]), str(body.get("who") or "")
        return {"url": self._site.batch_url(account, who) or self._site.storage_url(account, who)}

    async def dump(self, _body: Any) -> Mapping[str, Any]:
        """All of ARM, fit for comparing."""
        self._site.tenant.arm.settle(self._site.tenant.now())
        dumped: dict[str, Any] = self._site.tenant.arm.store.dump()
        return dumped

    async def accounts(self, _body: Any) -> Mapping[str, Any]:
        """Pools and jobs of every Batch account."""
        found = {one.account.name: _world(one.engine) for one in self._site.tenant.services.values()}
        return {"accounts": found}

    async def sign_ins(self, _body: Any) -> Mapping[str, Any]:
        return {"waiting": self._site.entra.waiting()}

    async def decide(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Approve a device code as somebody, refuse it (`who` null), or let all be too old (`expire`)."""
        if body.get("expire"):
            self._site.entra.expire()
        else:
            self._site.entra.decide(str(body["user_code"]), body.get("who"))
        return {}


def routes(control: Control) -> list[Route]:
    """See docs/emulator-faults.md. Reads are GET, all else POST with JSON; `clock` and `faults` are both."""

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
            except ArmRefused as refusal:
                return _fault(409, refusal.code, refusal.message)
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

    async def health(_request: Request) -> Response:
        """For whoever starts us: without a token, and so without anything to tell but whether all parts work."""
        failure = control.facts()["storage_failure"]
        return JSONResponse({"healthy": failure is None}, 200 if failure is None else 503)

    async def requests(_body: Any) -> Mapping[str, Any]:
        return dict(control.counts)

    async def reset(body: Mapping[str, Any]) -> Mapping[str, Any]:
        await control.engine.reset()
        await asyncio.to_thread(control.wipe, bool(body.get("storage", True)))
        control.counts.clear()
        control.faults.reset()
        if control.tenant is not None:
            await control.tenant.reset()
        return {}

    async def shutdown(_body: Any) -> Mapping[str, Any]:
        control.shutdown()
        return {}

    async def fault_rules(_body: Any) -> Mapping[str, Any]:
        return {"rules": control.faults.listed()}

    async def set_faults(body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Replace the faults of the wire; no rules, no faults."""
        rules = [FaultRule.read(one) for one in body["rules"]]
        return {"rules": len(rules), "ids": control.faults.set(rules, int(body.get("seed", 0)))}

    async def add_faults(body: Mapping[str, Any]) -> Mapping[str, Any]:
        """One rule, or several as `rules`; all or none."""
        rules = [FaultRule.read(one) for one in body.get("rules", [body])]
        return {"ids": [control.faults.add(rule) for rule in rules]}

    async def clear_faults(body: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"cleared": control.faults.clear(None if body.get("id") is None else str(body["id"]))}

    async def struck(_body: Any) -> Mapping[str, Any]:
        return dict(control.faults.struck)

    async def clock(body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Virtual time: `pause` (true, false), then `advance` (seconds); without either, only what it is."""
        now = control.engine.clock
        if not isinstance(now, VirtualClock):
            if body:
                raise EmulatorError("The emulator keeps real time; start it with --virtual-time.")
            return {"now": now.now().isoformat(), "virtual": False, "paused": False}
        seconds = float(body.get("advance", 0))
        if not 0 <= seconds <= MOST_ADVANCE:
            raise ValueError(f"time is advanced by 0 to {MOST_ADVANCE} seconds, never backwards")
        if "pause" in body:
            now.pause(bool(body["pause"]))
        if seconds:
            await now.advance(timedelta(seconds=seconds))
        return {"now": now.now().isoformat(), "virtual": True, "paused": now.paused}

    table: list[tuple[str, str, Endpoint]] = [
        ("GET", "status", guarded(status)),
        ("GET", "health", health),
        ("GET", "requests", guarded(requests)),
        ("GET", "faults", guarded(fault_rules)),
        ("POST", "faults", guarded(set_faults)),
        ("POST", "faults/add", guarded(add_faults)),
        ("GET", "struck", guarded(struck)),
        ("POST", "faults/clear", guarded(clear_faults)),
        ("GET", "clock", guarded(clock)),
        ("POST", "clock", guarded(clock)),
        ("POST", "reset", guarded(reset)),
        ("POST", "preempt", causing(lambda body: events.PreemptNode(**_node(body)))),
        ("POST", "break", causing(_break)),
        ("POST", "fail-start-tasks", causing(_fail_start_tasks)),
        ("POST", "fail-nodes", causing(_fail_nodes)),
        ("POST", "fail-resizes", causing(_fail_resizes)),
        ("POST", "fill-disk", causing(_fill_disk)),
        ("POST", "quota", causing(_quota)),
        ("POST", "shutdown", guarded(shutdown)),
    ]
    if control.tenant is not None:
        tenant = control.tenant
        table += [
            ("POST", "workspace", guarded(tenant.workspace)),
            ("POST", "person", guarded(tenant.person)),
            ("POST", "environment", guarded(tenant.environment)),
            ("POST", "address", guarded(tenant.address)),
            ("GET", "dump", guarded(tenant.dump)),
            ("GET", "accounts", guarded(tenant.accounts)),
            ("GET", "sign-ins", guarded(tenant.sign_ins)),
            ("POST", "sign-in", guarded(tenant.decide)),
        ]
    return [Route(f"{PREFIX}/{name}", endpoint, methods=[method]) for method, name, endpoint in table]


def _fault(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)


def _node(body: Mapping[str, Any]) -> dict[str, str]:
    return {"pool_id": str(body["pool_id"]), "node_id": str(body["node_id"])}


def _break(body: Mapping[str, Any]) -> events.Event:
    return events.BreakNode(**_node(body), fault=_fault_of(body, faults.NODE_UNUSABLE))


def _fault_of(body: Mapping[str, Any], usual: Fault) -> Fault:
    return replace(usual, code=str(body.get("code", usual.code)), message=str(body.get("message", usual.message)))


def _fail_nodes(body: Mapping[str, Any]) -> events.Event:
    fault = _fault_of(body, faults.IMAGE_NOT_FOUND)
    return events.FailNodes(pool_id=str(body["pool_id"]), count=int(body.get("count", 1)), fault=fault)


def _fail_resizes(body: Mapping[str, Any]) -> events.Event:
    fault = _fault_of(body, faults.ALLOCATION_FAILED)
    return events.FailResizes(pool_id=str(body["pool_id"]), count=int(body.get("count", 1)), fault=fault)


def _fill_disk(body: Mapping[str, Any]) -> events.Event:
    return events.BreakNode(**_node(body), fault=_fault_of(body, faults.DISK_FULL))


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
            "node_states": [node.state.value for node in world.nodes.get(record.id.lower(), {}).values()],
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
