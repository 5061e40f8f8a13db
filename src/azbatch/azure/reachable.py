"""Whether the services answer and let this machine in: one small request each, and the time they tell."""

from __future__ import annotations

from typing import Any

from azbatch.azure import credentials
from azbatch.azure.faults import refused_by_sdk, unreachable


def batch(url: str) -> str | None:
    """List at most one pool: the `Date` of the answer. Raises ServiceError."""
    from azure.batch import BatchClient
    from azure.core.exceptions import AzureError, HttpResponseError
    from azure.core.rest import HttpRequest

    with BatchClient(url, credentials.entra(), retry_total=1, connection_timeout=10) as client:
        request = HttpRequest("GET", "/pools", params={"api-version": "2025-06-01", "maxresults": "1"})
        try:
            response = client.send_request(request)
            response.raise_for_status()
        except HttpResponseError as error:
            raise refused_by_sdk(url, "Listing pools", error) from error
        except AzureError as error:
            raise unreachable(url, error) from error
        return response.headers.get("Date")


def blobs(url: str) -> str | None:
    """List at most one container: the `Date` of the answer. Raises ServiceError."""
    from azure.core.exceptions import AzureError
    from azure.storage.blob import BlobServiceClient, ExponentialRetry

    found: list[str | None] = []

    def keep(response: Any) -> None:
        found.append(response.http_response.headers.get("Date"))

    with BlobServiceClient(
        url, credential=credentials.entra(), retry_policy=ExponentialRetry(retry_total=1), connection_timeout=10
    ) as service:
        try:
            next(service.list_containers(results_per_page=1, raw_response_hook=keep).by_page(), None)
        except AzureError as error:
            raise refused_by_sdk(url, "Listing containers", error) from error
    return found[-1] if found else None
