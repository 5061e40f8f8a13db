"""Snakemake's own tests for executors, with both of our plugins."""

from __future__ import annotations

import gc
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from snakemake.common.tests import TestWorkflowsBase
from snakemake_interface_common.plugin_registry.plugin import TaggedSettings

from azbatch_emulator.launcher import Emulator
from snakemake_executor_plugin_azbatch import ExecutorSettings

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.xdist_group("executor"),
    # Snakemake in this process leaves its connections to the end of the process.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.mark.usefixtures("nothing_left")
class TestWithBothPlugins(TestWorkflowsBase):
    """The simple and the group workflow of Snakemake's official test base."""

    __test__ = True

    @pytest.fixture(autouse=True)
    def _surroundings(
        self, azbatch_emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> Iterator[None]:
        for name, value in azbatch_emulator.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        from azbatch.azure.credentials import entra

        entra.cache_clear()
        yield
        entra.cache_clear()
        # Connections left to the garbage collector end here, not in a later test.
        gc.collect()

    def get_executor(self) -> str:
        return "azbatch"

    def get_executor_settings(self) -> ExecutorSettings:
        return ExecutorSettings()

    def get_default_storage_provider(self) -> str:
        return "azblob"

    def get_default_storage_prefix(self) -> str:
        return f"az://official/{uuid.uuid4().hex[:8]}"

    def get_default_storage_provider_settings(self) -> Mapping[str, TaggedSettings] | None:
        return None

    def get_remote_execution_settings(self) -> Any:
        from snakemake.settings.types import RemoteExecutionSettings

        return RemoteExecutionSettings(seconds_between_status_checks=1, envvars=self.get_envvars())
