"""A locked workspace from end to end: an owner turns Batch on, a researcher works from the head node. All as commands,
against an emulator whose processes, blobs, rights, names and network rules are enforced."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from azbatch_emulator.arm import packets
from azbatch_emulator.launcher import Emulator
from tests.acceptance.conftest import until

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("headnode")]
AZBATCH = "from azbatch.cli import main; main()"
REPOSITORY = Path(__file__).parents[2]
PEOPLE = ("owner", "lab-researcher")


@dataclass
class Lab:
    """A workspace `lab` that its owner has enabled, and a folder on its head node."""

    emulator: Emulator
    folder: Path
    group: str
    enabled: str = ""
    places: dict[str, dict[str, str]] = field(default_factory=dict)

    def environment(self, who: str) -> dict[str, str]:
        if who not in self.places:
            self.places[who] = self.emulator.environment(who)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AZBATCH_", "AZURE_"))}
        return {
            **kept,
            **self.places[who],
            "PATH": f"{self.folder}/bin:{Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "src")]),
            "PYTHONUNBUFFERED": "1",
            "XDG_STATE_HOME": str(self.folder / "state"),
        }

    def start(self, *command: str, who: str = "lab-head", **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            env={**self.environment(who), **environment},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def python(self, *arguments: str, sign_in: str | None = None, **options: str) -> subprocess.CompletedProcess[str]:
        """Run to its end; a device code that it shows meanwhile is entered by `sign_in`."""
        with self.start(sys.executable, *arguments, **options) as process:
            deadline = time.monotonic() + 60
            while sign_in and process.poll() is None and time.monotonic() < deadline:
                for code in self.emulator.control("sign-ins")["waiting"]:
                    self.emulator.control("sign-in", user_code=code["user_code"], who=sign_in)
                    sign_in = None
            said, told = process.communicate(timeout=100)
        return subprocess.CompletedProcess(arguments, process.returncode, said, told)

    def azbatch(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.python("-c", AZBATCH, *arguments, **options)

    def rules(self) -> list[Any]:
        """The Batch network's rules, read from all of ARM."""
        kind = "/networksecuritygroups/z-lab-batch-nsg/securityrules/"
        return [
            SimpleNamespace(id=SimpleNamespace(name=key.rpartition("/")[2]), properties=one["body"]["properties"])
            for key, one in self.emulator.control("dump").items()
            if kind in key.lower()
        ]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "bin").mkdir()
    program = folder / "bin/azcopy"
    program.write_text("#!/bin/sh\necho azcopy version 10.1\n")
    program.chmod(0o755)
    with Emulator(speed=20_000) as emulator:
        made = emulator.control("workspace", name="lab")
        emulator.control("workspace", name="other")
        found = Lab(emulator, folder, made["id"])
        where = ("--subscription-id", made["subscription"], "--workspace", "lab", "--head-node", "lab-head", "--yes")
        found.places["owner"] = emulator.environment()
        enabled = found.azbatch("workspace", "enable", *where, who="owner")
        assert enabled.returncode == 0, enabled.stderr
        found.enabled = enabled.stdout
        yield found


def test_the_head_node_finds_its_workspace(lab: Lab) -> None:
    """From instance metadata and tags alone: the accounts, the nodes' subnet, identity and security group; nothing of
    the other workspace in the subscription."""
    code = (
        "import json; from dataclasses import asdict; from nextflowhelper import NextflowHelper as N; h = N(); "
        "print(json.dumps([asdict(h.get_workspace()), h.get_config()]))"
    )
    # As on Azure: no variable says where anything is.
    hidden = ("AZBATCH_ACCOUNT_URL", "AZBATCH_ACCOUNT_ID", "AZBATCH_STORAGE_URL")
    blank = f"import os\nfor name in {hidden!r}: os.environ.pop(name, None)\n"
    where = lab.python("-c", f"{blank}from azbatch.headnode.discover import locate; print(locate())")
    assert where.returncode == 0, where.stderr
    account = re.search(r"account_url='https://(labb\w+)\.westeurope\.batch\.azure\.com'", where.stdout)
    assert account is not None, where.stdout
    done = lab.python("-c", code)
    assert done.returncode == 0, done.stderr
    place, config = json.loads(done.stdout)
    assert place["account_name"] == account[1]
    assert place["account_id"] == f"{lab.group}/providers/Microsoft.Batch/batchAccounts/{account[1]}"
    assert place["subnet_id"].endswith("/virtualNetworks/lab-batch-vnet/subnets/default")
    assert place["node_identity_id"].endswith("/userAssignedIdentities/lab-batch-nodes")
    assert place["security_group_id"].endswith("/networkSecurityGroups/z-lab-batch-nsg")
    assert "other" not in done.stdout
    assert "key" not in json.dumps(config).lower()


