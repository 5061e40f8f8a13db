"""Nextflow on Azure Batch from a workspace's head node.

    from nextflowhelper import NextflowHelper
    helper = NextflowHelper()
    helper.create_nextflow_scripts()

`help(NextflowHelper)` is the manual.
"""

from nextflowhelper.helper import NextflowHelper
from nextflowhelper.records import NetworkRule, PoolStatus

__all__ = ["NetworkRule", "NextflowHelper", "PoolStatus"]
