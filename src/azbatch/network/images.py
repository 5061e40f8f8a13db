"""Whether nodes can pull container images, by what the network lets through. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from azbatch.network.check import Checked, check
from azbatch.network.evaluate import Compiled
from azbatch.network.model import Transport
from azbatch.network.reach import reach

# registry -> (service tag that covers it, preset that opens it)
_TAGGED = {"mcr.microsoft.com": ("MicrosoftContainerRegistry", "mcr")}
_PRESETS = {"docker.io": "docker-hub", "quay.io": "quay", "ghcr.io": "ghcr"}
_HOSTS = {"docker.io": "registry-1.docker.io"}


def registry_of(image: str) -> str:
    """The registry that an image comes from: `ubuntu:24.04` is Docker Hub's."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first.lower()
    return "docker.io"


def registry_host(image: str) -> str:
    """The host name that nodes ask for the image."""
    registry = registry_of(image)
    return _HOSTS.get(registry, registry).partition(":")[0]


def pullable(
    rules: Sequence[Compiled], images: Sequence[str], resolve: Callable[[str], Sequence[str]]
) -> dict[str, Checked]:
    """For each image whether its registry is open at 443 for nodes, and the command that opens it."""
    tags = {entry.tag.lower() for entry in reach(rules) if entry.tag and _https(entry.low, entry.high, entry.transport)}
    found: dict[str, Checked] = {}
    for image in images:
        registry = registry_of(image)
        host, _, port = registry.partition(":")
        tag, preset = _TAGGED.get(host, ("", _PRESETS.get(host, host)))
        if host.endswith(".azurecr.io"):
            tag, preset = "AzureContainerRegistry", f"acr:{host.split('.')[0]}"
        if tag and any(name == tag.lower() or name.startswith(f"{tag.lower()}.") for name in tags):
            found[image] = Checked(reachable=True, lines=(f"{image}: {host} is open by the service tag {tag}.",))
            continue
        name = _HOSTS.get(host, host)
        judged = check(rules, name, tuple(resolve(name)), int(port or 443))
        remedy = None if judged.reachable else f'azbatch network allow {preset} --reason "container images" --for 8h'
        found[image] = Checked(reachable=judged.reachable, lines=judged.lines, warnings=judged.warnings, remedy=remedy)
    return found


def _https(low: int, high: int, transport: Transport) -> bool:
    return transport is Transport.TCP and low <= 443 <= high