def test_the_hosts_file_where_dns_is_central(lab: Lab) -> None:
    """A workspace without a zone of its own: the account's private address is looked up, and written once; nodes'
    management, which is not the head node's, is not."""
    made = lab.emulator.control("workspace", name="central")
    where = ("--subscription-id", made["subscription"], "--workspace", "central", "--head-node", "central-head")
    enabled = lab.azbatch("workspace", "enable", *where, "--central-dns", "--yes", who="owner")
    assert enabled.returncode == 0, enabled.stderr
    hosts = lab.folder / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    code = (
        "from pathlib import Path; from nextflowhelper import NextflowHelper as N; "
        f"print([N().update_hosts(path=Path({str(hosts)!r})) for _ in range(2)])"
    )
    done = lab.python("-c", code, who="central-head")
    assert (done.returncode, done.stdout) == (0, "[True, False]\n"), done.stderr
    first, ours = hosts.read_text().splitlines()
    assert first == "127.0.0.1 localhost"
    assert re.fullmatch(r"10\.\d+\.\d+\.\d+ central\w+\.westeurope\.batch\.azure\.com # azbatch", ours), ours


def test_the_head_node_is_checked(lab: Lab) -> None:
    """Identity, rights, services, clock and the nodes' place are ok; what is missing here (Java) has its remedy."""
    done = lab.azbatch("headnode", "check", "--json")
    found = {item["what"]: item for item in json.loads(done.stdout)}
    fine = (
        "virtual machine",
        "workspace",
        "nodes' place",
        "rights",
        "identity and Batch",
        "storage",
        "clock",
        "azcopy",
    )
    assert [what for what in fine if not found[what]["ok"]] == [], done.stdout
    assert "lab-batch-vnet/default, as lab-batch-nodes" in found["nodes' place"]["found"]
    assert found["nextflow"]["remedy"]
    assert done.returncode == 1


