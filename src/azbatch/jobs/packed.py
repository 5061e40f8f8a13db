"""How each of several commands in one task ended, from the file that the task keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azbatch.errors import ServiceError
from azbatch.jobs.ports import JobPort

Json = dict[str, Any]
RESULTS = "azbatch-pack.jsonl"  # in the task's working directory: a line for each command that ended
MOST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class InPack:
    """`code` is the exit code, `output` the end of what a failed command wrote."""

    code: int
    output: str = ""


def read(text: str) -> Mapping[int, InPack]:
    """The results by place; a last line that was cut off is left out."""
    found: dict[int, InPack] = {}
    for line in text.splitlines():
        try:
            told = json.loads(line)
            found[int(told["job"])] = InPack(int(told["code"]), str(told.get("output", "")))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def ended_in_pack(port: JobPort, job_id: str, task_id: str, task: Json | None) -> Mapping[int, InPack]:
    """What the task's file says; empty where the node cannot give it any more."""
    if not ((task or {}).get("nodeInfo") or {}).get("nodeId"):
        return {}
    try:
        return read(port.read_task_file(job_id, task_id, f"wd/{RESULTS}", MOST_BYTES).decode(errors="replace"))
    except ServiceError:
        return {}
