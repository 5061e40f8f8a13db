"""Where application packages are kept: in the emulator's own blob storage, which stands for every auto-storage."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from azbatch_emulator.azurite.sas import blob_query, container_query
from azbatch_emulator.errors import EmulatorError

VALID = timedelta(hours=4)  # of a storageUrl [documented]
TIMEOUT = 30.0


class PackageStorage:
    """`url` is the storage account's, `key` opens it; answers are trusted by `bundle`."""

    def __init__(self, url: str, account: str, key: str, bundle: Path) -> None:
        self._url, self._account, self._key, self._bundle = url, account, key, bundle
        self._made: set[str] = set()

    @staticmethod
    def container(batch_account: str, application: str) -> str:
        """`app-<name>-<hash>`: within the rules for containers whatever the application is called."""
        name = "".join(letter for letter in application.lower() if letter.isascii() and letter.isalnum())[:15]
        digest = hashlib.sha256(f"{batch_account}/{application}".lower().encode()).hexdigest()[:40]
        return f"app-{name or 'x'}-{digest}"

    def address(
        self, batch_account: str, application: str, version: str, permissions: str, now: datetime
    ) -> tuple[str, datetime]:
        """(URL of the package's blob, until when it is open)."""
        container, blob, expiry = self.container(batch_account, application), f"{version.lower()}.zip", now + VALID
        query = blob_query(self._account, self._key, container, blob, permissions, expiry)
        return f"{self._url}/{container}/{quote(blob)}?{query}", expiry

    def is_prepared(self, batch_account: str, application: str) -> bool:
        return self.container(batch_account, application) in self._made

    def prepare(self, batch_account: str, application: str, now: datetime) -> None:
        """See that the container is there. Blocking. Raises EmulatorError."""
        import requests  # not before it is needed: it is slow to load

        container = self.container(batch_account, application)
        query = container_query(self._account, self._key, now + VALID)
        try:
            with requests.Session() as session:
                session.trust_env = False
                address = f"{self._url}/{container}?restype=container&{query}"
                answer = session.put(address, timeout=TIMEOUT, verify=str(self._bundle))
        except requests.RequestException as error:
            raise EmulatorError(
                f"The container {container} for packages was not made: {type(error).__name__}."
            ) from None
        if answer.status_code not in {201, 409}:
            raise EmulatorError(f"The container {container} for packages was not made: HTTP {answer.status_code}.")
        self._made.add(container)
