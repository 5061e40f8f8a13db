"""The emulator as ASGI applications: control, identity, ARM and the built-in account on one address; a door per other
account.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from azbatch_emulator.account import Account
from azbatch_emulator.arm.reach import network_of, subnet_of
from azbatch_emulator.arm.wire import ArmService
from azbatch_emulator.batch.service import BatchService, Door
from azbatch_emulator.clock import Clock
from azbatch_emulator.engine import Engine
from azbatch_emulator.gateway import Gateway, blob_operation
from azbatch_emulator.identity import metadata
from azbatch_emulator.identity.entra import Entra
from azbatch_emulator.identity.tokens import Tokens
from azbatch_emulator.injection.middleware import Faulty
from azbatch_emulator.injection.rules import Faults, Plane
from azbatch_emulator.journal import Journal
from azbatch_emulator.logs import AccessLog
from azbatch_emulator.profiles import Conditions
from azbatch_emulator.recording.recorder import Recorder, Recording
from azbatch_emulator.runners import Runner
from azbatch_emulator.tenant import Tenant
from azbatch_emulator.tls import write_private

ARM_PATHS = ("/subscriptions", "/providers", "/tenants", "/metadata/endpoints")


class Site:
    """Everything that one emulator serves. All methods belong to the event loop's thread.

    `runner` makes the runner of an account and tells where its nodes' files lie; `open_door` opens one more address;
    `journal` names the file of an account's journal, None for none; `tenant_file` is where the tenant survives.
    """

    def __init__(
        self,
        *,
        account: Account,
        tokens: Tokens,
        clock: Clock,
        conditions: Conditions,
        runner: Callable[[Account], tuple[Runner, Path | None]],
        journal: Callable[[Account], Path | None],
        open_door: Callable[[ASGIApp], str],
        tenant_file: Path | None = None,
        recording: Recording | None = None,
        open_storage: Callable[[str], str] | None = None,
        trust: ssl.SSLContext | None = None,
        strict: bool = False,
    ) -> None:
        self._tokens, self._clock, self._conditions = tokens, clock, conditions
        self._runner, self._journal, self._open_door = runner, journal, open_door
        self._open_storage, self._trust = open_storage, trust
        self._recording, self._strict = recording, strict
        self.faults = Faults(conditions.http)
        self._storages: dict[str, asyncio.Task[str]] = {}
        self._doors: dict[tuple[str, str | None], str] = {}
        self.tenant = Tenant(
            account=account,
            now=clock.now,
            new_id=lambda: str(uuid.uuid4()),
            speed=conditions.management_speed or conditions.speed,
            open_account=self._open_account,
        )
        self._tenant_file, self._saved = tenant_file, b""
        if tenant_file is not None and tenant_file.exists():
            self.tenant.restore(tenant_file.read_bytes())
        self.service = self._open_account(account)
        self.tenant.adopt(self.service)
        self.entra = Entra(tokens, clock.wall, self.tenant)
        self.arm = ArmService(self.tenant.arm, tokens, clock.now, self.tenant.whose, self.changed, clock.wall)

    async def begin(self) -> None:
        """Serve the accounts that an earlier process left."""
        await self.changed()

    async def changed(self) -> None:
        """After what may have changed the tenant: its accounts are served, and it will survive the process."""
        await self.tenant.reconcile()
        if self._tenant_file is not None:
            saved = self.tenant.saved()
            if saved != self._saved:
                write_private(self._tenant_file, saved)
                self._saved = saved

    async def reset(self) -> None:
        """An empty tenant again: only the built-in account."""
        self.tenant.forget()
        await self.changed()

    def _open_account(self, account: Account) -> BatchService:
        runner, nodes = self._runner(account)
        journal = self._journal(account)
        seed = None if self._conditions.seed is None else f"{self._conditions.seed}/{account.name}"
        engine = Engine(
            clock=self._clock,
            runner=runner,
            profile=self._conditions.service.scaled(self._conditions.speed),
            rng=random.Random(seed),  # noqa: S311 - names of nodes, no secrets
            journal=Journal(journal) if journal else None,
            node_fault=lambda pool: self.tenant.node_fault(account, pool),
        )
        service = BatchService(engine, account, self._tokens, nodes, allowed=self.tenant, strict=self._strict)
        engine.start()
        return service

    def _faulty(self, app: ASGIApp, plane: Plane, own: bool = True) -> ASGIApp:
        """An application behind the rules of faults, and recorded as its clients see it."""
        faulty = Faulty(app, plane, self.faults, self._clock.now)
        if self._recording is None:
            return faulty
        return Recorder(faulty, self._recording, plane.value, own, self._clock.now)

    def app(self, control: Sequence[BaseRoute] = (), *, identity_for_all: bool = True) -> ASGIApp:
        """Control, identity and sign-in first, then ARM; all other paths belong to the built-in Batch account.

        Not `identity_for_all`: without the metadata service, which gives tokens to whoever asks.
        """
        identity = metadata.routes(self._tokens, self._clock.wall, self.tenant) if identity_for_all else []
        routes = Starlette(routes=[*control, *identity, *self.entra.routes()])
        # Not mounted at "/": a route's pattern does not match every path, and those it misses get no answer of Batch's.
        routes.router.default = self._faulty(self.service, Plane.BATCH)
        arm = self._faulty(self.arm, Plane.ARM)

        async def choose(scope: Scope, receive: Receive, send: Send) -> None:
            path = scope.get("path", "").lower()
            is_arm = any(path == prefix or path.startswith(f"{prefix}/") for prefix in ARM_PATHS)
            await (arm if is_arm else routes)(scope, receive, send)

        return AccessLog(choose)

    def batch_url(self, account_id: str, who: str) -> str | None:
        """Where the name of an account leads, seen from a machine's network, or from outside; None for no account."""
        service = self.tenant.services.get(account_id.lower())
        if service is None:
            return None
        machine = self.tenant.machine(who)
        network = network_of(machine, self.tenant.arm.store) if machine else None
        endpoint = self.tenant.private_endpoint(service.account, network)
        key = (account_id.lower(), endpoint)
        if key not in self._doors:
            door = Door(service, self._is_open(service.account, network, endpoint))
            self._doors[key] = self._open_door(AccessLog(self._faulty(door, Plane.BATCH, own=False)))
        return self._doors[key]

    def _is_open(self, account: Account, network: str | None, endpoint: str | None) -> Callable[[], bool]:
        if endpoint is None:
            return lambda: self.tenant.is_open(account)
        return lambda: self.tenant.private_endpoint(account, network) == endpoint

    def storage_url(self, account_id: str, who: str) -> str | None:
        """Where a storage account of the tenant answers a machine, or somebody outside; None without storage."""
        account = self.tenant.arm.store.get(account_id)
        if account is None or self._open_storage is None or self._trust is None:
            return None
        machine = self.tenant.machine(who)
        subnet = subnet_of(machine, self.tenant.arm.store) if machine else None
        key = (account.id.key, f"blob/{subnet}")
        if key not in self._doors:
            name = account.id.name

            async def backend() -> str:
                return await self._storage(name)

            gateway = Gateway(
                account.id.text, subnet, self.tenant, self._tokens, self._clock.wall, backend, self._trust
            )
            self._doors[key] = self._open_door(AccessLog(gateway, blob_operation))
        return f"{self._doors[key]}/{account.id.name}"

    async def _storage(self, name: str) -> str:
        """The Azurite of an account, started when it is first needed."""
        assert self._open_storage is not None
        if name not in self._storages:
            self._storages[name] = asyncio.ensure_future(asyncio.to_thread(self._open_storage, name))
        return await asyncio.shield(self._storages[name])

    def whereabouts(self, who: str) -> dict[str, Any]:
        """The addresses that someone's environment needs: Batch and storage of a machine's workspace."""
        machine = self.tenant.machine(who)
        found: dict[str, Any] = {}
        for account in self.tenant.arm.store.of_type("Microsoft.Batch/batchAccounts"):
            same = machine is not None and account.id.resource_group == machine.id.resource_group
            if same and (url := self.batch_url(account.id.text, who)):
                found |= {"AZBATCH_ACCOUNT_URL": url, "AZBATCH_ACCOUNT_NAME": account.id.name}
                found["AZBATCH_ACCOUNT_ID"] = account.id.text
        for account in self.tenant.arm.store.of_type("Microsoft.Storage/storageAccounts"):
            same = machine is not None and account.id.resource_group == machine.id.resource_group
            if same and (url := self.storage_url(account.id.text, who)):
                found |= {"AZBATCH_STORAGE_URL": url, "SNAKEMAKE_STORAGE_AZBLOB_ENDPOINT_URL": url}
        return found

    async def close(self) -> None:
        for service in self.tenant.services.values():
            with contextlib.suppress(Exception):
                await service.engine.close()
