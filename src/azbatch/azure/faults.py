"""What Azure's SDKs raise, as one sentence each for the user."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

from azbatch.errors import ServiceError

# code -> what to do next
REMEDIES = {
    "AuthenticationFailed": "check the account key or sign in again (az login, or the VM's identity)",
    "InsufficientAccountPermissions": "ask an owner for the Batch role on the account",
    "AuthorizationFailure": "check that the SAS has not expired and allows this, or ask an owner for "
    "'Storage Blob Data Contributor' on the account or container",
    "AuthorizationPermissionMismatch": "ask an owner for 'Storage Blob Data Contributor' on the account or container",
    "PoolNotFound": "see `azbatch pool list` for the pools there are",
    "JobNotFound": "see `azbatch job list` for the jobs there are",
    "PoolExists": "choose another id, or use the existing pool",
    "JobExists": "choose another id, or delete the existing job",
    "ContainerNotFound": "create the container, or name one that exists",
    "PoolQuotaReached": "delete a pool, or ask Azure for a higher pool quota",
    "ActiveJobAndScheduleQuotaReached": "delete finished jobs (`azbatch job list`), or ask for a higher job quota",
    "TooManyRequests": "wait a little and run the command again",
    "ServerBusy": "wait a little and run the command again",
}
_SECRETS = re.compile(r"(?i)(sig|se|sp|sv|skoid|AccountKey|SharedAccessSignature)=[^&;\s]+")


def scrubbed(text: str) -> str:
    """The text without signatures and keys."""
    return _SECRETS.sub(r"\1=…", text)


def refused(response: Any, what: str) -> ServiceError:
    """The service's error body as one sentence: what was asked, why not, what to do."""
    try:
        body = response.json() if hasattr(response, "json") else json.loads(response.body())
    except (ValueError, UnicodeDecodeError, AttributeError):
        body = {}
    code = str(body.get("code") or f"HTTP {response.status_code}")
    message = body.get("message")
    text = str(message.get("value") if isinstance(message, dict) else message or response.reason or "").split("\n")[0]
    details = ", ".join(
        f"{item.get('key')}: {item.get('value')}" for item in body.get("values") or () if item.get("key")
    )
    sentence = f"{what} was refused: {text.rstrip('.')} ({code})"
    if details:
        sentence += f" [{details}]"
    remedy = REMEDIES.get(code)
    return ServiceError(
        scrubbed(f"{sentence}; {remedy}." if remedy else f"{sentence}."), code=code, status=response.status_code
    )


def broke_off(error: Any) -> bool:
    """Whether a connection that was there broke, so that the same may be tried on another one.

    azure-core counts one that breaks within TLS among those that never were.
    """
    from azure.core.exceptions import ServiceResponseError

    return isinstance(error, ServiceResponseError) or "EOF occurred in violation of protocol" in str(error)


def unreachable(url: str, error: Exception) -> ServiceError:
    """No answer: which host, why, and what to look at."""
    host = urlsplit(url).netloc
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return ServiceError(
            f"{host} is not trusted: its certificate has no known authority; for the emulator run: "
            'eval "$(azbatch emulator env)".',
            code="CertificateNotTrusted",
        )
    if type(error).__name__ in {"ClientAuthenticationError", "CredentialUnavailableError"}:
        first = scrubbed(text.split("\n")[0])
        return ServiceError(
            f"No identity to sign in to {host} with: {first} Sign in with az login, or run on a VM with an identity.",
            code="NoIdentity",
        )
    reason = scrubbed(text.split("\n")[0])[:300]
    return ServiceError(
        f"{host} cannot be reached: {reason}; check the address, the network and whether the emulator runs.",
        code="Unreachable",
    )


def refused_by_sdk(url: str, what: str, error: Any) -> ServiceError:
    """An error of azure-storage-blob as one sentence."""
    status = getattr(error, "status_code", None)
    if status is None:
        return unreachable(url, error)
    given = getattr(error, "error_code", None)
    code = str(getattr(given, "value", given) or f"HTTP {status}")
    text = str(getattr(error, "message", "") or error).split("\n")[0].rstrip(".")
    text = text.removeprefix("Operation returned an invalid status ").strip("'").rstrip(".")
    remedy = REMEDIES.get(code)
    sentence = f"{what} was refused: {text} ({code})"
    return ServiceError(scrubbed(f"{sentence}; {remedy}." if remedy else f"{sentence}."), code=code, status=status)
