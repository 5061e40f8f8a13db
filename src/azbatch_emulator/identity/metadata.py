"""The instance metadata service (IMDS): tokens for this machine's identity, and what this machine is.

Source: "How to use managed identities on an Azure VM to acquire an access token"; "Azure Instance Metadata Service".
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from azbatch_emulator.account import Account
from azbatch_emulator.identity.tokens import LIFETIME, Tokens

SUBJECT = "emulated-identity"


def routes(account: Account, tokens: Tokens, now: Callable[[], datetime]) -> list[Route]:
    """The two endpoints that clients of a virtual machine ask."""

    async def token(request: Request) -> Response:
        if request.headers.get("metadata", "").lower() != "true":
            return _fault(400, "invalid_request", "Required metadata header not specified")
        resource = request.query_params.get("resource", "")
        if not resource:
            return _fault(400, "invalid_request", "Required query variable 'resource' is missing")
        expires = int((now() + LIFETIME).timestamp())
        return JSONResponse(
            {
                "access_token": tokens.mint(resource, SUBJECT, now()),
                "client_id": request.query_params.get("client_id", SUBJECT),
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
        return JSONResponse(
            {
                "compute": {
                    "azEnvironment": "AzurePublicCloud",
                    "location": account.location,
                    "name": "headnode",
                    "resourceGroupName": account.resource_group,
                    "subscriptionId": account.subscription,
                    "osType": "Linux",
                }
            }
        )

    return [
        Route("/metadata/identity/oauth2/token", token),
        Route("/metadata/instance", instance),
    ]


def _fault(status: int, error: str, description: str) -> Response:
    return JSONResponse({"error": error, "error_description": description}, status_code=status)
