"""What a head node needs, looked at: facts are gathered at the rim, judged by pure functions."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

from azbatch.errors import AzbatchError, ServiceError
from azbatch.headnode.discover import Workspace

MOST_SKEW = 300.0  # seconds; beyond it tokens and signatures are refused
LEAST_FREE_MB = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One line: `found` says how it is, `remedy` what to do where it is not ok."""

    what: str
    ok: bool
    found: str
    remedy: str = ""


def judge_name(what: str, host: str, addresses: Sequence[str]) -> Item:
    """A private endpoint's name has to resolve to a private address."""
    if not addresses:
        return Item(
            what=what,
            ok=False,
            found=f"{host} does not resolve.",
            remedy="Link the private DNS zone to this network (last resort: NextflowHelper().update_hosts()).",
        )
    public = [a for a in addresses if not ipaddress.ip_address(a).is_private]
    if public:
        return Item(
            what=what,
            ok=False,
            found=f"{host} is {', '.join(public)}, a public address.",
            remedy="Link the private DNS zone to this network: requests would leave the workspace.",
        )
    return Item(what=what, ok=True, found=f"{host} is {', '.join(addresses)}.")


def judge_clock(date: str | None, now: datetime) -> Item:
    """The clock against the `Date` of a service's answer."""
    try:
        served = parsedate_to_datetime(date or "")
    except (TypeError, ValueError):
        return Item(what="clock", ok=False, found="no service told the time.", remedy="Mend what is above first.")
    if served.tzinfo is None:  # how `-0000` is read: UTC, of unknown origin
        served = served.replace(tzinfo=UTC)
    skew = abs((now - served).total_seconds())
    text = f"{skew:.0f} s from the service's."
    return Item(what="clock", ok=skew <= MOST_SKEW, found=text, remedy="Switch time synchronisation on: timedatectl.")


def judge_disk(free_mb: int) -> Item:
    return Item(
        what="disk", ok=free_mb >= LEAST_FREE_MB, found=f"{free_mb} MB free here.", remedy=f"Free {LEAST_FREE_MB} MB."
    )


def judge_program(name: str, said: str | None) -> Item:
    """A program by what it says of its version; None is not there."""
    if said is None:
        return Item(what=name, ok=False, found="is not there.", remedy="Run prepare.sh (azbatch headnode script).")
    version = re.search(r"\d+(\.\d+)+\S*", said)
    return Item(what=name, ok=True, found=version[0].strip('",)') if version else said.strip().splitlines()[0])


def judge_plugin(folders: Sequence[str]) -> Item:
    """nf-azure among the installed plugins: exactly one, so that nobody wonders which is used."""
    found = sorted(name.removeprefix("nf-azure-") for name in folders if name.startswith("nf-azure-"))
    if len(found) == 1:
        return Item(what="nf-azure", ok=True, found=found[0])
    text = f"there are {len(found)}: {', '.join(found)}." if found else "is not installed."
    return Item(what="nf-azure", ok=False, found=text, remedy="Run prepare.sh (azbatch headnode script).")


def judge_nodes(subnet_id: str, identity_id: str) -> Item:
    """Where pools are put, and as whom their nodes act: both come with the workspace."""
    known = {"subnet": subnet_id, "identity": identity_id}
    missing = [what for what, id in known.items() if not id]
    if missing:
        return Item(
            what="nodes' place",
            ok=False,
            found=f"the nodes' {' and '.join(missing)} cannot be seen.",
            remedy="Ask the workspace's owner to run `azbatch workspace enable`.",
        )
    names = {what: id.rpartition("/")[2] for what, id in known.items()}
    network = subnet_id.rpartition("/subnets/")[0].rpartition("/")[2]
    return Item(what="nodes' place", ok=True, found=f"{network}/{names['subnet']}, as {names['identity']}.")


