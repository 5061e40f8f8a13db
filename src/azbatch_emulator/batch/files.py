"""Handlers of files of tasks and nodes. Source: REST, Tasks - Get Task File; Nodes - List Node Files.

Tasks write these directories while they are read: what vanishes in between does not exist, what cannot be read is an
IOError, and nothing outside a node's root exists, by whatever dots or links it is asked for.
"""

from __future__ import annotations

import mimetypes
import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from errno import ELOOP, ENAMETOOLONG
from pathlib import Path
from typing import Any
from urllib.parse import quote

from azbatch_emulator.batch.call import Call, Reply, check_conditions, page, wanted_filter
from azbatch_emulator.batch.times import http_date, stamp
from azbatch_emulator.records import Refused

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
GONE = (FileNotFoundError, NotADirectoryError, ValueError, RuntimeError)  # RuntimeError: a loop of links


@dataclass(frozen=True, slots=True)
class Found:
    """A file or directory below a root: its name from there, with slashes, and what the system tells of it."""

    name: str
    path: Path
    status: os.stat_result

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)


def _task_root(call: Call) -> Path:
    task = call.world.task(call.path["jobId"], call.path["taskId"])
    directory = task.execution.root_directory
    if call.node_root is None or task.node_id is None or task.pool_id is None or directory is None:
        raise Refused("TaskFilesUnavailable")
    root = call.node_root / task.pool_id / task.node_id / directory
    if not root.is_dir():
        raise Refused("TaskFilesCleanedup")
    return root.resolve()


def _node_root(call: Call) -> Path:
    node = call.world.node(call.path["poolId"], call.path["nodeId"])
    root = None if call.node_root is None else call.node_root / node.pool_id / node.id
    if root is None or not root.is_dir():
        raise Refused("FileNotFound")
    return root.resolve()


def _found(root: Path, name: str) -> Found:
    """What a name means below `root`, which is resolved. Raises Refused(FileNotFound | IOError)."""
    try:
        path = (root / name.lstrip("/")).resolve()
        if not path.is_relative_to(root):
            raise Refused("FileNotFound")
        status = path.stat()
    except GONE:
        raise Refused("FileNotFound") from None
    except OSError as error:
        raise Refused("FileNotFound" if error.errno in {ENAMETOOLONG, ELOOP} else "IOError") from None
    # Pipes and sockets have no contents: reading one would wait for ever.
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise Refused("FileNotFound")
    return Found(name, path, status)


