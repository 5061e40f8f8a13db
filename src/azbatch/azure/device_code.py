"""Signing a person in by device code, for what the machine's own identity may not do. Tokens are kept 0600.

msal's device flow with a cache file of ours: azure-identity's persistent cache needs a keyring that head nodes lack, or
falls back to one file for all programs of the user.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from azbatch.errors import AzbatchError, ServiceError

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken

CLIENT_ID = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"  # Azure's own command line, known to every tenant
PUBLIC_AUTHORITIES = ("login.microsoftonline.com", "login.microsoftonline.us", "login.chinacloudapi.cn")
_REFUSALS = {
    "authorization_declined": "The sign-in was refused: nothing was changed; run the command again to sign in.",
    "access_denied": "The sign-in was refused: nothing was changed; run the command again to sign in.",
    "expired_token": "The code expired before anyone signed in with it: run the command again for a new one.",
    "code_expired": "The code expired before anyone signed in with it: run the command again for a new one.",
    "bad_verification_code": "The code is not known any more: run the command again for a new one.",
}


def cache_path() -> Path:
    """Where this user's tokens are kept: under XDG_STATE_HOME."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
    return Path(state) / "azbatch" / "tokens.json"


class DeviceCode:
    """A credential for Azure's SDKs. `said` is given the message with the address and the code.

    Raises ServiceError (code = the identity platform's error) where the sign-in is refused, expires or cannot be begun.
    """

    def __init__(
        self,
        *,
        said: Callable[[str], None],
        cache: Path | None = None,
        tenant: str | None = None,
        authority: str | None = None,
    ) -> None:
        host = authority or os.environ.get("AZURE_AUTHORITY_HOST") or "https://login.microsoftonline.com"
        self._authority = f"{host.rstrip('/')}/{tenant or os.environ.get('AZURE_TENANT_ID') or 'organizations'}"
        self._said = said
        self._path = cache or cache_path()
        self._account: str | None = None

    @property
    def user(self) -> str:
        """Who signed in; "" before."""
        return self._account or ""

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:  # noqa: ARG002
        """A token from the cache, renewed where need be, or after signing in."""
        from azure.core.credentials import AccessToken

        with self._cached() as cache:
            application = self._application(cache)
            for account in application.get_accounts():
                answer = application.acquire_token_silent(list(scopes), account=account)
                if answer and "access_token" in answer:
                    self._account = str(account.get("username") or "")
                    return AccessToken(str(answer["access_token"]), _expiry(answer))
            answer = self._sign_in(application, list(scopes))
            claims = answer.get("id_token_claims") or {}
            self._account = str(claims.get("preferred_username") or claims.get("oid") or "")
            return AccessToken(str(answer["access_token"]), _expiry(answer))

    def _application(self, cache: Any) -> Any:
        import msal
        import requests

        public = urlsplit(self._authority).hostname in PUBLIC_AUTHORITIES
        try:
            return msal.PublicClientApplication(
                CLIENT_ID, authority=self._authority, token_cache=cache, instance_discovery=None if public else False
            )
        except (ValueError, requests.RequestException) as error:
            raise ServiceError(
                f"{urlsplit(self._authority).netloc} cannot be asked to sign you in: {str(error).splitlines()[0]}; "
                "check the network and AZURE_TENANT_ID.",
                code="Unreachable",
            ) from error

    def _sign_in(self, application: Any, scopes: list[str]) -> dict[str, Any]:
        import requests

        try:
            return self._by_device(application, scopes)
        except requests.RequestException as error:
            raise ServiceError(
                f"{urlsplit(self._authority).netloc} was lost while you signed in ({type(error).__name__}): nothing "
                "was changed; check the network and try again.",
                code="Unreachable",
            ) from error

    def _by_device(self, application: Any, scopes: list[str]) -> dict[str, Any]:
        flow = application.initiate_device_flow(scopes)
        if "user_code" not in flow:
            raise ServiceError(
                f"Signing in cannot begin: {flow.get('error_description') or flow.get('error')}.",
                code=str(flow.get("error")),
            )
        self._said(
            f"Opening the network needs you, not this machine: go to {flow['verification_uri']} on any device, and "
            f"enter the code {flow['user_code']}."
        )
        try:
            answer = application.acquire_token_by_device_flow(flow)
        except KeyboardInterrupt:
            raise AzbatchError("The sign-in was cancelled: nothing was changed.") from None
        if "access_token" not in answer:
            error = str(answer.get("error"))
            description = str(answer.get("error_description") or error).splitlines()[0]
            raise ServiceError(_REFUSALS.get(error, f"The sign-in failed: {description}."), code=error)
        assert isinstance(answer, dict)
        return answer

    @contextmanager
    def _cached(self) -> Iterator[Any]:
        import msal

        cache = msal.SerializableTokenCache()
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._path.exists():
                if self._path.stat().st_uid != os.getuid():
                    raise AzbatchError(f"{self._path} belongs to another user: remove it, or set XDG_STATE_HOME.")
                self._path.chmod(0o600)
                cache.deserialize(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            cache = msal.SerializableTokenCache()  # one that cannot be read costs a sign-in, no more
        yield cache
        if cache.has_state_changed:
            self._keep(cache.serialize())

    def _keep(self, text: str) -> None:
        """Whole or not at all, and never readable by others in between (mkstemp makes 0600)."""
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".tokens")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            Path(name).replace(self._path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise


def _expiry(answer: dict[str, Any]) -> int:
    return int(time.time()) + int(answer.get("expires_in") or 0)
