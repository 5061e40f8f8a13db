"""Blob storage for what azbatch itself keeps there, such as workflow sources. Bulk data is the storage plugin's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from azbatch.azure import credentials
from azbatch.azure.faults import refused_by_sdk


class BlobAccount:
    """One Blob endpoint, such as https://NAME.blob.core.windows.net. Methods raise ServiceError."""

    def __init__(self, url: str | None = None) -> None:
        self.url = credentials.endpoint(url, credentials.STORAGE_URL, "Blob storage URL")
        self._client: Any = None

    def _connected(self) -> Any:
        if self._client is None:
            from azure.storage.blob import BlobServiceClient, ExponentialRetry

            self._client = BlobServiceClient(
                self.url,
                credential=credentials.entra(),
                retry_policy=ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=4),
            )
        return self._client

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        from azure.core.exceptions import AzureError

        try:
            yield
        except AzureError as error:
            raise refused_by_sdk(self.url, what, error) from error

    def ensure_container(self, container: str) -> None:
        """Create the container where there is none."""
        from azure.core.exceptions import ResourceExistsError

        with self._explained(f"Creating container '{container}'"):
            try:
                self._connected().create_container(container)
            except ResourceExistsError:
                return

    def upload(self, container: str, name: str, path: Path) -> str:
        """Upload a file over whatever is there, creating the container if need be: the blob's URL (without any SAS)."""
        blob = self._connected().get_blob_client(container, name)
        with self._explained(f"Uploading az://{container}/{name}"):
            from azure.core.exceptions import ResourceNotFoundError

            for attempt in (1, 2):
                try:
                    with path.open("rb") as stream:
                        blob.upload_blob(stream, overwrite=True)
                    break
                except ResourceNotFoundError:
                    if attempt == 2:
                        raise
                    self.ensure_container(container)
        return str(blob.url)

    def download(self, container: str, name: str, path: Path) -> None:
        """Download a blob to a file."""
        with self._explained(f"Downloading az://{container}/{name}"), path.open("wb") as stream:
            self._connected().get_blob_client(container, name).download_blob(max_concurrency=4).readinto(stream)

    def list(self, container: str, prefix: str = "") -> list[str]:
        """Names of the blobs under a prefix."""
        with self._explained(f"Listing az://{container}/{prefix}"):
            return [str(blob.name) for blob in self._connected().get_container_client(container).list_blobs(prefix)]

    def delete(self, container: str, name: str) -> None:
        """Delete a blob; one that is not there is fine."""
        from azure.core.exceptions import ResourceNotFoundError

        with self._explained(f"Deleting az://{container}/{name}"):
            try:
                self._connected().get_blob_client(container, name).delete_blob()
            except ResourceNotFoundError:
                return

    def exists(self, container: str, name: str) -> bool:
        with self._explained(f"Looking for az://{container}/{name}"):
            return bool(self._connected().get_blob_client(container, name).exists())
