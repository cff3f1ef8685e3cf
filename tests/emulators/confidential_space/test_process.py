"""The emulator as a process: `python -m shared.emulators.confidential_space`, and its sudden end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from shared.emulators import tokens
from shared.emulators.confidential_space import keys
from tests.emulators.confidential_space import images
from tests.emulators.confidential_space.conftest import (
    KEY,
    OPERATOR,
    TOOLS,
    ZONE_PATH,
    configuration,
    request,
)

CHECKOUT = Path(__file__).parents[3]


class Emulator:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        files = {name: str(directory / name) for name in ("port_file", "issuer_port_file")}
        (directory / "config.json").write_text(json.dumps(configuration(directory, **files)))
        for file in files.values():
            Path(file).unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "shared.emulators.confidential_space",
                "--config",
                directory / "config.json",
            ],
            cwd=CHECKOUT,
            umask=0o077,  # some users have it
            stdout=subprocess.DEVNULL,
            stderr=(directory / "stderr").open("wb"),
        )
        self.wait(lambda: (directory / "issuer_port_file").exists() and (directory / "port_file").exists())
        token = tokens.mint(KEY, OPERATOR, time.time())
        self.api = httpx.Client(
            base_url=f"http://127.0.0.1:{(directory / 'port_file').read_text().strip()}",
            headers={"Authorization": f"Bearer {token}"},
        )
        self.issuer = f"http://127.0.0.1:{(directory / 'issuer_port_file').read_text().strip()}"

    def wait(self, until: object, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not until():  # type: ignore[operator]
            assert time.monotonic() < deadline, (self.directory / "stderr").read_text()
            time.sleep(0.05)

    def launch(self) -> int:
        """A workload that sleeps; its process id on the host."""
        answer = self.api.post(
            f"{ZONE_PATH}/instances", json=request(**{"tee-container-log-redirect": "serial"})
        )
        assert answer.status_code == 200, answer.text
        file = self.directory / "state" / "vms" / "sample" / "pid"
        path = f"{ZONE_PATH}/instances/sample/serialPort"
        self.wait(lambda: "SAID" in self.api.get(path).json()["contents"])
        return int(file.read_text())


@pytest.fixture
def emulator(tmp_path: Path, base: images.Blob, ca: Path) -> Iterator[Emulator]:
    shutil.copytree(ca, tmp_path / "ca")  # made once: keys of 4096 bits take seconds
    program = f"{TOOLS}\nif os.fork() == 0:\n    time.sleep(600)\nsay('up')\ntime.sleep(600)\n"
    labels = {"tee.launch_policy.log_redirect": "always"}
    images.layout(tmp_path / "image", base, program, labels=labels)
    running = Emulator(tmp_path)
    yield running
    if running.process.poll() is None:
        running.process.terminate()
        running.process.wait(60)


def processes(directory: Path) -> list[int]:
    """Those that have something of `directory` mounted or open."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                mounts = (entry / "mountinfo").read_text()
                command = (entry / "cmdline").read_text()
            except OSError:
                continue
            if str(directory / "state") in mounts or str(directory) in command:
                found.append(int(entry.name))
    return found


def test_sigterm_ends_the_containers_and_leaves_nothing(emulator: Emulator) -> None:
    pid = emulator.launch()
    emulator.process.send_signal(signal.SIGTERM)
    assert emulator.process.wait(60) == 0
    assert not Path(f"/proc/{pid}").exists()
    state = emulator.directory / "state"
    assert [list((state / name).iterdir()) for name in ("vms", "roots", "launcher")] == [[], [], []]
    assert processes(emulator.directory) == []


def test_kill_9_leaves_no_process_and_the_next_start_no_file(emulator: Emulator) -> None:
    pid = emulator.launch()
    emulator.process.kill()
    emulator.process.wait()
    emulator.wait(lambda: not Path(f"/proc/{pid}").exists(), 30)
    emulator.wait(lambda: processes(emulator.directory) == [], 30)
    root = (emulator.directory / "ca" / keys.ROOT_CERTIFICATE).read_text()
    again = Emulator(emulator.directory)
    try:
        assert again.api.get(f"{ZONE_PATH}/instances").json()["items"] == []
        assert (emulator.directory / "ca" / keys.ROOT_CERTIFICATE).read_text() == root
        state = emulator.directory / "state"
        assert [list((state / name).iterdir()) for name in ("vms", "roots")] == [[], []]
        assert again.launch()
    finally:
        again.process.terminate()
        assert again.process.wait(60) == 0


def test_sigusr1_rotates_the_signing_key(emulator: Emulator) -> None:
    url = httpx.get(f"{emulator.issuer}/.well-known/openid-configuration").json()["jwks_uri"]
    (before,) = httpx.get(url).json()["keys"]
    emulator.process.send_signal(signal.SIGUSR1)
    emulator.wait(lambda: len(httpx.get(url).json()["keys"]) == 2)
    assert httpx.get(url).json()["keys"][1] == before


@pytest.mark.parametrize("content", ["", "{}", '{"state_dir": 1}'])
def test_a_bad_configuration_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    done = subprocess.run(
        [sys.executable, "-m", "shared.emulators.confidential_space", "--config", tmp_path / "config.json"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(("The configuration", "`"))
