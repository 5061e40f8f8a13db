"""Signing in to container registries: by user and password, or by a node's identity at an Azure Container Registry.

Source: REST, ContainerRegistryReference; ACR, "Authenticate with an Azure container registry" and its AAD-OAuth notes
(an access token is exchanged at /oauth2/exchange for a refresh token, which is the password of a user of zeros).
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from azbatch_emulator import faults
from azbatch_emulator.records import Fault
from azbatch_emulator.runners.container_words import on_loopback, server_name

MANAGEMENT = "https://management.azure.com/"
NOBODY = "00000000-0000-0000-0000-000000000000"  # the user whose password is a token, at an ACR
TIMEOUT = (5.0, 30.0)  # seconds to connect, and between bytes
Spec = Mapping[str, Any]
Call = Callable[..., tuple[int, str]]


class Rejected(Exception):
    """A registry lets nobody in by what is given for it; `fault` says so."""

    def __init__(self, server: str, reason: str) -> None:
        super().__init__(server)
        self.fault: Fault = faults.fault("ContainerInvalidRegistry", ContainerRegistry=server, Message=reason)


@dataclass(frozen=True, slots=True)
class Engine:
    """Podman or docker: `words` start it."""

    words: tuple[str, ...]

    @property
    def is_podman(self) -> bool:
        return any(Path(word).name.startswith("podman") for word in self.words)

    def call(
        self,
        *arguments: str,
        timeout: float,
        environment: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> tuple[int, str, str]:
        """(exit code, output, errors) of a command that ends by itself, within `timeout` seconds."""
        try:
            done = subprocess.run(  # noqa: S603 - the words are the user's own
                [*self.words, *arguments],
                input=stdin or "",
                capture_output=True,
                env=environment,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 1, "", f"{arguments[0]} did not end within {timeout:.0f} s"
        return done.returncode, done.stdout, done.stderr

    def tls_words(self, server: str) -> list[str]:
        """What makes podman as lenient as docker with a registry on loopback."""
        return ["--tls-verify=false"] if self.is_podman and on_loopback(server) else []


def sign_in(
    engine: Engine, registries: Sequence[Spec], identity_url: str, environment: Mapping[str, str], timeout: float
) -> None:
    """Let the engine in at each registry that names a user or an identity; `environment` says where it keeps that.

    The password goes by standard input. Raises Rejected for the first that does not let it in.
    """
    for registry in registries:
        server = server_name(registry)
        user, password = _credentials(registry, server, identity_url)
        if not user:
            continue
        words = ["login", "--username", user, "--password-stdin", *engine.tls_words(server), server]
        code, _, told = engine.call(*words, timeout=timeout, environment=environment, stdin=password)
        if code:
            raise Rejected(server, last_line(told, secret=password))


def _credentials(registry: Spec, server: str, identity_url: str) -> tuple[str, str]:
    identity = str((registry.get("identityReference") or {}).get("resourceId") or "")
    user, password = str(registry.get("username") or ""), str(registry.get("password") or "")
    if identity and user:
        raise Rejected(server, "identityReference and username exclude each other")
    if not identity:
        return user, password
    with requests.Session() as session:
        session.trust_env = not on_loopback(server)
        token = _token(identity_url, identity, server)
        return NOBODY, _exchanged(session, server, token)


def _token(identity_url: str, identity: str, server: str) -> str:
    """An access token of the node's identity, from the metadata service, as a node's agent asks for it."""
    query = {"api-version": "2018-02-01", "resource": MANAGEMENT, "msi_res_id": identity}
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.get(
                f"{identity_url}/metadata/identity/oauth2/token",
                params=query,
                headers={"Metadata": "true"},
                timeout=TIMEOUT,
            )
            return str(answer.json()["access_token"])
        except (requests.RequestException, ValueError, KeyError):
            raise Rejected(server, f"The node has no identity {identity}") from None


def _exchanged(session: requests.Session, server: str, token: str) -> str:
    scheme = "http" if on_loopback(server) else "https"
    form = {"grant_type": "access_token", "service": server, "access_token": token}
    try:
        answer = session.post(f"{scheme}://{server}/oauth2/exchange", data=form, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise Rejected(server, f"The registry does not answer ({type(error).__name__})") from None
    try:
        if answer.status_code == 200:
            return str(answer.json()["refresh_token"])
    except (ValueError, KeyError):
        pass
    raise Rejected(server, f"The registry takes no token of an identity: HTTP {answer.status_code}")


def last_line(text: str, *, secret: str = "") -> str:
    """The last line an engine told, without the secret it may have been given."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = lines[-1] if lines else ""
    return line.replace(secret, "***") if secret else line
