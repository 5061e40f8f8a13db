"""The whole emulator in this process: server thread, runner, Azurite, state folder."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import ssl
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from azbatch_emulator import control, exposure, processes, profiles, tls
from azbatch_emulator.account import Account
from azbatch_emulator.arm.core import PROPAGATION
from azbatch_emulator.azurite import AzuriteProcess
from azbatch_emulator.client import PREFIX, ControlClient
from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.packages import PackageStorage
from azbatch_emulator.runners.environment import MARKER, Surroundings
from azbatch_emulator.runners.process import ProcessRunner, drop_files, drop_temporary
from azbatch_emulator.server import ServerThread, bind
from azbatch_emulator.state import StateFolder, cache_directory

if TYPE_CHECKING:
    from azbatch_emulator.app import Site
    from azbatch_emulator.forward_proxy import ForwardProxy
    from azbatch_emulator.identity.tokens import Tokens
    from azbatch_emulator.server import Listeners

log = logging.getLogger(__name__)
RunnerName = Literal["process", "container", "instant"]
Progress = Callable[[str], None]


class Emulator:
    """Azure Batch and Blob storage on loopback, for the length of a `with` block.

    `state` is the state folder, a temporary one by default. In a folder of its own everything survives the process,
    even kill -9: nodes reboot at the next start, and running tasks are requeued; `ephemeral` begins empty each time.
    `for_nextflow` lets Nextflow use it: the storage answers under its name on Azure too, by a proxy that NXF_OPTS in
    `environment` names together with a trust store.
    `runner` "process" runs tasks as real processes, "container" those with containerSettings in containers of podman
    or docker, "instant" ends each as soon as it starts. `speed`, by
    default the profile's, divides the service's delays (allocation, boot, sampling, autoscale interval); tasks take the
    time they take. `profile` (fast, realistic, chaos, or a YAML file) holds delays, failures and HTTP faults.
    With `virtual_time` the clock jumps to what is due next while nothing runs, at Azure's own delays; nothing survives.
    `record` names a file that all requests to Batch and Resource Manager are written to, secrets removed.
    `strict` refuses what Azure refuses and an emulator need not: properties, parameters and api-versions nobody knows.
    Without `storage` there is no Azurite, and Node.js is not needed. Port 0 is a free one.
    `listen` beyond loopback needs `allow_remote` and a `key_file`; see `exposure` and docs/emulator-ci.md.

    Inside the block: `http_url`, `https_url`, `account`, `account_key`, `blob_url`, `storage_account`, `storage_key`,
    `storage_connection_string`, `ca_bundle`, `control_url`, and the methods `environment` and `control`.

    Raises EmulatorError on entering, with nothing left running, where a port is in use, the folder belongs to a running
    emulator, Node.js is missing, or Azurite cannot be installed or started.
    """

    def __init__(
        self,
        *,
        state: Path | str | None = None,
        runner: RunnerName = "process",
        speed: float | None = None,
        storage: bool = True,
        ephemeral: bool = False,
        http_port: int = 0,
        https_port: int = 0,
        blob_port: int = 0,
        account: str = "emulator",
        storage_account: str = "emulatorstorage",
        node_path: str | None = None,
        for_nextflow: bool = False,
        profile: str | Path = profiles.USUAL,
        virtual_time: bool = False,
        record: Path | str | None = None,
        listen: str = exposure.LOOPBACK,
        allow_remote: bool = False,
        host_names: Sequence[str] = (),
        key_file: Path | None = None,
        token_file: Path | None = None,
        strict: bool = False,
        progress: Progress = lambda _text: None,
    ) -> None:
        self._exposed = functools.partial(
            exposure.decide,
            listen,
            allow_remote=allow_remote,
            names=host_names,
            key_file=key_file,
            token_file=token_file,
        )
        self._token_file = token_file.expanduser().absolute() if token_file else None
        self._given_state, self._runner_name = state, runner
        loaded = profiles.load(profile)
        if virtual_time and speed is None:
            loaded = replace(loaded, speed=1.0, management_speed=loaded.speed)
        self._conditions = loaded if speed is None else replace(loaded, speed=speed)
        self._virtual = virtual_time
        self._record = None if record is None else Path(record).expanduser()
        self._with_storage, self._node_path, self._progress = storage, node_path, progress
        self._durable = state is not None and not ephemeral and not virtual_time
        self._for_nextflow, self._proxy_url = for_nextflow, ""
        self._strict = strict
        self._ports = (http_port, https_port, blob_port)
        self.account, self.storage_account = account, storage_account
        self.stop_requested = threading.Event()
        self._site: Any = None
        self._told: set[str] = set()
        self._azurite: AzuriteProcess | None = None
        self._more_storage: list[AzuriteProcess] = []
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._start(stack)
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def _start(self, stack: contextlib.ExitStack) -> None:
        if self._for_nextflow and not self._with_storage:
            raise EmulatorError("Nextflow needs Blob storage: leave out --no-storage or --for-nextflow.")
        if self._runner_name == "container":
            from azbatch_emulator.runners.container import engine

            engine(os.environ)  # before anything is started
        exposed = self._exposure = self._exposed(derived=self._derived_keys())
        self._folder = self._open_folder(stack)
        secrets = self._folder.secrets()
        self.account_key, self.storage_key = exposed.key or secrets.account_key, exposed.key or secrets.storage_key
        self._token = exposed.token or secrets.control_token
        names = [*exposed.names, *([self.blob_host] if self._for_nextflow else [])]
        self._tls = tls.ensure(self._folder.tls, hosts=names)
        # What is not encrypted stays on loopback, and so does the metadata service, which asks nobody for a key.
        http = stack.enter_context(contextlib.closing(bind(self._ports[0], "--http-port")))
        https = stack.enter_context(contextlib.closing(bind(self._ports[1], "--https-port", exposed.address)))
        self.http_url = f"http://127.0.0.1:{http.getsockname()[1]}"
        self.https_url = f"https://{exposed.local_host}:{https.getsockname()[1]}"
        if self._with_storage:
            self._start_storage(stack)
        if self._for_nextflow:
            self._proxy_socket = stack.enter_context(contextlib.closing(bind(0, "--http-port")))
            self._proxy_url = f"http://127.0.0.1:{self._proxy_socket.getsockname()[1]}"
            tls.java_trust_store(self._tls, self.trust_store)
        server = ServerThread(self._application, http, https, self._tls)
        stack.callback(server.stop)
        server.start()
        self._client = ControlClient(self.http_url, self._token)
        self._folder.write_record(self.facts())
        stack.callback(self._folder.drop_record)

    def _derived_keys(self) -> list[str]:
        """Keys that anybody can compute: those of the tenant's accounts, which answer on loopback only."""
        from azbatch_emulator.arm.providers.storage import account_key

        return [account_key(name, number) for name in (self.account, self.storage_account) for number in (1, 2)]

    def _open_folder(self, stack: contextlib.ExitStack) -> StateFolder:
        given = self._given_state
        if given is None:
            given = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="azbatch-emulator-", ignore_cleanup_errors=True)
            )
        folder = StateFolder(Path(given).expanduser())
        stack.callback(folder.lock().release)
        # What a killed predecessor left: its processes, and the files of nodes nobody knows any more.
        killed = processes.kill_marked(MARKER, lambda value: value.startswith(f"{folder.owner}/"))
        if killed:
            log.warning("ended %s processes that an earlier emulator had left", killed)
        if self._durable and folder.journal.exists():
            drop_temporary(folder.nodes)
        else:
            folder.drop_journal()
            drop_files(folder.nodes)
        return folder

    def _start_storage(self, stack: contextlib.ExitStack) -> None:
        port = self._ports[2]
        if self._exposure.remote:
            # Azurite believes every token: others reach it through a gateway that checks them.
            self._blob_socket = stack.enter_context(
                contextlib.closing(bind(port, "--blob-port", self._exposure.address))
            )
            port = 0
        self._azurite = self._new_azurite(
            self._folder.blobs, self.storage_account, self.storage_key, port, self._progress
        )
        stack.callback(self._azurite.stop)
        stack.callback(self._stop_more_storage)
        self._azurite.start()

    def _new_azurite(
        self, directory: Path, account: str, key: str, port: int, progress: Progress = lambda _text: None
    ) -> AzuriteProcess:
        return AzuriteProcess(
            directory=directory,
            cache=cache_directory(),
            account=account,
            key=key,
            tls=self._tls,
            port=port,
            node_path=self._node_path,
            marker={MARKER: f"{self._folder.owner}/azurite/"},
            progress=progress,
        )

    def _stop_more_storage(self) -> None:
        while self._more_storage:
            self._more_storage.pop().stop()

    @contextlib.asynccontextmanager
    async def _application(self) -> AsyncIterator[ASGIApp]:
        # Imported here: whoever only asks for the address of a daemon does not wait for it.
        from azbatch_emulator.app import Site
        from azbatch_emulator.clock import RealClock
        from azbatch_emulator.identity.tokens import Tokens
        from azbatch_emulator.recording.recorder import Recording
        from azbatch_emulator.server import Listeners
        from azbatch_emulator.virtual import VirtualClock

        if self._runner_name == "process":
            processes.keep_from_root()  # this thread starts the commands; podman needs to be let
        account = Account(self.account, self.account_key, storage=self.storage_account if self._with_storage else "")
        tokens = Tokens.load(self._folder.token_key, account.tenant)
        recording = None
        if self._record is not None:
            recording = Recording(self._record, (self.account_key, self.storage_key, self._token))
        trust = ssl.create_default_context(cafile=str(self._tls.authority))
        listeners = Listeners(self._tls)
        site = self._site = Site(
            account=account,
            tokens=tokens,
            clock=VirtualClock(datetime.now(UTC)) if self._virtual else RealClock(),
            conditions=self._conditions,
            strict=self._strict,
            runner=lambda one: self._runner(tokens, one),
            journal=self._journal,
            open_door=listeners.open,
            recording=recording,
            tenant_file=self._folder.tenant if self._durable else None,
            open_storage=self._open_storage if self._with_storage else None,
            trust=trust,
        )
        if self._azurite is not None:
            site.tenant.packages = PackageStorage(
                self.blob_url, self.storage_account, self.storage_key, self._tls.bundle
            )
        await site.begin()
        proxy = self._forward_proxy() if self._for_nextflow else None
        if proxy is not None:
            await proxy.start()
        try:
            yield self._by_listener(site, listeners, tokens, trust)
        finally:
            if proxy is not None:
                await proxy.close()
            await listeners.close()
            await site.close()
            if recording is not None:
                recording.close()

    def _by_listener(self, site: Site, listeners: Listeners, tokens: Tokens, trust: ssl.SSLContext) -> ASGIApp:
        """One application on loopback; beyond it, one without the metadata service, and a gateway to the blobs."""
        from azbatch_emulator.gateway import Gateway, Owners, blob_operation
        from azbatch_emulator.logs import AccessLog

        routes = control.routes(self._control(site))
        inside = site.app(routes)
        if not self._exposure.remote:
            return inside
        outside = site.app(routes, identity_for_all=False)
        azurite = self._azurite
        if azurite is not None:

            async def backend() -> str:
                return azurite.url

            gateway = Gateway(self.storage_account, None, Owners(), tokens, lambda: datetime.now(UTC), backend, trust)
            listeners.serve(AccessLog(gateway, blob_operation), self._blob_socket)

        async def choose(scope: Scope, receive: Receive, send: Send) -> None:
            await (outside if scope["scheme"] == "https" else inside)(scope, receive, send)

        return choose

    def _forward_proxy(self) -> ForwardProxy:
        from azbatch_emulator.forward_proxy import ForwardProxy

        def mapped() -> dict[str, tuple[str, int]]:
            return {self.blob_host: ("127.0.0.1", self._azurite.port)} if self._azurite else {}

        return ForwardProxy(self._proxy_socket, mapped)

    @property
    def blob_host(self) -> str:
        """The storage account's name on Azure, which programs that take no other ask for."""
        return f"{self.storage_account}.blob.core.windows.net"

    @property
    def trust_store(self) -> Path:
        """For Java: the authorities of `ca_bundle`; made with `for_nextflow`."""
        return self._folder.tls / "truststore.p12"

    def _package(self, account: Account, name: str, version: str | None) -> tuple[str, str] | None:
        """An application package as the nodes of an account fetch it."""
        found: tuple[str, str] | None = self._site.tenant.package(account, name, version)
        return found

    def _pool_identity(self, account: Account, pool_id: str) -> str:
        """Where the nodes of a pool of the tenant find their identity: none, where the pool has none."""
        from azbatch_emulator.identity.metadata import PREFIX as IDENTITY

        name = self._site.tenant.pool_identity(account, pool_id)
        return f"{IDENTITY}/{name or 'none'}"

    def _open_storage(self, name: str) -> str:
        """Start the Azurite of a storage account of the tenant: its address. Called on a thread."""
        from azbatch_emulator.arm.providers.storage import account_key

        azurite = self._new_azurite(self._folder.root / "storage" / name, name, account_key(name, 1), 0)
        azurite.start()
        self._more_storage.append(azurite)
        return azurite.url

    def _journal(self, account: Account) -> Path | None:
        if not self._durable:
            return None
        return (
            self._folder.journal
            if account.name == self.account
            else self._folder.account(account.name) / "world.sqlite"
        )

    def _runner(self, tokens: Any, account: Account) -> tuple[Any, Path | None]:
        from azbatch_emulator.identity.metadata import SUBJECT
        from azbatch_emulator.runners.instant import InstantRunner

        if self._runner_name == "instant":
            return InstantRunner(), None
        mine = account.name == self.account
        nodes = self._folder.nodes if mine else self._folder.account(account.name) / "nodes"
        surroundings = Surroundings(
            account=account.name,
            account_url=self.https_url if mine else f"https://{account.name}.{account.location}.batch.azure.com",
            identity_url=lambda pool: self.http_url if mine else f"{self.http_url}{self._pool_identity(account, pool)}",
            ca_bundle=self._tls.bundle,
            storage_url=self.blob_url if self._azurite else None,
            proxy=self._proxy_url,
            package=lambda name, version: self._package(account, name, version),
            token=lambda resource, identity: str(
                tokens.mint(resource, SUBJECT if mine else self._site.tenant.subject_of(identity), datetime.now(UTC))
            ),
        )
        owner = f"{self._folder.owner}/nodes" if mine else f"{self._folder.owner}/accounts/{account.name}"
        if self._runner_name == "container":
            from azbatch_emulator.runners.container import ContainerRunner

            return ContainerRunner(nodes, surroundings, owner=owner), nodes
        return ProcessRunner(nodes, surroundings, owner=owner, told=self._told), nodes

    def _control(self, site: Any) -> control.Control:
        return control.Control(
            engine=site.service.engine,
            counts=site.service.counts,
            faults=site.faults,
            tenant=control.TenantRoutes(site, self.environment),
            token=self._token,
            facts=self.facts,
            wipe=self._wipe,
            shutdown=self.stop_requested.set,
        )

    def _wipe(self, storage: bool) -> None:
        drop_files(self._folder.nodes)
        if storage and self._azurite is not None:
            self._azurite.wipe()

    def facts(self) -> dict[str, Any]:
        """What the record of a running emulator, and its status, say; no secret."""
        azurite = self._azurite
        return {
            "pid": os.getpid(),
            "account": self.account,
            "http_url": self.http_url,
            "https_url": self.https_url,
            "blob_url": self.blob_url if azurite else None,
            "storage_failure": azurite.failure if azurite else None,
            "blob_host": self.blob_host if azurite and self._for_nextflow else None,
            "ca_bundle": str(self.ca_bundle),
            "ca": str(self._tls.authority),
            "listen": self._exposure.address,
            "token_file": str(self._token_file) if self._token_file else None,
            "remote": self._exposure.remote,
            "tasks_run_as": None if self._runner_name == "instant" else processes.user(),
            "runner": self._runner_name,
            "speed": self._conditions.speed,
            "virtual_time": self._virtual,
            "strict": self._strict,
            "profile": self._conditions.name,
            "state": str(self._folder.root),
            "environment": self.environment(),
        }

    @property
    def blob_url(self) -> str:
        """The storage account's blob endpoint, `https://127.0.0.1:PORT/ACCOUNT`."""
        if self._azurite is None:
            raise AttributeError("this emulator was started without storage")
        if self._exposure.remote:
            port = self._blob_socket.getsockname()[1]
            return f"https://{self._exposure.local_host}:{port}/{self.storage_account}"
        return self._azurite.url

    @property
    def storage_connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol=https;AccountName={self.storage_account};AccountKey={self.storage_key};"
            f"BlobEndpoint={self.blob_url};"
        )

    @property
    def ca_bundle(self) -> Path:
        """PEM file with the authorities trusted before, and the emulator's own."""
        return self._tls.bundle

    @property
    def control_url(self) -> str:
        return f"{self.http_url}{PREFIX}"

    def environment(self, who: str | None = None) -> dict[str, str]:
        """Variables with which clients find and trust the emulator; no secret among them.

        `who` is a person or a machine of the tenant that they are to act as; by default the owner.
        """
        if who is not None:
            found: dict[str, str] = self.control("environment", who=who)
            return found
        bundle = str(self.ca_bundle)
        storage = {}
        if self._azurite is not None:
            storage = {"AZBATCH_STORAGE_URL": self.blob_url, "SNAKEMAKE_STORAGE_AZBLOB_ENDPOINT_URL": self.blob_url}
        speed = self._conditions.management_speed or self._conditions.speed
        return {
            "AZBATCH_ACCOUNT_URL": self.https_url,
            "AZBATCH_ACCOUNT_NAME": self.account,  # which an address does not tell
            **storage,
            "AZBATCH_ARM_URL": self.https_url,
            "AZBATCH_WAIT_FOR_ROLES": f"{PROPAGATION.total_seconds() / speed:.3f}",
            "AZURE_AUTHORITY_HOST": self.https_url,
            "AZURE_POD_IDENTITY_AUTHORITY_HOST": self.http_url,
            "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
            "REQUESTS_CA_BUNDLE": bundle,
            "SSL_CERT_FILE": bundle,
            **self._java(),
            **_past_proxies(os.environ, self._exposure.local_host),
        }

    def _java(self) -> dict[str, str]:
        """Nextflow's Java finds the storage by the proxy, and trusts it."""
        if not self._for_nextflow:
            return {}
        place = urlsplit(self._proxy_url)
        settings = {
            "javax.net.ssl.trustStore": self.trust_store,
            "javax.net.ssl.trustStoreType": "PKCS12",
            "javax.net.ssl.trustStorePassword": tls.JAVA_PASSWORD,
            "https.proxyHost": place.hostname,
            "https.proxyPort": place.port,
            "http.nonProxyHosts": "127.*|localhost",
        }
        return {"NXF_OPTS": " ".join(f"-D{name}={value}" for name, value in settings.items())}

    def control(self, path: str, /, **body: Any) -> dict[str, Any]:
        """Call a route of `/_emulator/`: `control("status")`, `control("preempt", pool_id=..., node_id=...)`.

        Raises EmulatorError where the emulator refuses.
        """
        return self._client.call(path, **body)


def _past_proxies(environ: Mapping[str, str], own: str) -> dict[str, str]:
    """Where the user has proxies: variables that keep loopback, and our `own` address, off them."""
    if not any(environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY")):
        return {}
    hosts = [host for host in (environ.get("NO_PROXY") or environ.get("no_proxy") or "").split(",") if host]
    hosts += [host for host in dict.fromkeys(("127.0.0.1", "localhost", own)) if host not in hosts]
    return dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(hosts))
