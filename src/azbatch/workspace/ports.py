"""What the workspace needs of the outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

Body = Mapping[str, Any]


class Arm(Protocol):
    """Azure Resource Manager by resource id; implemented by `azbatch.azure.arm`.

    Writes return when the long-running operation has ended. Conflicts that pass by themselves (another operation in
    progress, throttling) are retried within. All raise `azbatch.errors.ServiceError` with the service's code.
    """

    def get(self, id: str, api_version: str) -> Body | None:
        """The resource, None for 404."""
        ...

    def list(self, path: str, api_version: str, **query: str) -> Iterator[Body]:
        """All pages of a collection; nothing for 404."""
        ...

    def put(self, id: str, api_version: str, body: Body, *, etag: str | None = None) -> Body: ...

    def patch(self, id: str, api_version: str, body: Body) -> Body: ...

    def delete(self, id: str, api_version: str) -> bool:
        """False where it was not there."""
        ...

    def post(self, path: str, api_version: str, body: Body | None = None) -> Body: ...