def test_a_pool_of_the_workspace(lab: Lab) -> None:
    """In the subnet, without public address, with the node identity, which fetched azcopy from the workspace's blobs;
    the name is taken then, and its pool stays as it is; another identity is refused."""
    made = lab.azbatch(
        "pool", "create", "p1", "--vm-size", "Standard_D2ds_v5", "--azcopy", "auto",
        "--start-task", '"$AZ_BATCH_NODE_SHARED_DIR/bin/azcopy" > said.txt', "--json",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    pool = json.loads(made.stdout)
    assert pool["networkConfiguration"]["subnetId"].endswith("/lab-batch-vnet/subnets/default")
    assert pool["networkConfiguration"]["publicIPAddressConfiguration"]["provision"].lower() == "nopublicipaddresses"
    assert pool["identity"]["userAssignedIdentities"][0]["resourceId"].endswith("/lab-batch-nodes")
    again = lab.azbatch("pool", "create", "p1", "--vm-size", "Standard_D4ds_v5", "--nodes", "3")
    assert (again.returncode, "exists already: choose another name" in again.stderr) == (1, True), again.stderr
    shown = json.loads(lab.azbatch("pool", "show", "p1", "--json").stdout)
    assert (shown["pool"]["vmSize"], len(shown["nodes"])) == (pool["vmSize"], 1)
    foreign = pool["identity"]["userAssignedIdentities"][0]["resourceId"].replace("lab-batch-nodes", "someone-elses")
    refused = lab.azbatch("pool", "create", "p2", "--identity", foreign)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert [p["id"] for p in json.loads(lab.azbatch("pool", "list", "--json").stdout)] == ["p1"]
    assert lab.azbatch("pool", "delete", "--yes", "p1").returncode == 0


def test_a_changed_azcopy_never_reaches_a_task(lab: Lab) -> None:
    """Whoever replaces the blob breaks the start task, in words; the pool is deleted again."""
    wrong = "0" * 64
    code = (
        "from azbatch.azure.blob import BlobAccount; from pathlib import Path; import os; "
        "print(BlobAccount(os.environ['AZBATCH_STORAGE_URL']).upload('azbatch-tools', 'bad', Path('bin/azcopy')))"
    )
    url = lab.python("-c", code).stdout.strip()
    made = lab.azbatch("pool", "create", "p3", "--vm-size", "Standard_D2ds_v5", "--azcopy-blob", url, wrong)
    assert made.returncode == 1
    assert "azcopy is not the one that was pinned" in made.stderr
    until(lambda: json.loads(lab.azbatch("pool", "list", "--json").stdout) == [])


def test_an_image_that_nodes_cannot_pull(lab: Lab) -> None:
    """Creation says which image, and why not; the pool is deleted again, or kept where that was asked for."""
    image = ("--container-image", "quay.io/biocontainers/samtools:1.21")
    made = lab.azbatch("pool", "create", "img", "--shape", "small", *image)
    assert made.returncode == 1
    assert "quay.io/biocontainers/samtools:1.21 cannot be pulled" in made.stderr
    assert "Pool 'img' is being deleted again." in made.stderr
    until(lambda: json.loads(lab.azbatch("pool", "list", "--json").stdout) == [])
    kept = lab.azbatch("pool", "create", "img2", "--shape", "small", "--keep-failed", *image)
    assert (kept.returncode, "delete it with: azbatch pool delete img2" in kept.stderr) == (1, True)
    assert [pool["id"] for pool in json.loads(lab.azbatch("pool", "list", "--json").stdout)] == ["img2"]
    lab.azbatch("pool", "delete", "--yes", "img2")
    until(lambda: json.loads(lab.azbatch("pool", "list", "--json").stdout) == [])


def _signed_in(lab: Lab, who: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return lab.azbatch("network", *arguments, sign_in=who)


def test_the_network_from_the_head_node(lab: Lab) -> None:
    """Closed at first, also to the machine; a person opens it by device code, once; `reach` is what the group does with
    packets; another user's cache is refused; closed again, all rules are as they were."""
    before = [(rule.id.name, rule.properties) for rule in lab.rules()]
    assert lab.azbatch("network", "list", "--json").stdout == "[]\n"
    assert lab.azbatch("network", "check", "192.0.2.7").returncode == 1
    machine = (
        "from azbatch.azure import clients; from azbatch.azure.network import SecurityGroup as G; "
        "from azbatch.headnode.discover import locate; "
        "G(clients.resource_manager(clients.machine()), locate().security_group_id).put_rule('x', {})"
    )
    alone = lab.python("-c", machine)
    assert "AuthorizationFailed" in alone.stderr
    opened = _signed_in(lab, PEOPLE[1], "allow", "192.0.2.0/28", "--reason", "data", "--for", "8h")
    assert opened.returncode == 0, opened.stderr
    assert re.search(r"go to https://\S+ on any device, and enter the code \w{9}\.", opened.stderr)
    assert "has no way to the internet, whatever is opened" in opened.stderr
    cache = lab.folder / "state/azbatch/tokens.json"
    assert stat.S_IMODE(cache.stat().st_mode) == 0o600
    second = lab.azbatch("network", "allow", "198.51.100.7", "--protocol", "udp", "--port", "53", "--reason", "names")
    assert second.returncode == 0, second.stderr
    assert "enter the code" not in second.stderr
    listed = json.loads(lab.azbatch("network", "list", "--json").stdout)
    assert {(o["target"], o["owner"], o["reason"]) for o in listed} == {
        ("192.0.2.0/28", PEOPLE[1], "data"),
        ("198.51.100.7", PEOPLE[1], "names"),
    }
    _reach_is_what_the_group_does(lab)
    # The rule lets it out, but the subnet has no way: that is said, and not "reachable".
    checked = lab.azbatch("network", "check", "192.0.2.7")
    assert checked.returncode == 1
    assert "is closed: the rules allow it, but there is no way out" in checked.stdout
    for target in ("192.0.2.0/28", "198.51.100.7"):
        closed = lab.azbatch("network", "deny", target)
        assert closed.returncode == 0, closed.stderr
    assert [(rule.id.name, rule.properties) for rule in lab.rules()] == before
    log = lab.azbatch("network", "log", "--json")
    assert [entry["action"] for entry in json.loads(log.stdout)] == ["allow", "allow", "deny", "deny"]


def _reach_is_what_the_group_does(lab: Lab) -> None:
    found = json.loads(lab.azbatch("network", "reach", "--json").stdout)
    rules = lab.rules()
    resources: Any = SimpleNamespace(of_type=lambda _kind, _parent: rules)
    network = f"{lab.group}/providers/Microsoft.Network/virtualNetworks/lab-batch-vnet".lower()
    body = lab.emulator.control("dump")[network]["body"]
    spaces = [IPv4Network(text) for text in body["properties"]["addressSpace"]["addressPrefixes"]]
    inside = spaces[0].network_address
    targets = ["192.0.2.1", "192.0.2.15", "192.0.2.16", "198.51.100.7", "198.51.100.8", "8.8.8.8", "10.0.0.1"]
    for address in (*map(IPv4Address, targets), inside + 9, inside + 520):
        for transport in ("Tcp", "Udp", "Icmp"):
            for port in (22, 53, 443, 444):
                packet = packets.Packet(
                    direction="Outbound", protocol=transport, source=inside + 5, destination=address, port=port
                )
                said = any(
                    entry["transport"] == transport
                    and entry["tag"] is None
                    and (transport == "Icmp" or entry["low"] <= port <= entry["high"])
                    and IPv4Address(entry["first"]) <= address <= IPv4Address(entry["last"])
                    for entry in found
                )
                assert said == packets.judge(packet, "group", spaces, resources).passes, (address, transport, port)


def test_the_three_lines_and_a_run(lab: Lab) -> None:
    """The files, then `python nextflow.py` with a stand-in for Nextflow: its pool is in the subnet, its nodes got
    azcopy, its tasks ran, and it is gone afterwards. Before that, an image that nodes cannot pull ends it in time."""
    engine = lab.folder / "engine"
    engine.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.contract.nf_azure "$@"\n')
    engine.chmod(0o755)
    made = lab.python("-c", "from nextflowhelper import NextflowHelper\nNextflowHelper().create_nextflow_scripts()")
    assert made.returncode == 0, made.stderr
    refused = lab.python("nextflow.py", AZBATCH_NEXTFLOW=str(engine))
    assert refused.returncode == 1
    assert "Nodes cannot pull mcr.microsoft.com" in refused.stderr
    assert json.loads(lab.azbatch("pool", "list", "--json").stdout) == []
    starter = lab.folder / "nextflow.py"
    starter.write_text(re.sub(r"IMAGES = .*", "IMAGES: list[str] = []", starter.read_text()))
    done = lab.python("nextflow.py", AZBATCH_NEXTFLOW=str(engine), NF_AZURE_COMMAND=_WITH_AZCOPY)
    assert done.returncode == 0, done.stderr
    assert "Nextflow ended with exit code 0: 5 completed." in done.stderr
    until(lambda: json.loads(lab.azbatch("pool", "list", "--json").stdout) == [])


_WITH_AZCOPY = '"$AZ_BATCH_NODE_SHARED_DIR/bin/azcopy" > {name}.txt'


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("pool", "list"), "identity"),
        (("network", "list"), "identity"),
        (("pool", "create", "x", "--cores", "2"), "identity"),
    ],
)
def test_a_machine_without_identity(lab: Lab, arguments: tuple[str, ...], says: str) -> None:
    """One sentence, no traceback, nothing made: the owner gives a head node its identity."""
    done = lab.azbatch(*arguments, who="lab-desk")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert says in done.stderr.lower()
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.mark.parametrize("arguments", [("pool", "list"), ("pool", "create", "x"), ("network", "list")])
def test_an_identity_without_rights(lab: Lab, arguments: tuple[str, ...]) -> None:
    """A head node of a workspace that was never enabled: who may not do what is said in one sentence."""
    done = lab.azbatch(*arguments, who="other-head")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (sentence,) = done.stderr.strip().splitlines()
    assert "The client 'other-head'" in sentence
    assert "does not have authorization to perform action" in sentence


def test_snakemake_from_the_head_node(lab: Lab) -> None:
    """A profile from the workspace's own tags, and a run: its pool in the subnet, with its identity, then gone."""
    folder = lab.folder / "workflow"
    folder.mkdir()
    (folder / "Snakefile").write_text(
        'rule all:\n    input: "two"\n'
        'rule one:\n    output: "one"\n    shell: "echo 1 > {output}"\n'
        'rule two:\n    input: "one"\n    output: "two"\n    shell: "cat {input} {input} > {output}"\n'
    )
    profile = str(folder / "profile")
    made = lab.azbatch("snakemake", "profile", "--prefix", "az://runs/first", "--name", profile, "--max-nodes", "1")
    assert made.returncode == 0, made.stderr
    snakemake = ("-m", "snakemake", "--profile", profile, "--snakefile", str(folder / "Snakefile"))
    run = lab.python(*snakemake, "--directory", str(folder))
    assert run.returncode == 0, run.stderr
    assert "3 of 3 steps (100%) done" in run.stderr
    assert "[]" in lab.azbatch("pool", "list", "--json").stdout.replace("\n", "") or "deleting" in (
        lab.azbatch("pool", "list").stdout
    )
