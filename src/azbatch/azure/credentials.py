"""Who we are: an Entra identity by azure-identity, or a shared key only where the account was given one."""

from __future__ import annotations

import ipaddress
import logging
import os
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from azbatch.errors import ConfigurationError

if TYPE_CHECKING:
    from azure.core.credentials import AzureNamedKeyCredential
    from azure.identity import DefaultAzureCredential

ACCOUNT_URL, ACCOUNT_KEY, ACCOUNT_NAME = "AZBATCH_ACCOUNT_URL", "AZBATCH_ACCOUNT_KEY", "AZBATCH_ACCOUNT_NAME"
ACCOUNT_ID, STORAGE_URL = "AZBATCH_ACCOUNT_ID", "AZBATCH_STORAGE_URL"


@lru_cache(maxsize=1)
def entra() -> DefaultAzureCredential:
    """One credential for the process, so that its tokens are shared. AZURE_TOKEN_CREDENTIALS narrows the choice."""
    from azure.identity import DefaultAzureCredential

    # What it tells of a failure in five lines is told by our own errors in one.
    logging.getLogger("azure.identity").addHandler(logging.NullHandler())
    return DefaultAzureCredential(exclude_interactive_browser_credential=True)


def shared_key(url: str, key: str) -> AzureNamedKeyCredential:
    """The key with its account's name: the first label of the host, or AZBATCH_ACCOUNT_NAME for an address."""
    from azure.core.credentials import AzureNamedKeyCredential

    return AzureNamedKeyCredential(account_name(url), key)


def account_name(url: str) -> str:
    """The account a Batch URL names. Raises ConfigurationError for an address without AZBATCH_ACCOUNT_NAME."""
    host = urlsplit(url).hostname or ""
    named = os.environ.get(ACCOUNT_NAME)
    if named:
        return named
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host.split(".")[0]
    raise ConfigurationError([f"The account of {url} is unknown: set {ACCOUNT_NAME} when signing in with a key."])


def endpoint(value: str | None, variable: str, what: str) -> str:
    """An endpoint given, or from the environment. Raises ConfigurationError."""
    found = (value or os.environ.get(variable) or "").rstrip("/")
    if not found:
        raise ConfigurationError(
            [f'No {what} was given: set {variable}, or for the emulator run: eval "$(azbatch emulator env)".']
        )
    if urlsplit(found).scheme not in {"http", "https"} or not urlsplit(found).hostname:
        raise ConfigurationError([f"'{found}' is no {what}: it must look like https://NAME.REGION.batch.azure.com."])
    return found
