"""The same VMs for an ordinary user with subordinate ids: sealed, limited, and swept."""

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

REPOSITORY = Path(__file__).resolve().parents[3]
NAME = "dmz-vm-test"

AS_USER = """
import json, os, pathlib, resource, subprocess, sys
from shared.emulators.vm import image
from shared.emulators.vm.engine import Engine
from shared.emulators.vm.spec import Identity, Limits, Network, Place, Platform, VmSpec
from shared.errors import Permanent
home = pathlib.Path.home()
try:
    root = image.prepare(home / "cache").root
    engine = Engine(Platform(root, home / "state", b"k" * 32))
except Permanent as error:
    sys.exit(str(error))
def run(name, *command):
    return subprocess.run(engine.enter(name, command), capture_output=True, text=True, timeout=60)
found = {"uid": os.getuid()}
for name, internet in (("in", False), ("out", True)):
    vm = engine.boot(VmSpec(name, Network(internet), Identity("a@b"), Place("p", 1, "us-central1-a", 1)))
    found[name] = {
        "uid_map": pathlib.Path(f"/proc/{vm.pid}/uid_map").read_text().split(),
        "id": run(name, "id", "-u").stdout.strip(),
        "pypi": run(name, "curl", "-s", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", "https://pypi.org/simple/six/").stdout,
        "devices": run(name, "sh", "-c", "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '").stdout.split(),
        "chown": run(name, "sh", "-c", "touch /f && chown 33:33 /f && stat -c %u /f").stdout.strip(),
        "core_pattern": run(name, "sh", "-c", "echo x > /proc/sys/kernel/core_pattern").returncode,
        "raw": run(name, "python3", "-c", "import socket; socket.socket(17, 3)").stderr.strip().splitlines()[-1],
        "processes": run(name, "python3", "-c", "import resource as r; print(r.getrlimit(r.RLIMIT_NPROC))").stdout,
    }
if sys.argv[1:] == ["die"]:
    os.kill(os.getpid(), 9)
engine.close()
found["left"] = [path.name for path in (home / "state" / "vms").iterdir()]
found["swept"] = engine.swept
print(json.dumps(found))
"""


@pytest.fixture
def home(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a fresh user who has subordinate ids, with today's image in its cache."""
    if not idmap.as_root():
        pytest.fail("This test makes a user of its own: run the tests as root, as CI does.")
    directory = Path("/var/tmp") / NAME
    tun = Path("/dev/net/tun")
    before = tun.stat().st_mode
    subprocess.run(
        ["useradd", "-M", "-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0", "-d", directory, NAME], check=True
    )
    try:
        subprocess.run(
            ["usermod", "--add-subuids", "300000-365535", "--add-subgids", "300000-365535", NAME], check=True
        )
        (directory / "cache").mkdir(parents=True)
        archive = root.with_name(root.name.replace("-root.root", ".tar"))
        shutil.copy(archive, directory / "cache")
        subprocess.run(["chown", "-R", NAME, directory], check=True)
        directory.chmod(0o700)
        tun.chmod(0o666)  # as udev makes it
        yield directory
    finally:
        tun.chmod(before & 0o777)
        subprocess.run(["userdel", NAME], check=True, capture_output=True)
        shutil.rmtree(directory)


def as_user(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(
        (str(REPOSITORY), sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"])
    )
    environment = ["env", "-i", f"PYTHONPATH={path}", f"HOME=/var/tmp/{NAME}", "PATH=/usr/bin:/bin:/usr/sbin"]
    command = ["runuser", "-u", NAME, "--", *environment, "/usr/bin/python3", "-B", "-c", AS_USER, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd="/")


def test_an_ordinary_user_runs_sealed_vms(home: Path) -> None:
    killed = as_user("die")
    assert killed.returncode != 0, killed.stderr
    assert "Traceback" not in killed.stderr, killed.stderr
    assert sorted(path.name for path in (home / "state/vms").iterdir()) == ["in", "out"]
    done = as_user()
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["swept"] == ["in", "out"]
    assert found["left"] == []
    for name, pypi, devices in (("in", "000", ["lo"]), ("out", "200", ["lo", "tap0"])):
        vm = found[name]
        assert vm["uid_map"] == ["0", str(found["uid"]), "1", "1", "300000", "65535"]
        assert (vm["id"], vm["chown"], vm["pypi"], vm["devices"]) == ("0", "33", pypi, devices)
        assert vm["core_pattern"] != 0
        assert "Address family not supported" in vm["raw"]
        assert vm["processes"] == "(4096, 4096)\n"


def test_a_user_without_subordinate_ids_is_told_what_to_do(home: Path) -> None:
    subprocess.run(["usermod", "--del-subuids", "300000-365535", NAME], check=True)
    done = as_user()
    assert done.returncode == 1
    assert (
        f"{NAME} has no 65,535 subordinate ids in /etc/subuid: run `sudo usermod --add-subuids" in done.stderr
    )
    assert "Traceback" not in done.stderr
