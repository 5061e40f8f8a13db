"""The helper: one object with all that a researcher does on a head node. Thin over azbatch."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azbatch.errors import AzbatchError, ConfigurationError
from nextflowhelper.records import NetworkRule, PoolStatus
from nextflowhelper.wishes import Wish, spec_of

if TYPE_CHECKING:
    from azbatch.azure.batch import BatchAccount
    from azbatch.azure.clients import BatchClient, BlobClient, BlobServiceClient, ContainerClient, TokenCredential
    from azbatch.azure.network import SecurityGroup
    from azbatch.headnode.discover import Workspace
    from azbatch.network.model import Opening
    from azbatch.nextflow.settings import Settings
    from azbatch.pools.azcopy import Azcopy
    from azbatch.pools.spec import PoolSpec
    from azbatch.signals import Interrupts

Json = dict[str, Any]


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class NextflowHelper:
    """Pools, network openings, storage and Nextflow of the workspace that this machine is the head node of.

    Start with `create_nextflow_scripts()`. Where things are comes from the environment (AZBATCH_ACCOUNT_URL and
    others), else from the machine's metadata and the workspace's tags; ask `get_config()`.

    Pools: create_batch_pool, list_batch_pools, get_batch_pool_status, delete_batch_pool, list_image_types, own_pool.
    Network: create_network_rule, list_network_rules, delete_network_rule, check_images.
    Clients: get_batch_client, get_blob_service_client, get_container_client, get_blob_client, get_network_client,
    get_credentials.
    Place: get_config, get_batch_account, get_storage_account, get_batch_subnetid, get_node_identity,
    get_subscription_id, get_resource_group, get_private_addresses, update_hosts.
    Nextflow: create_nextflow_scripts, check_before_run, run_nextflow.

    Every method raises azbatch.errors.AzbatchError with one sentence for the user.
    """

    def __init__(self, *, tell: Callable[[str], None] = _tell) -> None:
        self._tell = tell
        self._workspace: Workspace | None = None
        self._account: BatchAccount | None = None
        self._group: SecurityGroup | None = None
        self._person: Any = None

    # Place

    def get_workspace(self) -> Workspace:
        """Where everything is: accounts, region, subnet, security group."""
        if self._workspace is None:
            from azbatch.headnode.discover import locate

            self._workspace = locate()
        return self._workspace

    def get_config(self) -> Json:
        """The `azure` part of a Nextflow configuration for this workspace, as a dictionary. No keys: there are none."""
        place = self.get_workspace()
        pools = {pool["id"]: {"vmType": pool["vmSize"]} for pool in self.list_batch_pools()}
        return {
            "azure": {
                "managedIdentity": {"system": True},
                "storage": {"accountName": place.storage_name},
                "batch": {
                    "endpoint": place.account_url,
                    "accountName": place.account_name,
                    "location": place.region,
                    "autoPoolMode": False,
                    "allowPoolCreation": False,
                    "copyToolInstallMode": "off",
                    "pools": pools,
                },
            }
        }

    def get_batch_account(self) -> tuple[str, str]:
        """(URL, name) of the workspace's Batch account."""
        place = self.get_workspace()
        return place.account_url, place.account_name

    def get_storage_account(self) -> tuple[str, str]:
        """(URL, name) of the workspace's storage account."""
        place = self.get_workspace()
        return place.storage_url, place.storage_name

    def get_batch_subnetid(self) -> str:
        """Resource id of the nodes' subnet; "" where none is known."""
        return self.get_workspace().subnet_id

    def get_node_identity(self) -> str:
        """Resource id of the identity that nodes act as; "" where none is known."""
        return self.get_workspace().node_identity_id

    def get_subscription_id(self) -> str:
        """The workspace's subscription; "" where it is not known."""
        return self.get_workspace().subscription

    def get_resource_group(self) -> str:
        """The workspace's resource group; "" where it is not known."""
        return self.get_workspace().resource_group

    def get_private_addresses(self) -> dict[str, str]:
        """name -> address of the workspace's private endpoints for Batch and blobs, as Azure knows them.

        An endpoint whose records a private DNS zone keeps tells no addresses: its names resolve by that zone.
        """
        from azbatch.azure import clients
        from azbatch.headnode.hosts import looked_up, with_records

        place = self.get_workspace()
        if not (place.subscription and place.resource_group):
            raise ConfigurationError(["The workspace is not known, so its private endpoints cannot be looked up."])
        arm = clients.resource_manager(clients.machine())
        group = f"/subscriptions/{place.subscription}/resourceGroups/{place.resource_group}"
        try:
            endpoints = [
                with_records(one, arm.list(f"{one['id']}/privateDnsZoneGroups", "2024-05-01"))
                for one in arm.list(f"{group}/providers/Microsoft.Network/privateEndpoints", "2024-05-01")
            ]
        finally:
            arm.close()
        found = looked_up(endpoints)
        if not found:
            text = (
                f"The private endpoints of workspace '{place.resource_group}' tell no addresses: a DNS zone keeps "
                "them, so link it to this network (`azbatch headnode check`), or give update_hosts names and addresses."
                if endpoints
                else f"Workspace '{place.resource_group}' has no private endpoint that this machine may see."
            )
            raise ConfigurationError([text])
        return found

    def update_hosts(self, addresses: Mapping[str, str] | None = None, path: Path = Path("/etc/hosts")) -> bool:
        """Put private endpoints' names (name -> address; by default `get_private_addresses`) into the hosts file.

        A last resort for networks whose DNS has no private zone; needs root. Lines of others stay as they are. False
        if all is there already.
        """
        from azbatch.headnode.hosts import merged

        if addresses is None:
            addresses = self.get_private_addresses()
        before = path.read_text(encoding="utf-8")
        after = merged(before, addresses)
        if after == before:
            return False
        try:
            path.write_text(after, encoding="utf-8")
        except PermissionError as error:
            raise AzbatchError(f"{path} can only be written by root: run this with sudo.") from error
        return True

    # Clients

    def get_credentials(self, vmauth: bool = True) -> TokenCredential:
        """The machine's identity, or with `vmauth=False` the person's, who signs in by device code on first need."""
        from azbatch.azure import clients

        if vmauth:
            return clients.machine()
        if self._person is None:
            self._person = clients.person(self._tell)
        return self._person  # type: ignore[no-any-return]

    def get_batch_client(self) -> BatchClient:
        """azure-batch's client of the workspace's account."""
        from azbatch.azure import clients

        return clients.batch(self.get_workspace().account_url)

    def get_blob_service_client(self) -> BlobServiceClient:
        """azure-storage-blob's client of the workspace's account."""
        from azbatch.azure import clients

        return clients.blobs(self.get_workspace().storage_url)

    def get_container_client(self, container: str) -> ContainerClient:
        """The client of one blob container."""
        return self.get_blob_service_client().get_container_client(container)

    def get_blob_client(self, container: str, blob: str) -> BlobClient:
        """The client of one blob."""
        return self.get_blob_service_client().get_blob_client(container, blob)

    def get_network_client(self) -> SecurityGroup:
        """The Batch network's security group, with the person's rights (device code)."""
        if self._group is None:
            from azbatch.azure import clients
            from azbatch.azure.network import SecurityGroup

            id = self.get_workspace().security_group_id
            if not id:
                raise ConfigurationError(
                    ["The Batch network's security group is not known: set AZBATCH_SECURITY_GROUP_ID."]
                )
            self._group = SecurityGroup(clients.resource_manager(self.get_credentials(vmauth=False)), id)
        return self._group

    def _batch(self) -> BatchAccount:
        if self._account is None:
            from azbatch.azure.batch import BatchAccount

            place = self.get_workspace()
            self._account = BatchAccount(place.account_url, account_id=place.account_id)
        return self._account

    # Pools

    def list_batch_pools(self) -> list[Json]:
        """The pools of the account, as the service describes them."""
        return self._batch().list_pools()

    def list_image_types(self) -> list[Json]:
        """The images for nodes that can run containers, as the service describes them."""
        return [i for i in self._batch().supported_images() if "DockerCompatible" in i.get("capabilities", ())]

    def get_batch_pool_status(self, pool_id: str) -> PoolStatus:
        """How a pool is: ready only with a usable node, and what is wrong where something is."""
        from azbatch.pools.watch import assess

        pool, nodes = self._batch().get_pool(pool_id), self._batch().list_nodes(pool_id)
        judged = assess(pool, nodes)
        return PoolStatus(
            pool_state=str(pool["state"]),
            allocation_state=str(pool["allocationState"]),
            verdict=str(judged.verdict),
            nodes={str(node["id"]): str(node["state"]) for node in nodes},
            lines=judged.lines,
        )

    def create_batch_pool(
        self,
        pool_id: str,
        *,
        vm_size: str | None = None,
        shape: str | None = None,
        cores: int = 2,
        memory_mb: int = 0,
        gpus: int = 0,
        nodes: int = 1,
        spot: bool = False,
        scenario: str | None = None,
        images: Sequence[str] = (),
        image: str | None = None,
        azcopy: bool = False,
        docker_disk: str | None = None,
        wait: bool = True,
        keep_failed: bool = False,
    ) -> PoolStatus:
        """Make a pool; task slots are the size's vCPUs.

        Without `vm_size` it is the smallest size with what `shape` (small, medium, large, memory, disk, gpu) has, and
        `cores`, `memory_mb` and `gpus` besides.

        `scenario` (pending-tasks, workday or fixed) scales from 0 to `nodes`. `images` are container images pulled
        ahead, `image` is the nodes' own (publisher:offer:sku). `azcopy` puts this machine's azcopy on the nodes.
        `docker_disk` is where Docker's images go: "200" (GB of a data disk) or "nvme". Nodes are in the workspace's
        subnet and act as its node identity. A pool that gets no usable node is deleted again, unless `keep_failed`.
        """
        from azbatch.pools import manage

        wish = Wish(
            pool_id=pool_id,
            vm_size=vm_size,
            shape=shape,
            cores=cores,
            memory_mb=memory_mb,
            gpus=gpus,
            nodes=nodes,
            spot=spot,
            scenario=scenario,
            images=tuple(images),
            image=image,
            docker_disk=docker_disk,
        )
        spec = self._spec(wish, azcopy=azcopy)
        with _interrupts() as interrupts:
            manage.make(self._batch(), spec, interrupts=interrupts, said=self._tell, wait=wait, keep_failed=keep_failed)
        return self.get_batch_pool_status(pool_id)

    def _spec(self, wish: Wish, *, azcopy: bool) -> PoolSpec:
        return spec_of(
            wish,
            self.get_workspace(),
            self._batch().supported_images(),
            azcopy=self._node_azcopy() if azcopy else None,
            now=datetime.now(UTC),
        )

    def _node_azcopy(self) -> Azcopy:
        from azbatch.azure.blob import BlobAccount
        from azbatch.headnode import node_azcopy

        if not self.get_node_identity():
            text = "Nodes fetch azcopy by the workspace's node identity: set AZBATCH_NODE_IDENTITY_ID."
            raise ConfigurationError([text])
        return node_azcopy.publish(BlobAccount(self.get_workspace().storage_url), None, self.get_node_identity())

    def delete_batch_pool(self, pool_id: str, wait: bool = True) -> None:
        """Delete a pool with its nodes; with `wait` until it is gone. Raises AzbatchError where there is none."""
        import time

        from azbatch.errors import ServiceError

        self._batch().get_pool(pool_id)
        self._batch().delete_pool(pool_id)
        while wait:
            try:
                self._batch().get_pool(pool_id)
            except ServiceError as error:
                # Only this is proof that it is gone.
                if error.code == "PoolNotFound":
                    return
                raise
            time.sleep(0.5)

    @contextmanager
    def own_pool(
        self, pool_id: str, *, vm_size: str, nodes: int = 2, spot: bool = False, images: Sequence[str] = ()
    ) -> Iterator[None]:
        """A pool while the `with` block runs; removed at its end, also on failure, Ctrl-C and SIGTERM."""
        from azbatch.pools.own import OwnPool
        from azbatch.signals import Interrupts

        with Interrupts(self._tell) as interrupts:
            # Nextflow's tasks copy their files with azcopy, which nodes without a way out could not download.
            azcopy = bool(self.get_node_identity())
            if not azcopy:
                self._tell("There is no node identity here, so nodes get no azcopy from the workspace's storage.")
            wish = Wish(pool_id=pool_id, vm_size=vm_size, nodes=nodes, spot=spot, images=tuple(images))
            spec = self._spec(wish, azcopy=azcopy)
            with OwnPool(self._batch(), spec, interrupts=interrupts, said=self._tell):
                yield

    # Network

    def list_network_rules(self) -> list[NetworkRule]:
        """The openings of the nodes' network; everything else is closed."""
        from azbatch.network import rules

        return [_rule(name, opening) for name, opening in rules.openings(self.get_network_client().rules()).items()]

    def create_network_rule(
        self, cidr: str, port: str = "443", description: str | None = None, *, protocol: str = "tcp", hours: float = 0
    ) -> list[NetworkRule]:
        """Open an address, CIDR, host name, service tag or preset (docker-hub, quay, mcr, conda, …) for the nodes.

        helper.create_network_rule('192.0.2.1', description='reference data')
        helper.create_network_rule('quay', description='images', hours=8)

        `hours` 0 is until deleted. A preset may be several rules. You sign in on first need.
        """
        from azbatch.azure.network import resolve
        from azbatch.network import manage, rules, way_out

        group = self.get_network_client()
        asked = manage.Asked(
            target=cidr,
            port=port,
            protocol=protocol,
            reason=description or "",
            lasting=timedelta(hours=hours) if hours else None,
        )
        openings = manage.allow(group, asked, who=self._who(), now=datetime.now(UTC), resolve=resolve)
        if group.closed_subnets:
            self._tell(f"Note: {way_out.sentence(group.closed_subnets, group.workspace)}")
        elif group.public_addresses:
            self._tell(f"Note: {way_out.leaves_by(group.public_addresses)}")
        return [_rule(rules.name_of(o.target, o.transport, o.ports), o) for o in openings]

    def delete_network_rule(self, name: str) -> list[str]:
        """Close an opening by its name or what it opens: the names of the rules removed."""
        from azbatch.network import manage

        return manage.deny(self.get_network_client(), name, who=self._who(), now=datetime.now(UTC))

    def check_images(self, images: Sequence[str]) -> None:
        """Raise AzbatchError, with the command that opens it, where nodes cannot reach an image's registry.

        Where the security group is not known (no workspace), it says that nothing was checked.
        """
        from azbatch.azure import clients
        from azbatch.azure.network import SecurityGroup, resolve
        from azbatch.network import manage
        from azbatch.network.images import pullable, registry_host
        from azbatch.network.way_out import confined

        id = self.get_workspace().security_group_id
        if not id:
            self._tell("The nodes' network is not known here, so that images can be pulled was not checked.")
            return
        group = SecurityGroup(clients.resource_manager(self.get_credentials()), id)
        looked = {
            image: confined(found, resolve(registry_host(image)), group.networks, group.closed_subnets, group.workspace)
            for image, found in pullable(manage.compiled(group), images, resolve).items()
        }
        faults = [
            f"Nodes cannot pull {image}: "
            + (f"{found.lines[0]} Open it with: {found.remedy}" if found.remedy else " ".join(found.lines))
            for image, found in looked.items()
            if not found.reachable
        ]
        if faults:
            raise ConfigurationError(faults)

    def _who(self) -> str:
        import getpass

        return str(getattr(self._person, "user", "") or getpass.getuser())

    # Nextflow

    def create_nextflow_scripts(
        self,
        out_nextflow_nf: str = "nextflow.nf",
        out_nextflow_config: str = "nextflow.config",
        out_nextflow_py: str = "nextflow.py",
        **settings: Any,
    ) -> None:
        """Write a pipeline, its configuration and its starter into this folder; files that exist are kept.

        They run as they are: `python nextflow.py`. `settings` are fields of azbatch.nextflow.settings.Settings, such as
        pool='my-pool', vm_size='Standard_D8ds_v5', container='quay.io/biocontainers/samtools:1.21--h50ea8bc_0'.
        """
        from azbatch.nextflow.write import write

        written = write(
            self._settings(settings),
            pipeline=Path(out_nextflow_nf),
            config=Path(out_nextflow_config),
            launcher=Path(out_nextflow_py),
        )
        for line in written.sentences():
            self._tell(line)

    def _settings(self, given: Mapping[str, Any]) -> Settings:
        from dataclasses import fields

        from azbatch.nextflow.settings import Settings

        place = self.get_workspace()
        known = {field.name for field in fields(Settings)}
        strange = sorted(set(given) - known)
        if strange:
            raise ConfigurationError(
                [f"'{name}' is no setting: there are {', '.join(sorted(known))}." for name in strange]
            )
        usual = f"https://{place.account_name}.{place.region}.batch.azure.com"
        return Settings(
            **{
                "batch_account": place.account_name,
                "region": place.region,
                "storage_account": place.storage_name,
                "endpoint": None if place.account_url == usual else place.account_url,
                **given,
            }
        )

    def check_before_run(self, pipeline: str, config: str, images: Sequence[str] = ()) -> None:
        """Raise AzbatchError for what would end a run: files, syntax, no Nextflow, images that nodes cannot pull."""
        from azbatch.nextflow import run

        run.check(Path(pipeline), Path(config))
        if images:
            self.check_images(images)

    def run_nextflow(self, pipeline: str, config: str, arguments: Sequence[str] = ()) -> int:
        """Run Nextflow to its end, say how it ended, and return its exit code."""
        from azbatch.nextflow import run

        report = run.run(pipeline, config, arguments, folder=Path.cwd(), said=self._tell)
        self._tell(report.sentence())
        return report.code

    @staticmethod
    def guarded(main: Callable[[], int]) -> int:
        """Run `main`: a fault is one sentence and exit code 1, Ctrl-C is 130; never a traceback."""
        try:
            with _interrupts():
                return main()
        except AzbatchError as error:
            _tell(str(error))
            return 1
        except KeyboardInterrupt:
            _tell("Interrupted.")
            return 130
        finally:
            # All is done: a late Ctrl-C would only end the interpreter in the middle of its own end.
            with contextlib.suppress(ValueError):  # not the main thread
                signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interrupts() -> Interrupts:
    from azbatch.signals import Interrupts

    return Interrupts(_tell)


def _rule(name: str, opening: Opening) -> NetworkRule:
    return NetworkRule(
        name=name,
        target=opening.target,
        destinations=opening.destinations,
        port=opening.ports,
        protocol=opening.transport.lower(),
        owner=opening.owner,
        description=opening.reason,
        expires=opening.expires,
    )
