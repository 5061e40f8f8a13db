"""The instance metadata service of the virtual machine that we run on.

Source: "Azure Instance Metadata Service", api-version 2021-02-01. AZURE_POD_IDENTITY_AUTHORITY_HOST moves it, as for
azure-identity.
"""

from __future__ import annotations

import os
from typing import Any

TIMEOUT = 2.0  # seconds; on no VM the address answers nothing


def compute() -> dict[str, Any] | None:
    """The `compute` part, None where this is no virtual machine of Azure."""
    import requests

    host = os.environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://169.254.169.254").rstrip("/")
    try:
        with requests.Session() as session:
            session.trust_env = False  # never through a proxy
            answer = session.get(
                f"{host}/metadata/instance",
                params={"api-version": "2021-02-01"},
                headers={"Metadata": "true"},
                timeout=TIMEOUT,
            )
            answer.raise_for_status()
            found = answer.json().get("compute")
    except (requests.RequestException, ValueError):
        return None
    return found if isinstance(found, dict) else None