def _time(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _media_type(name: str) -> str:
    return mimetypes.guess_type(name.rpartition("/")[2])[0] or "application/octet-stream"


def _headers(call: Call, found: Found) -> dict[str, str]:
    return {
        "Last-Modified": http_date(_time(found.status.st_mtime)),
        "ocp-creation-time": http_date(_time(found.status.st_ctime)),
        "ocp-batch-file-isdirectory": str(found.is_directory),
        "ocp-batch-file-url": quote(f"{call.url}{call.request_path}", safe=":/%"),
        "ocp-batch-file-mode": f"0o{found.status.st_mode & 0o777777:o}",
        "Content-Type": _media_type(found.name),
    }


def _span(text: str | None, size: int) -> tuple[int, int]:
    """(first, length) of a range, both ends included; the whole without one. Raises Refused(InvalidRange)."""
    if not text:
        return 0, size
    found = _RANGE.fullmatch(text.strip())
    if found is None or found.groups() == ("", ""):
        raise Refused("InvalidRange")
    first, last = found.groups()
    if first == "":
        start, end = max(0, size - int(last)), size - 1
    else:
        start, end = int(first), min(int(last), size - 1) if last else size - 1
    if start > end and not (start == 0 and size == 0):
        raise Refused("InvalidRange")
    return start, end - start + 1


def _get(call: Call, root: Path) -> Reply:
    found = _found(root, call.path["filePath"])
    if found.is_directory:
        raise Refused("FileNotFound")
    if not os.access(found.path, os.R_OK):
        raise Refused("IOError")
    check_conditions(call, _time(found.status.st_mtime))
    # A range is answered with 200 and no Content-Range [recorded].
    span = _span(call.headers.get("ocp-range") or call.headers.get("range"), found.status.st_size)
    return Reply(200, headers=_headers(call, found), file=found.path, span=span)


def _properties(call: Call, root: Path) -> Reply:
    found = _found(root, call.path["filePath"])
    size = 0 if found.is_directory else found.status.st_size
    return Reply(200, headers={**_headers(call, found), "Content-Length": str(size)}, head=True)


def _delete(call: Call, root: Path) -> Reply:
    name = call.path["filePath"]
    found = _found(root, name)
    if found.path == root:
        raise Refused("FileNotFound")
    # The name itself goes, not what a link of that name leads to.
    named = root / name.strip("/")
    target = named if named.is_symlink() and named.parent.resolve() == named.parent else found.path
    try:
        if target.is_symlink() or not found.is_directory:
            target.unlink()
        elif _recursive(call):
            shutil.rmtree(target)
        elif any(target.iterdir()):
            raise Refused("OperationInvalidForCurrentState", message="The directory is not empty; ask for recursive.")
        else:
            target.rmdir()
    except GONE:
        raise Refused("FileNotFound") from None
    except OSError:
        raise Refused("IOError") from None
    return Reply(200)


def _recursive(call: Call) -> bool:
    return call.query.get("recursive", "").lower() == "true"


def _below(root: Path, directory: Path, recursive: bool) -> Iterator[Found]:
    """What lies in a directory below `root`, in no order; links are not gone into."""
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    for entry in entries:
        path = Path(entry.path)
        name = path.relative_to(root).as_posix()
        try:
            found = _found(root, name) if entry.is_symlink() else Found(name, path, entry.stat())
        except (Refused, OSError):
            continue  # it has vanished, or leads out
        if found.is_directory or stat.S_ISREG(found.status.st_mode):
            yield found
        if recursive and found.is_directory and not entry.is_symlink():
            yield from _below(root, path, recursive)


def _list(call: Call, root: Path, url: str) -> Reply:
    wanted = wanted_filter(call)

    def entry(found: Found) -> dict[str, Any]:
        address = f"{url}/files/{quote(os.fsencode(found.name), safe='')}"
        body: dict[str, Any] = {"name": found.name, "url": address, "isDirectory": found.is_directory}
        if not found.is_directory:
            body["properties"] = {
                "creationTime": stamp(_time(found.status.st_ctime)),
                "lastModified": stamp(_time(found.status.st_mtime)),
                "contentLength": str(found.status.st_size),
                "contentType": _media_type(found.name),
                "fileMode": f"0o{found.status.st_mode & 0o777777:o}",
            }
        return body

    return page(
        call,
        _below(root, root, _recursive(call)),
        entry,
        lambda found: found.name,
        test=wanted.test if wanted else None,
    )


def get_task_file(call: Call) -> Reply:
    return _get(call, _task_root(call))


def task_file_properties(call: Call) -> Reply:
    return _properties(call, _task_root(call))


def delete_task_file(call: Call) -> Reply:
    return _delete(call, _task_root(call))


def list_task_files(call: Call) -> Reply:
    return _list(call, _task_root(call), f"{call.url}/jobs/{call.path['jobId']}/tasks/{call.path['taskId']}")


def get_node_file(call: Call) -> Reply:
    return _get(call, _node_root(call))


def node_file_properties(call: Call) -> Reply:
    return _properties(call, _node_root(call))


def delete_node_file(call: Call) -> Reply:
    return _delete(call, _node_root(call))


def list_node_files(call: Call) -> Reply:
    root = _node_root(call)
    return _list(call, root, f"{call.url}/pools/{call.path['poolId']}/nodes/{call.path['nodeId']}")
