"""Starts, watches, restarts and stops Azurite's blob service, over TLS and with bearer tokens, on loopback."""

from __future__ import annotations

import contextlib
import logging
import queue
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from azbatch_emulator.azurite.install import MAIN, Progress, ensure_installed, last_lines
from azbatch_emulator.azurite.node import find_node, search_path
from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.tls import Tls

log = logging.getLogger(__name__)
_LISTENS = re.compile(r"listens on https://127\.0\.0\.1:(\d+)")
_CLOSED = "successfully closed"  # its tables are written; it would go on waiting for its clients' idle connections
START_SECONDS = 60.0
STOP_SECONDS = 5.0


class AzuriteProcess:
    """Azurite as a child process; it ends with us, however we end.

    `directory` keeps the blobs and `azurite.log`; `port` 0 lets the system choose. `key` is the storage account's
    key (base64). An exit nobody asked for is answered by one restart on the same port; after a second one,
    `failure` says what happened and `on_failure` is called with it, on a thread of ours.
    """

    def __init__(
        self,
        *,
        directory: Path,
        cache: Path,
        account: str,
        key: str,
        tls: Tls,
        port: int = 0,
        node_path: str | None = None,
        marker: dict[str, str] | None = None,
        progress: Progress = lambda _text: None,
        on_failure: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.directory = directory
        self.account = account
        self.port = port
        self.failure: str | None = None
        self.log_path = directory / "azurite.log"
        self._cache, self._node_path, self._progress = cache, node_path, progress
        self._accounts, self._tls, self._marker = f"{account}:{key}", tls, marker or {}
        self._on_failure = on_failure
        self._process: subprocess.Popen[str] | None = None
        self._watcher: threading.Thread | None = None
        self._stopping = False
        self._restarts = 1

    @property
    def url(self) -> str:
        """The account's blob endpoint, `https://127.0.0.1:PORT/ACCOUNT`."""
        return f"https://127.0.0.1:{self.port}/{self.account}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Install if needed, start, and return once it listens. Raises EmulatorError."""
        if self._process is not None:
            raise RuntimeError("this Azurite is running already")
        node = find_node(self._node_path)
        home = ensure_installed(self._cache, node, self._progress)
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.log_path.unlink(missing_ok=True)
        self._command = [
            *(node.executable, "--require", str(Path(__file__).with_name("guard.js")), str(home / MAIN)),
            *("--blobHost", "127.0.0.1", "--location", str(self.directory)),
            *("--disableTelemetry", "--skipApiVersionCheck", "--silent", "--oauth", "basic"),
            *("--cert", str(self._tls.certificate), "--key", str(self._tls.key)),
        ]
        self._environment = {
            "PATH": search_path(node),
            "HOME": str(self.directory),
            "AZURITE_ACCOUNTS": self._accounts,
            **self._marker,
        }
        self._stopping, self._restarts, self.failure = False, 1, None
        self._start_process()

    def _start_process(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603
            [*self._command, "--blobPort", str(self.port)],
            env=self._environment,
            stdin=subprocess.PIPE,  # never written to; its closing ends Azurite (guard.js)
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in a terminal is for us, not for it
            text=True,
            errors="replace",
        )
        news: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._watcher = threading.Thread(
            target=self._watch, args=(self._process, news), name="azurite-watcher", daemon=True
        )
        self._watcher.start()
        try:
            port = news.get(timeout=START_SECONDS)
        except queue.Empty:
            self.stop()
            raise EmulatorError(f"Azurite did not start within {START_SECONDS:.0f} s; see {self.log_path}.") from None
        if port is None:
            self.stop()
            raise EmulatorError(self._why_not_started())
        self.port = port

    def _watch(self, process: subprocess.Popen[str], news: queue.SimpleQueue[int | None]) -> None:
        """Copy its output into the log until it ends; tell its port once it listens, None if it never did."""
        listens = False
        assert process.stdout is not None
        with self.log_path.open("a") as output:
            for line in process.stdout:
                output.write(line)
                output.flush()
                if not listens and (found := _LISTENS.search(line)):
                    listens = True
                    news.put(int(found.group(1)))
                if self._stopping and _CLOSED in line:
                    process.kill()
        code = process.wait()
        if not listens:
            news.put(None)
        elif not self._stopping:
            self._exited(code)

    def _exited(self, code: int) -> None:
        try:
            if self._restarts <= 0:
                raise EmulatorError(
                    f"Azurite ended twice (exit code {code}) and was not started again; see {self.log_path}, "
                    "then stop and start the emulator."
                )
            self._restarts -= 1
            log.warning(
                "Azurite ended with exit code %s; starting it again on port %s. Its last five seconds may be lost",
                code,
                self.port,
            )
            self._release()
            self._start_process()
        except EmulatorError as error:
            self.failure = str(error)
            log.error("%s", error)
            self._on_failure(self.failure)

    def _why_not_started(self) -> str:
        tail = last_lines(self.log_path)
        if "EADDRINUSE" in tail:
            return f"Port {self.port} for Blob storage is in use; choose another, or 0 for a free one."
        return f"Azurite ended as soon as it was started; see {self.log_path}. It ended with: {tail}"

    def stop(self) -> None:
        """End it: politely at first, so that it writes its tables; returns when it is gone."""
        self._stopping = True
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join()
        self._release()

    def _release(self) -> None:
        process, self._process = self._process, None
        for stream in (process.stdin, process.stdout) if process else ():
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def wipe(self) -> None:
        """Forget all containers and blobs: stop, drop the directory, start again on the same port."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
