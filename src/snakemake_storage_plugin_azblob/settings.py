"""Settings of the storage provider."""

# Snakemake reads the annotations at run time and knows Optional only: no postponed annotations here.
from dataclasses import dataclass, field
from typing import Optional

from snakemake_interface_storage_plugins.settings import StorageProviderSettingsBase


@dataclass
class StorageProviderSettings(StorageProviderSettingsBase):
    """Settings; on the command line as --storage-azblob-…, in the environment as SNAKEMAKE_STORAGE_AZBLOB_…."""

    endpoint_url: Optional[str] = field(
        default=None,
        metadata={
            "help": "Blob endpoint, such as https://NAME.blob.core.windows.net, of any cloud, or path style "
            "https://127.0.0.1:PORT/NAME for an emulator. Default: the environment variable AZBATCH_STORAGE_URL.",
            "env_var": False,
        },
    )
    account: Optional[str] = field(
        default=None,
        metadata={"help": "Storage account in the public cloud: short for its endpoint URL.", "env_var": False},
    )
    sas_token: Optional[str] = field(
        default=None,
        metadata={"help": "Shared access signature, instead of an Entra identity.", "env_var": True},
    )
    connection_string: Optional[str] = field(
        default=None,
        metadata={"help": "Connection string, instead of an endpoint and an Entra identity.", "env_var": True},
    )
    concurrency: int = field(
        default=4,
        metadata={"help": "Blocks of 4 MB of one file in flight at a time.", "env_var": False, "type": int},
    )
    checksums: bool = field(
        default=False,
        metadata={
            "help": "Send and check an MD5 with each block, beside what TLS does already; it costs a core's time.",
            "env_var": False,
        },
    )
    node_cache: Optional[float] = field(
        default=None,
        metadata={
            "help": "Gigabytes of a node's disk for blobs that several of its jobs read; 0 for none. "
            "Default: half of what is free.",
            "env_var": False,
            "type": float,
        },
    )
