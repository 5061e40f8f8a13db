"""What of the data plane is emulated, and how far; `python -m azbatch_emulator.batch.coverage` prints the page."""

from __future__ import annotations

import sys

from azbatch_emulator.batch.routes import NEWEST, OPERATIONS, RETIRED

# The operations that do less than the service, or do it in another way.
NOTES = {
    "ListApplications": "Applications and packages are made by ARM, as on Azure.",
    "ListPoolUsageMetrics": "Core hours in half hours, from when nodes came and went.",
    "ListSupportedImages": "A short list; images are names, no disks.",
    "UpdatePool": "Upgrade policy, resource tags and network settings are kept as data.",
    "GetNodeRemoteLoginSettings": "The address is the node's own; nobody listens there.",
    "CreateNodeUser": "Data: a node is a directory. Passwords are not kept.",
    "UploadNodeLogs": "One file, of what the emulator knows of the node; the instant runner writes none.",
    "ListNodeExtensions": "The extensions of the pool, as installed; nothing is executed.",
    "ListTaskFiles": "Real files; the instant runner has none.",
    "ListNodeFiles": "Real files; the instant runner has none.",
    "CreateTask": "User identities are data: commands run as the emulator's user. File systems are directories.",
    "CreateJobSchedule": "Times are real times, whatever the speed.",
    "DeallocateNode": "The node's files are kept.",
    "ReimageNode": "The node's files are deleted.",
}


def page() -> str:
    """The text of docs/emulator-coverage.md."""
    lines = [
        "# What of Azure Batch's data plane is emulated",
        "",
        "Made from the emulator's route table by `python -m azbatch_emulator.batch.coverage`.",
        "",
        f"{len(OPERATIONS)} of the 72 operations of api-version {NEWEST}, each driven by an unchanged client in",
        "`tests/contract/`.",
        "",
        "| operation | request | less than the service, or different |",
        "|---|---|---|",
        *(f"| {name} | `{method} {path}` | {NOTES.get(name, '')} |" for method, path, name, _ in OPERATIONS),
        "",
        "## In earlier api-versions only",
        "",
        "| operation | request | until | answer |",
        "|---|---|---|---|",
        *(
            f"| {name} | `{method} {path}` | {gone} | "
            f"{'an empty list' if name == 'ListCertificates' else 'refused: retired by the service'} |"
            for method, path, name, _, gone in RETIRED
        ),
        "",
        "`currentNodeCommunicationMode` is answered to api-versions before 2025.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
