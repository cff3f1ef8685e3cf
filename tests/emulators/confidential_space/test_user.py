"""The same for an ordinary user with subordinate ids: an image unpacked, launched, attested and taken away."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.emulators.vm import idmap
from tests.emulators.confidential_space import images
from tests.emulators.confidential_space.conftest import (
    OPERATOR,
    TOOLS,
    ZONE_PATH,
    claims_of,
    configuration,
    request,
    said,
)

REPOSITORY = Path(__file__).resolve().parents[3]
NAME = "dmz-space-test"

AS_USER = """
import json, os, pathlib, sys, time, urllib.request
from shared.emulators import tokens
from shared.emulators.confidential_space import config
from shared.emulators.confidential_space.platform import Platform
from shared.emulators.vm import preflight
preflight.require(containers=True)
home = pathlib.Path.home()
platform = Platform(config.parse((home / "config.json").read_text()))
bearer = tokens.mint((home / "key").read_bytes(), sys.argv[1], time.time())
def api(path, body=None):
    url = f"http://127.0.0.1:{platform.port}{sys.argv[2]}{path}"
    sent = urllib.request.Request(url, body, {"Authorization": f"Bearer {bearer}"})
    return json.load(urllib.request.urlopen(sent))
api("/instances", (home / "request.json").read_bytes())
deadline = time.monotonic() + 90
while "launcher exiting" not in (console := api("/instances/sample/serialPort")["contents"]):
    assert time.monotonic() < deadline, console
    time.sleep(0.1)
platform.close()
left = os.listdir(home / "state" / "roots") + os.listdir(home / "state" / "vms")
print(json.dumps({"console": console, "left": left}))
"""


@pytest.fixture
def home(base: images.Blob, ca: Path) -> Iterator[Path]:
    if not idmap.as_root():
        pytest.fail("This test makes a user of its own: run the tests as root, as CI does.")
    directory = Path("/var/tmp") / NAME
    subprocess.run(
        ["useradd", "-M", "-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0", "-d", directory, NAME], check=True
    )
    try:
        ids = ["--add-subuids", "400000-465535", "--add-subgids", "400000-465535"]
        subprocess.run(["usermod", *ids, NAME], check=True)
        directory.mkdir()
        shutil.copytree(ca, directory / "ca")
        copied = images.Blob(base.digest, base.size, Path(shutil.copy(base.path, directory / "base.tar")))
        look = "say([os.stat('/app/main.py').st_uid, tee('GET', '/v1/token')])"
        program = f"{TOOLS}\nos.chown('/app/main.py', 33, 44)\n{look}\n"
        labels = {"tee.launch_policy.log_redirect": "always"}
        images.layout(directory / "image", copied, program, labels=labels)
        (directory / "config.json").write_text(json.dumps(configuration(directory)))
        (directory / "request.json").write_text(
            json.dumps(request(**{"tee-container-log-redirect": "serial"}))
        )
        subprocess.run(["chown", "-R", NAME, directory], check=True)
        directory.chmod(0o700)
        yield directory
    finally:
        subprocess.run(["userdel", NAME], check=True, capture_output=True)
        shutil.rmtree(directory, ignore_errors=True)


def test_an_ordinary_user_launches_a_workload(home: Path) -> None:
    path = os.pathsep.join(
        (str(REPOSITORY), sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"])
    )
    environment = ["env", "-i", f"PYTHONPATH={path}", f"HOME={home}", "PATH=/usr/bin:/bin:/usr/sbin"]
    command = ["runuser", "-u", NAME, "--", *environment, "/usr/bin/python3", "-B", "-c", AS_USER]
    done = subprocess.run(
        [*command, OPERATOR, ZONE_PATH], capture_output=True, text=True, timeout=180, cwd="/", check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    ((owner, (status, token)),) = said(found["console"])
    assert (owner, status) == (33, 200)
    assert claims_of(token)["hwmodel"] == "GCP_INTEL_TDX"
    assert found["left"] == []
