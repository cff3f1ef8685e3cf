"""What the guest writes for a repository of the workload's own, as the real apt reads it."""

from __future__ import annotations

import os
import re
import subprocess
from email.utils import formatdate
from pathlib import Path

from shared.guest import mirrors
from shared.guest.config import AptSource, Sources
from tests.upstream.apt_repository import Suite, stanza
from tests.upstream.conftest import Signer
from tests.upstream.support import Web
from tests.upstream.test_apt_sources import armored


class Current(Suite):
    """A suite of today, without the made-up MD5, which apt would ask for."""

    def release(self) -> bytes:
        return re.sub(rb"MD5Sum:\n [^\n]*\n", b"", super().release())


def apt(root: Path, *words: str) -> str:
    """apt with a root of its own, in which nothing is installed."""
    settings = {
        "Dir::Etc": f"{root}/etc/apt",
        "Dir::State": f"{root}/state",
        "Dir::Cache": f"{root}/cache",
        "Dir::State::status": f"{root}/status",
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    done = subprocess.run(
        [words[0], *options, *words[1:]],
        env={**os.environ, "no_proxy": "*", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_named_comes_from_there_and_nothing_newer_does(
    web: Web, signer: Signer, tmp_path: Path
) -> None:
    root = tmp_path / "machine"
    for folder in ("etc/apt/preferences.d", "state/lists/partial", "cache/archives/partial"):
        (root / folder).mkdir(parents=True)
    (root / "status").touch()
    now = {"Date": formatdate(usegmt=True).replace("GMT", "UTC"), "Valid-Until": ""}
    theirs = now | {"Origin": "Fuse", "Suite": "", "Codename": "fuse-trixie"}
    stanzas = (stanza("fuse-tool", "3.0"), stanza("bash", "99.0"))
    Current(signer, "fuse-trixie", "/fuse", stanzas, theirs, suffix="").publish(web)
    Current(signer, stanzas=(stanza("bash", "5.0"),), fields=now, suffix="").publish(web)
    there = web.url.replace("127.0.0.1", "localhost")  # another host than the distribution's
    fuse = AptSource(
        "fuse", f"{there}/fuse", "fuse-trixie", ("main",), ("fuse-tool", "libfuse9"), armored(signer)
    )
    mirrors.more((fuse,), Sources(), root / "etc")
    keyring = root / "etc/apt/keyrings/dmz-source-fuse.asc"
    (root / "etc/apt/sources.list.d/debian.sources").write_text(
        f"Types: deb\nURIs: {web.url}/debian\nSuites: trixie\nComponents: main\nSigned-By: {keyring}\n"
    )
    apt(root, "apt-get", "update")
    chosen = re.findall(
        r"^(\S+):$|Candidate: (\S+)", apt(root, "apt-cache", "policy", "bash", "fuse-tool"), re.M
    )
    assert ["".join(each) for each in chosen] == ["bash", "5.0", "fuse-tool", "3.0"]
