"""Handlers of files of tasks and nodes. Source: REST, Tasks - Get Task File; Nodes - List Node Files."""

from __future__ import annotations

import mimetypes
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from azbatch_emulator.batch.call import Call, Reply, check_conditions, page
from azbatch_emulator.batch.times import http_date, stamp
from azbatch_emulator.records import Refused

_RANGE = re.compile(r"^bytes=(\d*)-(\d*)$")


def _task_root(call: Call) -> Path:
    task = call.world.task(call.path["jobId"], call.path["taskId"])
    directory = task.execution.root_directory
    if call.node_root is None or task.node_id is None or task.pool_id is None or directory is None:
        raise Refused("TaskFilesUnavailable")
    root = call.node_root / task.pool_id / task.node_id / directory
    if not root.is_dir():
        raise Refused("TaskFilesCleanedup")
    return root


def _node_root(call: Call) -> Path:
    node = call.world.node(call.path["poolId"], call.path["nodeId"])
    if call.node_root is None:
        raise Refused("FileNotFound")
    return call.node_root / node.pool_id / node.id


def _inside(root: Path, relative: str) -> Path:
    """The path below `root`; what climbs out of it, also by a link, does not exist."""
    path = root / relative.lstrip("/")
    base = root.resolve()
    try:
        found = path.resolve()
        if not found.is_relative_to(base) or not found.exists():
            raise Refused("FileNotFound")
    except (OSError, ValueError, RuntimeError):
        raise Refused("FileNotFound") from None
    return found


def _headers(call: Call, path: Path) -> dict[str, str]:
    status = path.stat()
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return {
        "Last-Modified": http_date(modified),
        "ocp-creation-time": http_date(datetime.fromtimestamp(status.st_ctime, UTC)),
        "ocp-batch-file-isdirectory": str(path.is_dir()),
        "ocp-batch-file-url": quote(f"{call.url}{call.request_path}", safe=":/%"),
        "ocp-batch-file-mode": f"0o{status.st_mode & 0o777777:o}",
        "Content-Type": mimetypes.guess_type(path.name)[0] or "application/octet-stream",
    }


def _span(text: str | None, size: int) -> tuple[int, int]:
    """(first, length) of a range, both ends included; the whole without one. Raises Refused(InvalidRange)."""
    if not text:
        return 0, size
    found = _RANGE.match(text.strip())
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
    path = _inside(root, call.path["filePath"])
    if path.is_dir():
        raise Refused("FileNotFound")
    check_conditions(call, datetime.fromtimestamp(path.stat().st_mtime, UTC))
    # A range is answered with 200 and no Content-Range [recorded].
    span = _span(call.headers.get("ocp-range") or call.headers.get("range"), path.stat().st_size)
    return Reply(200, headers=_headers(call, path), file=path, span=span)


def _properties(call: Call, root: Path) -> Reply:
    path = _inside(root, call.path["filePath"])
    size = 0 if path.is_dir() else path.stat().st_size
    return Reply(200, headers={**_headers(call, path), "Content-Length": str(size)}, head=True)


def _delete(call: Call, root: Path) -> Reply:
    path = _inside(root, call.path["filePath"])
    if path == root.resolve():
        raise Refused("FileNotFound")
    if not path.is_dir():
        path.unlink()
    elif call.query.get("recursive", "").lower() == "true":
        shutil.rmtree(path, ignore_errors=True)
    elif any(path.iterdir()):
        raise Refused("OperationInvalidForCurrentState", message="The directory is not empty; ask for recursive.")
    else:
        path.rmdir()
    return Reply(200)


def _list(call: Call, root: Path, url: str) -> Reply:
    recursive = call.query.get("recursive", "").lower() == "true"
    found = root.rglob("*") if recursive else root.glob("*")

    def entry(path: Path) -> dict[str, Any]:
        name = path.relative_to(root).as_posix()
        body: dict[str, Any] = {
            "name": name,
            "url": f"{url}/files/{quote(name, safe='')}",
            "isDirectory": path.is_dir(),
        }
        if not path.is_dir():
            status = path.stat()
            body["properties"] = {
                "creationTime": stamp(datetime.fromtimestamp(status.st_ctime, UTC)),
                "lastModified": stamp(datetime.fromtimestamp(status.st_mtime, UTC)),
                "contentLength": str(status.st_size),
                "contentType": mimetypes.guess_type(name)[0] or "application/octet-stream",
                "fileMode": f"0o{status.st_mode & 0o777777:o}",
            }
        return body

    listed = [path for path in found if path.exists()]
    return page(call, listed, entry, lambda path: path.relative_to(root).as_posix())


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
