"""Sign-in as Microsoft Entra has it: client credentials, device code, refresh tokens. Needs TLS, as clients do.

Source: "Microsoft identity platform and the OAuth 2.0 device authorization grant flow", and its client credentials
flow.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from azbatch_emulator.identity.directory import Directory, Identity
from azbatch_emulator.identity.tokens import LIFETIME, Tokens

CODE_LIFETIME = timedelta(minutes=15)
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ23456789"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCode:
    """A sign-in that waits for someone to type `user_code`. `decided` is who did, or "" for a refusal."""

    device_code: str
    user_code: str
    client_id: str
    scope: str
    expires: datetime
    decided: str | None = None


class Entra:
    """The sign-in endpoints of one tenant, and the decisions of people on device codes."""

    def __init__(self, tokens: Tokens, now: Callable[[], datetime], directory: Directory) -> None:
        self._tokens, self._now, self._directory = tokens, now, directory
        self._codes: dict[str, DeviceCode] = {}
        self._refresh: dict[str, tuple[Identity, str]] = {}

    def waiting(self) -> list[dict[str, str]]:
        """The sign-ins under way: user code and application."""
        return [
            {"user_code": one.user_code, "client_id": one.client_id}
            for one in self._codes.values()
            if one.decided is None and one.expires > self._now()
        ]

    def decide(self, user_code: str, who: str | None) -> None:
        """Sign in as `who`, or refuse (None). Raises KeyError for an unknown code, ValueError for an unknown person."""
        code = next(one for one in self._codes.values() if one.user_code.lower() == user_code.lower())
        if who is not None and self._directory.identity_of(who, {}) is None:
            raise ValueError(f"there is nobody called '{who}'")
        self._codes[code.device_code] = replace(code, decided=who or "")

    def expire(self) -> None:
        """Let all device codes be too old."""
        self._codes = {name: replace(one, expires=self._now()) for name, one in self._codes.items()}

    def routes(self) -> list[Route]:
        base = "/{tenant}/oauth2/v2.0"
        return [
            Route(f"{base}/token", self._token, methods=["POST"]),
            Route(f"{base}/devicecode", self._device, methods=["POST"]),
            Route("/{tenant}/v2.0/.well-known/openid-configuration", self._configuration, methods=["GET"]),
        ]

    async def _configuration(self, request: Request) -> Response:
        base = f"https://{request.headers.get('host', '')}/{request.path_params['tenant']}"
        return JSONResponse(
            {
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "issuer": f"{base}/v2.0",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
            }
        )

    async def _device(self, request: Request) -> Response:
        form = await _form(request)
        code = DeviceCode(
            device_code=secrets.token_urlsafe(32),
            user_code="".join(secrets.choice(_ALPHABET) for _ in range(9)),
            client_id=form.get("client_id", ""),
            scope=form.get("scope", ""),
            expires=self._now() + CODE_LIFETIME,
        )
        self._codes[code.device_code] = code
        page = f"https://{request.headers.get('host', '')}/devicelogin"
        return JSONResponse(
            {
                "user_code": code.user_code,
                "device_code": code.device_code,
                "verification_uri": page,
                "expires_in": int(CODE_LIFETIME.total_seconds()),
                "interval": 1,
                "message": f"To sign in, open {page} and enter the code {code.user_code} to authenticate.",
            }
        )

    async def _token(self, request: Request) -> Response:
        form = await _form(request)
        match form.get("grant_type"):
            case "client_credentials":
                return self._application(form)
            case "refresh_token":
                return self._by_refresh(form)
            case grant if grant == DEVICE_GRANT:
                return self._by_device(form)
        return _fault("unsupported_grant_type", "AADSTS70003: The grant type is not supported.")

    def _application(self, form: dict[str, str]) -> Response:
        found = self._directory.application(form.get("client_id", ""))
        if found is None:
            return _fault("unauthorized_client", "AADSTS700016: The application was not found in the directory.")
        if not hmac.compare_digest((found.secret or "").encode(), form.get("client_secret", "").encode()):
            return _fault("invalid_client", "AADSTS7000215: Invalid client secret provided.", 401)
        return JSONResponse(self._answer(found, form.get("scope", ""), person=False))

    def _by_device(self, form: dict[str, str]) -> Response:
        code = self._codes.get(form.get("device_code", ""))
        if code is None:
            return _fault("invalid_grant", "AADSTS70000: The device code is not known.")
        if code.expires <= self._now():
            return _fault(
                "expired_token", "AADSTS70020: The provided value for the input parameter 'device_code' has expired."
            )
        if code.decided is None:
            return _fault(
                "authorization_pending", "AADSTS70016: OAuth 2.0 device flow error. Authorization is pending."
            )
        if not code.decided:
            return _fault("authorization_declined", "AADSTS65004: The user declined to sign in.")
        del self._codes[code.device_code]
        found = self._directory.identity_of(code.decided, {})
        assert found is not None
        return JSONResponse(self._answer(found, code.scope, client=code.client_id))

    def _by_refresh(self, form: dict[str, str]) -> Response:
        known = self._refresh.get(form.get("refresh_token", ""))
        if known is None:
            return _fault("invalid_grant", "AADSTS700082: The refresh token has expired or is not known.")
        return JSONResponse(self._answer(known[0], form.get("scope") or known[1], client=form.get("client_id", "")))

    def _answer(self, who: Identity, scope: str, *, client: str = "", person: bool = True) -> dict[str, Any]:
        audience = next((one.removesuffix("/.default") for one in scope.split() if "://" in one), scope)
        answer: dict[str, Any] = {
            "token_type": "Bearer",
            "expires_in": int(LIFETIME.total_seconds()),
            "ext_expires_in": int(LIFETIME.total_seconds()),
            "access_token": self._tokens.mint(audience, who.object_id, self._now()),
        }
        if person:
            refresh = secrets.token_urlsafe(32)
            self._refresh[refresh] = (who, scope)
            info = {"uid": who.object_id, "utid": self._tokens.tenant}
            answer |= {
                "scope": scope,
                "refresh_token": refresh,
                "id_token": self._tokens.mint(client, who.object_id, self._now(), name=who.name),
                "client_info": base64.urlsafe_b64encode(json.dumps(info).encode()).decode().rstrip("="),
            }
        return answer


async def _form(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}


def _fault(error: str, description: str, status: int = 400) -> Response:
    return JSONResponse({"error": error, "error_description": description}, status_code=status)
