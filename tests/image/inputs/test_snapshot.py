"""A lock of a time that has passed: Debian's archive as the snapshot service has it, signatures as of then."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from functions.local.layout import CHECKOUT
from shared.errors import Permanent
from shared.image.lock import snapshot_sources
from shared.model.package import Release
from shared.upstream.apt import AptIndexClient
from shared.upstream.mirrors import Mirrors
from tests.chain.goods import publish_suite
from tests.chain.world import LIBRARY
from tests.upstream.conftest import make_signer, stop_agent
from tests.upstream.support import Web

TRIXIE = Release(id="debian", version_id="13", codename="trixie", architecture="amd64")


def test_packages_are_those_of_the_time_and_keep_their_address(tmp_path: Path) -> None:
    then = datetime.now(UTC) - timedelta(days=365)
    moment = then.strftime("%Y%m%dT%H%M%SZ")
    web, signer = Web(), make_signer(tmp_path / "archive")
    (tmp_path / "keyrings").mkdir()
    (tmp_path / "keyrings" / "debian-13.gpg").write_bytes(signer.keyring.read_bytes())
    root, security = f"/archive/debian/{moment}", f"/archive/debian-security/{moment}"
    before = then - timedelta(hours=3)
    publish_suite(web, signer, root, "trixie", (LIBRARY,), before)
    publish_suite(web, signer, root, "trixie-updates", now=before)
    publish_suite(web, signer, security, "trixie-security", now=before)
    try:
        sources = snapshot_sources(moment, tmp_path / "inputs", tmp_path / "keyrings", web.url)
        found = [each for archives in sources.apt.archives(TRIXIE).values() for each in archives]
        assert [each.url for each in found] == [f"{web.url}{root}/{LIBRARY.pool}"]
        today = AptIndexClient(Mirrors(web.url + root, web.url + security), tmp_path / "keyrings")
        with pytest.raises(Permanent, match="was valid until"):
            today.archives(TRIXIE)
    finally:
        web.close()
        stop_agent(signer)


@pytest.mark.parametrize("moment", ["yesterday", "20261120", "20261320T000000Z", "../../etc"])
def test_a_time_that_is_none_is_bad_input(moment: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "functions.ctl",
            "image",
            "lock",
            "quickstart_data",
            "--snapshot",
            moment,
        ],
        cwd=CHECKOUT,
        env={"PYTHONPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(f"dmz: '{moment}' is no time of a snapshot")
