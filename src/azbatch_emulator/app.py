"""The emulator as one ASGI application: control, identity, and the Batch data plane for everything else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from azbatch_emulator.account import Account
from azbatch_emulator.batch.service import BatchService
from azbatch_emulator.engine import Engine
from azbatch_emulator.identity import metadata
from azbatch_emulator.identity.tokens import Tokens


def create_app(service: BatchService, control: Sequence[BaseRoute] = ()) -> Starlette:
    """Routes of identity and control first; all other paths belong to Batch."""
    identity = metadata.routes(service.account, service.tokens, service.engine.clock.now)
    return Starlette(routes=[*control, *identity, Mount("/", app=service)])


def create_service(engine: Engine, account: Account, tokens: Tokens, node_root: Path | None) -> BatchService:
    """The data plane of one account over an engine."""
    return BatchService(engine, account, tokens, node_root)