def look() -> list[Item]:
    """Everything, in an order in which the first fault explains those after it."""
    from azbatch.azure import clients, metadata
    from azbatch.headnode.discover import discover

    items = [judge_disk(shutil.disk_usage(Path.cwd()).free // (1 << 20))]
    for name in ("java", "nextflow", "azcopy"):
        items.append(judge_program(name, _says(name)))
    plugins = Path(os.environ.get("NXF_PLUGINS_DIR") or "/opt/azbatch/plugins")
    items.append(judge_plugin([path.name for path in plugins.iterdir()] if plugins.is_dir() else []))
    compute = metadata.compute()
    items.append(
        Item(what="virtual machine", ok=True, found=f"{compute.get('name')} in {compute.get('location')}.")
        if compute
        else Item(what="virtual machine", ok=False, found="no instance metadata.", remedy="Run this on the head node.")
    )
    try:
        place = discover(os.environ, lambda: compute, lambda: clients.resource_manager(clients.machine()))
    except AzbatchError as error:
        return [*items, Item(what="workspace", ok=False, found=str(error))]
    items.append(Item(what="workspace", ok=True, found=f"{place.account_name} and {place.storage_name}."))
    items.append(judge_nodes(place.subnet_id, place.node_identity_id))
    for what, url in (("Batch's name", place.account_url), ("storage's name", place.storage_url)):
        host = urlsplit(url).hostname or ""
        items.append(judge_name(what, host, _addresses(host)))
    if compute is None and os.environ.get("AZURE_TOKEN_CREDENTIALS", "").lower() == "managedidentitycredential":
        # The clients would look for it for half a minute.
        return [*items, *(_unasked(what) for what in ("identity and Batch", "storage"))]
    return [*items, *_rights(place), *_services(place.account_url, place.storage_url)]


def judge_rights(missing: Sequence[str], excess: Sequence[str]) -> Item:
    """All that is needed to make pools, and not the right to open the network, which is for people."""
    faults = [f"may not {' nor '.join(missing)}"] if missing else []
    faults += [f"may {' and '.join(excess)}, and so may every program on it"] if excess else []
    if not faults:
        return Item(what="rights", ok=True, found="may make pools in the subnet, and not open the network.")
    return Item(
        what="rights",
        ok=False,
        found=f"this machine {'; '.join(faults)}.",
        remedy="Ask the workspace's owner to look with `azbatch workspace doctor`, and to mend it.",
    )


def _rights(place: Workspace) -> list[Item]:
    from azbatch.azure import clients
    from azbatch.headnode import rights

    if not rights.needed(place):
        return []
    arm = clients.resource_manager(clients.machine())
    try:
        return [judge_rights(*rights.look(arm, place))]
    except ServiceError as error:
        return [Item(what="rights", ok=False, found=str(error))]
    finally:
        arm.close()


def _unasked(what: str) -> Item:
    return Item(
        what=what,
        ok=False,
        found="not asked: there is no identity.",
        remedy="Switch the machine's identity on (the owner: azbatch workspace enable).",
    )


def _services(account_url: str, storage_url: str) -> list[Item]:
    from azbatch.azure import reachable

    items: list[Item] = []
    date: str | None = None
    looks: Sequence[tuple[str, Callable[[], str | None]]] = (
        ("identity and Batch", lambda: reachable.batch(account_url)),
        ("storage", lambda: reachable.blobs(storage_url)),
    )
    for what, ask in looks:
        try:
            date = ask() or date
            items.append(Item(what=what, ok=True, found="answers, and lets this machine in."))
        except ServiceError as error:
            items.append(Item(what=what, ok=False, found=str(error)))
            if error.code == "NoIdentity":
                items.append(_unasked("storage"))
                break
    return [*items, judge_clock(date, datetime.now(UTC))]


def _addresses(host: str) -> list[str]:
    try:
        return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)})
    except (socket.gaierror, UnicodeError):
        return []


def _says(name: str) -> str | None:
    """What a program says of its version; Java is the one that Nextflow was given."""
    given = "/opt/azbatch/java/bin/java"
    path = shutil.which(name) or (given if name == "java" and Path(given).exists() else None)
    if path is None:
        return None
    option = "--version" if name == "azcopy" else "-version"
    try:
        done = subprocess.run([path, option], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (done.stdout + done.stderr).strip() or "says nothing"
