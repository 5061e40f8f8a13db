"""prepare.sh in Ubuntu itself: in root folders made by debootstrap, with the download hosts played by a TLS server.

AZBATCH_TEST_UBUNTU_ROOTS names them (see docs/howto-headnode.md); without it, or not as root, it is skipped.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from azbatch.headnode import script
from tests.contract.test_headnode_script import OWN
from tests.contract.vendors import Vendors

ROOTS = [Path(text) for text in os.environ.get("AZBATCH_TEST_UBUNTU_ROOTS", "").split(":") if text]
pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(not ROOTS or os.getuid() != 0, reason="needs AZBATCH_TEST_UBUNTU_ROOTS, and root for chroot"),
]


class Ubuntu:
    """A root folder in which commands run, with /proc for as long as each runs."""

    def __init__(self, root: Path, vendors: Vendors) -> None:
        self.root, self.vendors = root, vendors
        shutil.rmtree(root / "opt/azbatch", ignore_errors=True)
        (root / "var/log/azbatch-prepare.log").unlink(missing_ok=True)
        for name in ("nextflow", "azcopy", "azbatch", "python"):
            (root / "usr/local/bin" / name).unlink(missing_ok=True)
        shutil.copy(vendors.ca, root / "tmp/ca.pem")
        (root / "tmp/prepare.sh").write_text(
            script.render(
                vendors.pins, version="9.9", lock=vendors.lock, wheel_name="azbatch-9.9-py3-none-any.whl", wheel=OWN
            )
        )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        names = ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "PIP_CERT")
        inside = [
            "env",
            "-i",
            "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            *(f"{n}=/tmp/ca.pem" for n in names),
        ]
        root = shlex.quote(str(self.root))
        text = f"mount -t proc proc {root}/proc && exec chroot {root} {shlex.join([*inside, *command])}"
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", text], capture_output=True, text=True, timeout=170, check=False
        )


@pytest.fixture(params=ROOTS, ids=[root.name for root in ROOTS])
def ubuntu(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ubuntu]:
    with Vendors(tmp_path, "/usr/bin/python3") as vendors:
        yield Ubuntu(request.param, vendors)


def test_a_bare_ubuntu_becomes_a_head_node(ubuntu: Ubuntu) -> None:
    """A wrong checksum stops it; mended, it goes on; then everything is there for a user who is not root, and a second
    run does nothing."""
    mirror = ("bash", "/tmp/prepare.sh", "--mirror", ubuntu.vendors.url)
    good = ubuntu.vendors.files["nextflow"]
    assert ubuntu.vendors.pins
    ubuntu.vendors.files["nextflow"] = b"something else"
    stopped = ubuntu.run(*mirror)
    assert stopped.returncode == 1, stopped.stdout + stopped.stderr
    assert "FAILED in step 'nextflow'" in stopped.stdout
    assert not (ubuntu.root / "usr/local/bin/nextflow").exists()
    ubuntu.vendors.files["nextflow"] = good
    done = ubuntu.run(*mirror)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("is there already") == 3
    as_user = ("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups")
    said = ubuntu.run(
        *as_user, "sh", "-c", "nextflow -version && azcopy --version && python -c 'import nextflowhelper, tinydep'"
    )
    assert said.returncode == 0, said.stderr
    assert "nextflow /opt/azbatch/java /opt/azbatch/plugins true -version" in said.stdout
    again = ubuntu.run(*mirror)
    assert again.stdout.count("is there already") == 6
    assert "Done:" in (ubuntu.root / "var/log/azbatch-prepare.log").read_text()
