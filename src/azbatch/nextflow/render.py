"""nextflow.nf, nextflow.config and nextflow.py as text: strict syntax, no keys, the pool named by queue. Pure."""

from __future__ import annotations

from azbatch.nextflow.groovy import quoted
from azbatch.nextflow.settings import Settings

PIPELINE = '''\
#!/usr/bin/env nextflow

// Five small tasks on Azure Batch: edit the process, or put your own pipeline here.

process GREET {
    tag "${name}"

    input:
    val name

    output:
    path "${name}.txt"

    script:
    """
    echo "Hello ${name}, this is \\$(uname -n)" > "${name}.txt"
    """
}

workflow {
    GREET(channel.of('ada', 'barbara', 'grace', 'katherine', 'rosalind'))
    GREET.out.view { file -> "Made ${file.name}" }
}
'''


def pipeline() -> str:
    """nextflow.nf."""
    return PIPELINE


def config(settings: Settings) -> str:
    """nextflow.config. Raises ConfigurationError."""
    settings.check()
    endpoint = f"        endpoint = {quoted(settings.endpoint)}\n" if settings.endpoint else ""
    copying = "off" if settings.azcopy_on_nodes else "task"
    return f"""\
// Written by nextflowhelper. No key is in here: the identity of this virtual machine opens Batch and the storage.

workDir = {quoted(settings.work_directory)}

plugins {{
    id {quoted(f"nf-azure@{settings.plugin_version}")}
}}

process {{
    executor = 'azurebatch'
    // A pool that exists: `python nextflow.py` makes it, and removes it at the end.
    queue = {quoted(settings.pool)}
    container = {quoted(settings.container)}
    // Tried again: a task that was killed, and one whose node was taken away.
    errorStrategy = {{ task.exitStatus in ((130..145) + [104, 2147483647]) ? 'retry' : 'finish' }}
    maxRetries = 2
}}

azure {{
    managedIdentity {{
        {_identity(settings)}
    }}
    storage {{
        accountName = {quoted(settings.storage_account)}
    }}
    batch {{
        accountName = {quoted(settings.batch_account)}
        location = {quoted(settings.region)}
{endpoint}        autoPoolMode = false
        allowPoolCreation = false
        copyToolInstallMode = {quoted(copying)}
        terminateJobsOnCompletion = true
        deleteJobsOnCompletion = true
        deletePoolsOnCompletion = false
        pools {{
            {quoted(settings.pool)} {{
                vmType = {quoted(settings.vm_size)}
            }}
        }}
    }}
}}
"""


def _identity(settings: Settings) -> str:
    if settings.client_id is None:
        return "system = true"
    return f"clientId = {quoted(settings.client_id)}" if settings.client_id else "clientId = env('AZURE_CLIENT_ID')"


def launcher(settings: Settings, *, pipeline_name: str = "nextflow.nf", config_name: str = "nextflow.config") -> str:
    """nextflow.py: makes the pool, runs the pipeline, removes the pool. Raises ConfigurationError."""
    settings.check()
    spot = "\nSPOT = True  # cheaper nodes that Azure may take back" if settings.spot else "\nSPOT = False"
    return f'''\
#!/usr/bin/env python3
"""Run {_plain(pipeline_name)} on a pool of its own: python {_plain("nextflow.py")} [Nextflow's options].

The pool is removed at the end, also after a failure or Ctrl-C.
"""

import sys

from nextflowhelper import NextflowHelper

PIPELINE = {pipeline_name!r}
CONFIG = {config_name!r}
POOL = {settings.pool!r}  # the same as process.queue in the configuration
VM_SIZE = {settings.vm_size!r}
NODES = 2{spot}
IMAGES = [{settings.container!r}]


def main() -> int:
    helper = NextflowHelper()
    helper.check_before_run(PIPELINE, CONFIG, IMAGES)
    with helper.own_pool(POOL, vm_size=VM_SIZE, nodes=NODES, spot=SPOT, images=IMAGES):
        return helper.run_nextflow(PIPELINE, CONFIG, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(NextflowHelper.guarded(main))
'''


def _plain(text: str) -> str:
    """A file's name inside a docstring."""
    return "".join(c if c.isprintable() and c not in {'"', "\\"} else "_" for c in text)
