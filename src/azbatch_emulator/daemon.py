"""The emulator as a detached process: start, stop, status, env, logs, reset."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from azbatch_emulator import processes, profiles
from azbatch_emulator.client import ControlClient
from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.runners.environment import MARKER
from azbatch_emulator.state import StateFolder, default_directory
from azbatch_emulator.tls import write_private

START_SECONDS = 600.0  # the first start installs Azurite
STOP_SECONDS = 30.0
POLL_SECONDS = 0.1
FILES = frozenset({"record", "key-file", "token-file", "ready-file"})  # options that name one
Progress = Callable[[str], None]


def folder_of(state: Path | str | None) -> StateFolder:
    return StateFolder(Path(state).expanduser() if state is not None else default_directory())


def start(
    state: Path | str | None = None,
    *,
    options: Mapping[str, str | int | float | bool | Sequence[str]] | None = None,
    progress: Progress = lambda _text: None,
) -> dict[str, Any]:
    """Start a daemon; returns its record once it answers.

    `options` are those of `python -m azbatch_emulator serve`, such as `{"speed": 60, "http-port": 0}`.
    Raises EmulatorError where one runs already or this one cannot start; nothing is left running then.
    """
    folder = folder_of(state)
    running = folder.running()
    if running is not None:
        raise EmulatorError(
            f"The emulator is already running (process {running}, state folder {folder.root}); "
            "stop it with: azbatch emulator stop"
        )
    folder.make()
    command = [sys.executable, "-m", "azbatch_emulator", "serve", "--state", str(folder.root)]
    for name, value in (options or {}).items():
        if name in FILES or (name == "profile" and value not in profiles.NAMES):
            value = str(Path(str(value)).expanduser().absolute())  # the daemon works elsewhere
        for one in [value] if isinstance(value, str) or not isinstance(value, Sequence) else value:
            command += [f"--{name}"] if one is True else [f"--{name}", str(one)]
    reading, writing = os.pipe()
    with os.fdopen(reading) as news, _log(folder) as output:
        try:
            process = subprocess.Popen(  # noqa: S603
                [*command, "--news-fd", str(writing)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[writing],
                start_new_session=True,
                cwd=folder.root,
            )
        finally:
            os.close(writing)
        _await_news(process, news, folder, progress)
    process.returncode = 0  # it lives on by itself: no warning about it when this object goes
    return folder.read_record()


@contextlib.contextmanager
def _log(folder: StateFolder) -> Iterator[IO[bytes]]:
    handle = os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as output:
        yield output


def _await_news(process: subprocess.Popen[bytes], news: IO[str], folder: StateFolder, progress: Progress) -> None:
    """Pass on what the daemon tells while it starts, until it says that it is ready."""
    deadline = time.monotonic() + START_SECONDS
    try:
        while select.select([news], [], [], max(0.0, deadline - time.monotonic()))[0]:
            line = news.readline()
            if not line:
                process.wait()
                raise EmulatorError(
                    f"The emulator ended while it started (exit code {process.returncode}); see {folder.log}."
                )
            told = json.loads(line)
            if "error" in told:
                process.wait()
                raise EmulatorError(told["error"])
            if "ready" in told:
                return
            progress(told["progress"])
        raise EmulatorError(f"The emulator did not start within {START_SECONDS:.0f} s; see {folder.log}.")
    except BaseException:
        if process.poll() is None:
            process.terminate()
            process.wait()
        raise


def stop(state: Path | str | None = None) -> bool:
    """End the daemon, its tasks and Azurite; False if none ran. Returns when they are gone."""
    folder = folder_of(state)
    pid = folder.running()
    if pid is None:
        return False
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not select.select([handle], [], [], STOP_SECONDS)[0]:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [], STOP_SECONDS)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)
    processes.kill_marked(MARKER, lambda value: value.startswith(f"{folder.owner}/"))
    folder.drop_record()
    return True


def status(state: Path | str | None = None) -> dict[str, Any]:
    """`{"running": False}`, or True with addresses, pools, jobs and counts of requests."""
    folder = folder_of(state)
    if folder.running() is None:
        return {"running": False, "state": str(folder.root)}
    try:
        client = _client(folder)
        found = client.call("status")
        others = client.call("accounts")["accounts"]
    except EmulatorError:
        if folder.running() is not None:
            raise
        return {"running": False, "state": str(folder.root)}  # ended just now
    others.pop(found["account"], None)
    return {"running": True, **found, "accounts": others}


def env(state: Path | str | None = None, who: str | None = None) -> dict[str, str]:
    """The variables with which clients find the running emulator, as the person or machine `who`, by default the owner.

    Raises EmulatorError where none runs, or there is nobody of that name.
    """
    if who is not None:
        found: dict[str, str] = _client(folder_of(state)).call("environment", who=who)
        return found
    variables: dict[str, str] = folder_of(state).read_record()["environment"]
    return variables


def create_workspace(
    name: str, state: Path | str | None = None, *, subscription: str | None = None, location: str = "westeurope"
) -> dict[str, Any]:
    """Make a workspace to start from in the running emulator: what it holds. Raises EmulatorError."""
    asked = {"name": name, "subscription": subscription, "location": location}
    return _client(folder_of(state)).call("workspace", **asked)


def sign_in(user_code: str, who: str | None, state: Path | str | None = None) -> None:
    """Enter a device code as the person `who`, or refuse it (None). Raises EmulatorError."""
    client = _client(folder_of(state))
    if all(one["user_code"].lower() != user_code.lower() for one in client.call("sign-ins")["waiting"]):
        raise EmulatorError(f"No sign-in waits for the code {user_code}: it was used, is too old, or is mistyped.")
    client.call("sign-in", user_code=user_code, who=who)


def logs(state: Path | str | None = None, lines: int = 100) -> str:
    """The end of the daemon's log. Raises EmulatorError where there is none."""
    folder = folder_of(state)
    if not folder.log.exists():
        raise EmulatorError(f"There is no log in {folder.root}; start the emulator with: azbatch emulator start")
    return "\n".join(folder.log.read_text(errors="replace").splitlines()[-lines:])


