"""The three files written; what exists is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from azbatch.errors import AzbatchError, ConfigurationError
from azbatch.nextflow import render
from azbatch.nextflow.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Files `made`, and those `kept` because they were there."""

    made: tuple[Path, ...]
    kept: tuple[Path, ...]

    def sentences(self) -> list[str]:
        return [*(f"Wrote {path}." for path in self.made), *(f"Kept {path}: it exists already." for path in self.kept)]


def write(
    settings: Settings,
    *,
    pipeline: Path = Path("nextflow.nf"),
    config: Path = Path("nextflow.config"),
    launcher: Path = Path("nextflow.py"),
) -> Written:
    """Write the files that are not there. Raises ConfigurationError before the first, AzbatchError for a folder that
    cannot be written."""
    if len({path.absolute() for path in (pipeline, config, launcher)}) < 3:
        raise ConfigurationError(["The pipeline, its configuration and the starter need three names."])
    texts: list[tuple[Path, Callable[[], str]]] = [
        (pipeline, render.pipeline),
        (config, lambda: render.config(settings)),
        (launcher, lambda: render.launcher(settings, pipeline_name=str(pipeline), config_name=str(config))),
    ]
    # All is rendered before anything is written, so that a fault leaves nothing half made.
    rendered = [(path, text()) for path, text in texts]
    made: list[Path] = []
    kept: list[Path] = []
    for path, content in rendered:
        try:
            with path.open("x", encoding="utf-8") as stream:
                stream.write(content)
        except FileExistsError:
            kept.append(path)
            continue
        except OSError as error:
            raise AzbatchError(f"{path} cannot be written: {error.strerror}.") from error
        made.append(path)
    if launcher in made:
        launcher.chmod(0o755)
    return Written(made=tuple(made), kept=tuple(kept))
