"""What the generated files say: one record, its faults all at once. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from azbatch.errors import ConfigurationError

# nf-azure 1.23 is for Nextflow 26.04 and later, whose parser is strict.
NF_AZURE = "1.23.0"
DEFAULT_CONTAINER = "mcr.microsoft.com/azurelinux/base/core:3.0"
DEFAULT_POOL = "nextflow-pool"
# nf-azure knows sizes by a bundled list, which has none of these generations.
_UNKNOWN_SIZES = re.compile(r"^standard_[a-z]+\d+[a-z]*_v(6|7)$", re.I)
_ACCOUNT = re.compile(r"^[a-z0-9]{3,24}$")
_POOL = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
_CONTAINER = re.compile(r"^[a-z0-9](?:[a-z0-9]|-(?=[a-z0-9])){2,62}$")
_REGION = re.compile(r"^[a-z0-9]+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One run's place. `client_id` None is the VM's own (system-assigned) identity, "" the variable AZURE_CLIENT_ID.

    `endpoint` is only given where it is not the account's usual one (an emulator). `azcopy_on_nodes`: the pool puts
    azcopy on its nodes; else each task installs it, which needs the internet.
    """

    batch_account: str
    region: str
    storage_account: str
    work_container: str = "nextflow"
    work_prefix: str = "work"
    pool: str = DEFAULT_POOL
    vm_size: str = "Standard_D4ds_v5"
    container: str = DEFAULT_CONTAINER
    client_id: str | None = None
    endpoint: str | None = None
    azcopy_on_nodes: bool = True
    spot: bool = False
    plugin_version: str = NF_AZURE

    @property
    def work_directory(self) -> str:
        prefix = self.work_prefix.strip("/")
        return f"az://{self.work_container}/{prefix}" if prefix else f"az://{self.work_container}"

    def check(self) -> None:
        """Raises ConfigurationError with all faults."""
        found = []
        for account, what in ((self.batch_account, "Batch"), (self.storage_account, "storage")):
            if not _ACCOUNT.match(account):
                found.append(f"'{account}' is no {what} account: it has 3 to 24 lower-case letters and digits.")
        if not _REGION.match(self.region):
            found.append(f"'{self.region}' is no region such as westeurope.")
        if not _POOL.match(self.pool):
            found.append(f"'{self.pool}' is no pool id: it has 1 to 64 letters, digits, hyphens and underscores.")
        if not _CONTAINER.match(self.work_container):
            found.append(f"'{self.work_container}' is no blob container: 3 to 63 lower-case letters, digits, hyphens.")
        if _UNKNOWN_SIZES.match(self.vm_size):
            found.append(f"Nextflow does not know {self.vm_size}: choose a size up to v5, such as Standard_D4ds_v5.")
        if not self.container.strip():
            found.append("Every process needs a container image on Azure Batch: name one.")
        if not re.fullmatch(r"\d+\.\d+\.\d+(-[\w.]+)?", self.plugin_version):
            found.append(f"'{self.plugin_version}' is no version of nf-azure such as {NF_AZURE}.")
        if found:
            raise ConfigurationError(found)
