"""The Docker branch for real: an engine of the test's own, an image made from the installed SDK, events through it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.local import backing, docker, layout, leftovers, sdk
from functions.local.pubsub import PubSub
from shared.errors import Permanent
from shared.events import RunRequested
from tests.local.up import Up, eventually

IMAGE = "dmz-test/sdk-emulators:latest"
_SDK_PARTS = (
    "bin/gcloud",
    "bin/bootstrapping",
    "lib",
    "data",
    "properties",
    "VERSION",
    ".install",
    "platform/pubsub-emulator",
    "platform/cloud-firestore-emulator",
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Docker daemon with its own socket and storage; the variables that lead to it."""
    if os.geteuid() != 0:
        if not docker.usable():
            pytest.fail(
                "These tests bring up a Docker engine, which takes root: run them as root, or as a user who may use "
                "the engine that there is.",
                pytrace=False,
            )
        yield {"DMZ_EMULATOR_IMAGE": IMAGE}
        subprocess.run(("docker", "rmi", "--force", IMAGE), capture_output=True, check=False)
        return
    if not (shutil.which("dockerd") and shutil.which("docker") and shutil.which("iptables")):
        install = ("apt-get", "install", "-qq", "-y", "--no-install-recommends", "docker.io", "iptables")
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for step in (("apt-get", "update", "-qq"), install):
            subprocess.run(step, check=True, capture_output=True, env=quiet)
    # A socket's path has room for 107 bytes.
    directory = tmp_path_factory.mktemp("docker")
    socket = f"unix://{directory}/docker.sock"
    places = (
        "--data-root",
        directory / "data",
        "--exec-root",
        directory / "exec",
        "--pidfile",
        directory / "pid",
    )
    # No bridge and no rules: containers share the host's network, and the host's own rules stay as they are.
    command = (
        "setpriv",
        "--pdeathsig",
        "KILL",
        "dockerd",
        "-H",
        socket,
        "--bridge=none",
        "--iptables=false",
        *places,
    )
    with (directory / "log").open("wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    variables = {"DOCKER_HOST": socket, "DMZ_EMULATOR_IMAGE": IMAGE}
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(
            ("docker", "-H", socket, "version"), capture_output=True, check=False
        ).returncode:
            assert daemon.poll() is None, (directory / "log").read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield variables
    finally:
        daemon.terminate()
        daemon.wait(60)
        for point in leftovers.mounts(directory):
            subprocess.run(("umount", point), check=True)
        shutil.rmtree(directory)  # a gigabyte of image


@pytest.fixture(scope="module")
def image(engine: dict[str, str]) -> dict[str, str]:
    """Debian's root, the SDK with both emulators and Java as one layer, as Google's image holds them."""
    found = sdk.find(os.environ)
    assert found, "this test makes its image from an installed SDK with both emulators"
    root = found.firestore_jar.parent.parent.parent
    java = Path(found.java).resolve().parent.parent
    archives = sorted((layout.layout(os.environ).cache).rglob("trixie-*.tar"))
    assert archives, "the tests of the platform have made the root image"
    settings = [f"{root}/bin:{java}/bin:/usr/sbin:/usr/bin", "/usr/bin/python3"]
    changes = [
        f"ENV {name}={value}" for name, value in zip(("PATH", "CLOUDSDK_PYTHON"), settings, strict=True)
    ]
    command = ["docker", "import", *(word for change in changes for word in ("--change", change)), "-", IMAGE]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=os.environ | engine
    ) as importing:
        assert importing.stdin
        with tarfile.open(archives[-1]) as archive:
            archive.getmembers()
            end = archive.offset  # without the two blocks that would end the stream here
        with archives[-1].open("rb") as base:
            shutil.copyfileobj(_Limited(base, end), importing.stdin, 1 << 20)
        importing.stdin.flush()
        paths = [java, *Path("/etc").glob("java-*-openjdk"), *(root / part for part in _SDK_PARTS)]
        present = [os.fspath(path)[1:] for path in paths if path.exists()]
        copy = ("tar", "-c", "--exclude=.install/.backup", "-C", "/", *present)
        subprocess.run(copy, stdout=importing.stdin, check=True)
        importing.stdin.close()
        assert importing.wait(300) == 0
    return engine


class _Limited:
    """The first bytes of a file."""

    def __init__(self, file: object, left: int) -> None:
        self._file, self._left = file, left

    def read(self, size: int) -> bytes:
        data: bytes = self._file.read(min(size, self._left))  # type: ignore[attr-defined]
        self._left -= len(data)
        return data


def containers(variables: dict[str, str], up: Up) -> list[str]:
    label = f"label=package-dmz.state={up.layout.home}"
    command = ("docker", "ps", "-aq", "--filter", label)
    return subprocess.run(
        command, env=os.environ | variables, capture_output=True, text=True, check=True
    ).stdout.split()


def test_events_reach_the_stages_through_emulators_in_docker(image: dict[str, str], tmp_path: Path) -> None:
    up = Up(tmp_path, "docker", image)
    found = up.start()
    assert found.name == "emulators (Docker)"
    assert len(containers(image, up)) == 2
    body = RunRequested(workload="quickstart").canonical()
    PubSub(found.addresses["pubsub"], found.project).publish("run-requested", body, {})
    eventually(lambda: up.seen("outer", "run-requested"))

    # A killed supervisor leaves its containers; the next one ends them before it starts its own.
    left = containers(image, up)
    os.kill(found.pid, signal.SIGKILL)
    up.supervisor.communicate()
    up.start()
    now = containers(image, up)
    assert len(now) == 2
    assert not set(now) & set(left)

    # A container that ends takes the messages with it: the platform ends and says so.
    subprocess.run(("docker", "kill", *now), env=os.environ | image, check=True, capture_output=True)
    said = up.supervisor.communicate(timeout=60)[1]
    assert up.supervisor.returncode == 1
    assert "emulator's container has ended, so the platform ends. Their logs end:" in said
    assert containers(image, up) == []


def test_an_image_that_is_not_there_is_one_sentence(engine: dict[str, str], tmp_path: Path) -> None:
    up = Up(tmp_path, "docker", engine | {"DMZ_EMULATOR_IMAGE": "127.0.0.1:9/none:latest"})
    said = up.spawn().communicate(timeout=120)[1]
    assert said.startswith("Docker could not start the emulators from 127.0.0.1:9/none:latest: ")
    assert said.count("\n") == 1


def test_docker_is_asked_only_where_there_is_no_sdk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def start(*_: object) -> docker.Containers:
        raise Permanent("Docker was asked")

    places = layout.Layout(tmp_path, tmp_path)
    ports = {"pubsub": 1, "firestore": 2}
    monkeypatch.setattr(docker, "start", start)
    monkeypatch.setattr(docker, "usable", lambda: True)
    assert backing.choose("auto", os.environ, places, ports).name == "emulators (SDK)"
    monkeypatch.setattr(sdk, "find", lambda _: None)
    with pytest.raises(Permanent, match="Docker was asked"):
        backing.choose("auto", os.environ, places, ports)
