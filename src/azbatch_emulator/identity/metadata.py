"""The instance metadata service (IMDS): tokens for a machine's identity, and what the machine is.

Each principal and machine has one of its own at `/_identity/<name>/metadata/...`: what distinguishes machines on Azure
is where they ask from, here it is the address they are given. Without a name it is the default identity's.
Source: "How to use managed identities on an Azure VM to acquire an access token"; "Azure Instance Metadata Service".
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from azbatch_emulator.account import Account
from azbatch_emulator.identity.directory import Directory
from azbatch_emulator.identity.tokens import LIFETIME, Tokens

SUBJECT = "emulated-identity"
PREFIX = "/_identity"
_SELECTORS = ("client_id", "object_id", "principal_id", "msi_res_id", "mi_res_id")


def default_instance(account: Account) -> dict[str, Any]:
    """The machine that the default identity belongs to."""
    return {
        "azEnvironment": "AzurePublicCloud",
        "location": account.location,
        "name": "headnode",
        "resourceGroupName": account.resource_group,
        "subscriptionId": account.subscription,
        "osType": "Linux",
    }


def routes(tokens: Tokens, now: Callable[[], datetime], directory: Directory) -> list[Route]:
    """The two endpoints that clients of a virtual machine ask, for each name and without one."""

    async def token(request: Request) -> Response:
        if request.headers.get("metadata", "").lower() != "true":
            return _fault(400, "invalid_request", "Required metadata header not specified")
        resource = request.query_params.get("resource", "")
        if not resource:
            return _fault(400, "invalid_request", "Required query variable 'resource' is missing")
        selector = {name: request.query_params[name] for name in _SELECTORS if name in request.query_params}
        found = directory.identity_of(request.path_params.get("who", ""), selector)
        if found is None:
            return _fault(400, "invalid_request", "Identity not found")
        expires = int((now() + LIFETIME).timestamp())
        return JSONResponse(
            {
                "access_token": tokens.mint(resource, found.object_id, now()),
                "client_id": found.client_id,
                "expires_in": str(int(LIFETIME.total_seconds())),
                "expires_on": str(expires),
                "not_before": str(int(now().timestamp())),
                "resource": resource,
                "token_type": "Bearer",
            }
        )

    async def instance(request: Request) -> Response:
        if request.headers.get("metadata", "").lower() != "true":
            return _fault(400, "invalid_request", "Required metadata header not specified")
        found = directory.instance(request.path_params.get("who", ""))
        if found is None:
            return _fault(404, "not_found", "There is no such machine")
        return JSONResponse({"compute": found})

    endpoints = (("/metadata/identity/oauth2/token", token), ("/metadata/instance", instance))
    return [Route(f"{prefix}{path}", endpoint) for path, endpoint in endpoints for prefix in ("", f"{PREFIX}/{{who}}")]


def _fault(status: int, error: str, description: str) -> Response:
    return JSONResponse({"error": error, "error_description": description}, status_code=status)
