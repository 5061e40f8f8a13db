"""What a user may open: an address, a CIDR, a host name, a service tag or a preset. Pure."""

from __future__ import annotations

import difflib
import ipaddress
import re

from azbatch.errors import ConfigurationError
from azbatch.network.model import Target, TargetKind, Transport

MOST_HOST = 60  # a host name must fit into a rule's description
_QUAY = ("quay.io", "cdn.quay.io", "cdn01.quay.io", "cdn02.quay.io", "cdn03.quay.io")
# preset -> host names that are resolved, at 443
PRESET_HOSTS: dict[str, tuple[str, ...]] = {
    "docker-hub": ("registry-1.docker.io", "auth.docker.io", "production.cloudflare.docker.com"),
    "quay": _QUAY,
    "ghcr": ("ghcr.io", "pkg-containers.githubusercontent.com"),
    "biocontainers": (*_QUAY, "depot.galaxyproject.org"),
    "conda": ("conda.anaconda.org", "repo.anaconda.com", "anaconda.org"),
    "github": (
        "github.com",
        "api.github.com",
        "codeload.github.com",
        "raw.githubusercontent.com",
        "objects.githubusercontent.com",
        "release-assets.githubusercontent.com",
    ),
}
# preset -> service tags
PRESET_TAGS: dict[str, tuple[str, ...]] = {
    "mcr": ("MicrosoftContainerRegistry", "AzureFrontDoor.FirstParty"),
    "internet": ("Internet",),
}
PRESETS = (*PRESET_HOSTS, *PRESET_TAGS, "acr:NAME")
_SHARED = "it is served by a network that other sites share, so the opening reaches those too"
_WARNINGS = {
    "docker-hub": f"docker-hub: {_SHARED}.",
    "quay": f"quay: {_SHARED}.",
    "ghcr": f"ghcr: {_SHARED}.",
    "biocontainers": f"biocontainers: {_SHARED}.",
    "conda": f"conda: {_SHARED}.",
    "github": f"github: {_SHARED}.",
    "mcr": "mcr: layers come from Azure Front Door, which all of Microsoft's own sites share.",
    "internet": "internet: nodes reach any address at this port, and data can leave by it.",
}
_TAG = re.compile(r"^[A-Z][A-Za-z0-9]*(\.[A-Za-z0-9]+)*$")
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"^{_LABEL}(\.{_LABEL})+$")
_ACR = re.compile(r"^[a-z0-9]{5,50}$")


def parse_targets(text: str, region: str) -> tuple[Target, ...]:
    """What `text` opens; a preset may be several targets. `region` completes presets that are regional.

    Raises ConfigurationError: a CIDR with host bits, an IPv6 address, the world-wide Storage tag, what is none of all.
    """
    if text.lower() in PRESET_HOSTS:
        name = text.lower()
        return (Target(kind=TargetKind.PRESET, name=name, hosts=PRESET_HOSTS[name], warning=_WARNINGS[name]),)
    if text.lower() in PRESET_TAGS:
        name = text.lower()
        return tuple(
            Target(kind=TargetKind.PRESET, name=tag if name != "internet" else name, tag=tag, warning=_WARNINGS[name])
            for tag in PRESET_TAGS[name]
        )
    if text.lower().startswith("acr:"):
        return (_registry(text, region),)
    if re.fullmatch(r"[0-9./]+", text) or ":" in text:
        return (_address(text),)
    if _TAG.match(text):
        return (_tag(text, region),)
    if _HOST.match(text.lower().rstrip(".")):
        return (_host(text.lower().rstrip(".")),)
    near = difflib.get_close_matches(text.lower(), PRESETS, n=2, cutoff=0.6)
    hint = f" Did you mean {' or '.join(near)}?" if near else f" Presets: {', '.join(PRESETS)}."
    raise ConfigurationError([f"'{text}' is no address, CIDR, host name, service tag or preset.{hint}"])


def _registry(text: str, region: str) -> Target:
    name = text[4:].lower()
    if not _ACR.match(name):
        raise ConfigurationError([f"'{text}' names no container registry: its name has 5 to 50 letters and digits."])
    if not region:
        raise ConfigurationError([f"Opening '{text}' needs the region of the registry: give --region."])
    tag = f"AzureContainerRegistry.{region}"
    warning = (
        f"acr:{name}: the tag {tag} covers every registry of the region; without dedicated data endpoints its layers "
        f"come from Storage.{region}, which then must be opened too."
    )
    return Target(kind=TargetKind.PRESET, name=f"acr:{name}", tag=tag, warning=warning)


def _address(text: str) -> Target:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        try:
            loose = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ConfigurationError([f"'{text}' is no address and no CIDR such as 192.0.2.0/24."]) from None
        raise ConfigurationError([f"'{text}' has host bits set: did you mean {loose}?"]) from None
    if network.version != 4:
        raise ConfigurationError([f"'{text}' is an IPv6 address: Batch nodes have IPv4 only, so it opens nothing."])
    if network.prefixlen == 0:
        raise ConfigurationError([f"'{text}' is every address, private ones too: open the preset internet instead."])
    name = str(network.network_address) if network.prefixlen == 32 else str(network)
    return Target(kind=TargetKind.ADDRESS, name=name, prefix=name)


def _tag(text: str, region: str) -> Target:
    if text.lower() == "storage":
        where = region or "REGION"
        raise ConfigurationError([f"'Storage' is every storage account of the world: open Storage.{where} instead."])
    if text.lower() == "internet":
        return Target(kind=TargetKind.TAG, name="internet", tag="Internet", warning=_WARNINGS["internet"])
    if len(text) > MOST_HOST:
        raise ConfigurationError([f"'{text}' is too long for a service tag."])
    return Target(kind=TargetKind.TAG, name=text, tag=text)


def _host(text: str) -> Target:
    if len(text) > MOST_HOST:
        raise ConfigurationError(
            [f"'{text}' is longer than the {MOST_HOST} characters a rule can keep: open its CIDR."]
        )
    return Target(kind=TargetKind.HOST, name=text, hosts=(text,))


def hosts_of(target: str) -> tuple[str, ...]:
    """The host names behind an opening's target, which `refresh` resolves; none for addresses and tags."""
    if target in PRESET_HOSTS:
        return PRESET_HOSTS[target]
    return (target,) if _HOST.match(target) and not re.fullmatch(r"[0-9.]+", target) else ()


def parse_ports(text: str) -> str:
    """`443`, `8000-8100` or `*`, checked. Raises ConfigurationError."""
    if text == "*":
        return text
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if not found:
        raise ConfigurationError([f"'{text}' is no port, range such as 8000-8100, or *."])
    low, high = int(found[1]), int(found[2] or found[1])
    if not (1 <= low <= 65535 and 1 <= high <= 65535):
        raise ConfigurationError([f"'{text}' is out of range: ports are 1 to 65535."])
    if low > high:
        raise ConfigurationError([f"'{text}' ends before it begins: did you mean {high}-{low}?"])
    return str(low) if low == high else f"{low}-{high}"


def parse_transport(text: str) -> Transport:
    """`tcp`, `udp`, `icmp` or `any`. Raises ConfigurationError."""
    names = {
        "tcp": Transport.TCP,
        "udp": Transport.UDP,
        "icmp": Transport.ICMP,
        "any": Transport.ANY,
        "*": Transport.ANY,
    }
    if text.lower() not in names:
        raise ConfigurationError([f"'{text}' is no protocol: choose tcp, udp, icmp or any."])
    return names[text.lower()]