def reset(state: Path | str | None = None) -> bool:
    """Forget all pools, jobs, files and blobs; also where no emulator runs. True if one runs."""
    folder = folder_of(state)
    if folder.running() is not None:
        _client(folder).call("reset")
        return True
    folder.drop_journal()
    for directory in (folder.nodes, folder.blobs):
        shutil.rmtree(directory, ignore_errors=True)
    return False


def _client(folder: StateFolder) -> ControlClient:
    record = folder.read_record()
    if record.get("token_file") is None:
        return ControlClient(record["http_url"], folder.secrets().control_token)
    return ControlClient(record["http_url"], Path(record["token_file"]).read_text().strip())


def healthy(state: Path | str | None = None, *, wait: float = 0.0) -> None:
    """Returns once all of the emulator answers, within `wait` seconds. Raises EmulatorError where it does not."""
    folder = folder_of(state)
    deadline = time.monotonic() + wait
    while True:
        try:
            record = folder.read_record()
            ControlClient(record["http_url"], "").call("health")
            return
        except EmulatorError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(POLL_SECONDS)


def serve(
    news: IO[str],
    *,
    log_level: str = "info",
    ready_file: Path | None = None,
    announce: Callable[[Mapping[str, Any]], None] = lambda _record: None,
    **settings: Any,
) -> int:
    """Be the daemon: run until SIGTERM, SIGINT or a `shutdown` call. The exit code; `news` hears how the start goes.

    Once it answers, its record is written to `ready_file`, as it is to STATE/emulator.json, and given to `announce`;
    systemd is told. The file is deleted at the end.
    """
    from azbatch_emulator import logs
    from azbatch_emulator.emulator import Emulator

    logs.configure(log_level)
    if ready_file is not None:
        ready_file.unlink(missing_ok=True)  # a killed predecessor's

    def tell(**told: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody listens any more
            news.write(json.dumps(told) + "\n")
            news.flush()

    def interrupt(*_: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, interrupt)
    try:
        with Emulator(**settings, progress=lambda text: tell(progress=text)) as emulator:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: emulator.stop_requested.set())
            record = emulator.facts()
            with _written(ready_file, record):
                tell(ready="yes")
                with contextlib.suppress(OSError):
                    news.close()
                _log_start(record)
                announce(record)
                notify_systemd("READY=1", os.environ)
                emulator.stop_requested.wait()
                notify_systemd("STOPPING=1", os.environ)
    except EmulatorError as error:
        logging.getLogger(__name__).error("%s", error)
        tell(error=str(error))
        return 1
    return 0


@contextlib.contextmanager
def _written(path: Path | None, record: Mapping[str, Any]) -> Iterator[None]:
    if path is None:
        yield
        return
    try:
        write_private(path, json.dumps(record, indent=2).encode(), mode=0o644)  # others may wait, and nothing is secret
    except OSError as error:
        raise EmulatorError(f"The ready file {path} cannot be written: {error.strerror}.") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _log_start(record: Mapping[str, Any]) -> None:
    log = logging.getLogger(__name__)
    log.info("serving %s and %s, blobs at %s", record["http_url"], record["https_url"], record["blob_url"])
    if record["tasks_run_as"] == "root":
        log.warning("tasks run as root, since the emulator does; start it as another user to keep them from it")
    elif record["tasks_run_as"] is not None:
        bound = ", and cannot become root" if record["runner"] == "process" else ""
        log.info("tasks run as %s%s", record["tasks_run_as"], bound)
    if record["remote"]:
        log.warning("other machines reach it at %s", record["listen"])


def notify_systemd(text: str, environ: Mapping[str, str]) -> None:
    """Tell the service manager, where there is one. Source: sd_notify(3)."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        sender.sendall(text.encode())
