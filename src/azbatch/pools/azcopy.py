"""azcopy on nodes: from the workspace's blob storage by the node's identity, checked by its hash. Pure.

No link that expires: the resource file is fetched with the identity each time a node starts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
_SHA256 = re.compile(r"^[0-9a-f]{64}$")
_URL = re.compile(r"^https?://[^/?#]+/[^?#]+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Azcopy:
    """`url` is the blob's, without any signature; `sha256` the program's; `identity` is a resource id and reads it."""

    url: str
    sha256: str
    identity: str

    def faults(self) -> list[str]:
        """All that is wrong, a sentence each."""
        found = []
        if not _URL.match(self.url):
            found.append("azcopy is named by its blob's URL without a signature: nodes read it by their identity.")
        if not _SHA256.match(self.sha256):
            found.append(f"'{self.sha256}' is no SHA-256 (64 hexadecimal digits, lower case).")
        return found

    def resource_file(self) -> Json:
        return {
            "httpUrl": self.url,
            "filePath": "azcopy",
            "fileMode": "0755",
            "identityReference": {"resourceId": self.identity},
        }

    def command(self) -> str:
        """Shell text for a start task: a wrong hash ends it, so the node never runs a task."""
        return (
            f'{{ echo "{self.sha256}  azcopy" | sha256sum -c --status - '
            '|| { echo "azcopy is not the one that was pinned: its SHA-256 differs." >&2; exit 1; }; } '
            '&& install -D -m 0755 azcopy "$AZ_BATCH_NODE_SHARED_DIR/bin/azcopy"'
        )
