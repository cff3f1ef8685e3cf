"""Directories, ports and the SDK: found, or one sentence that says what to do."""

from __future__ import annotations

import socket
from collections import namedtuple
from pathlib import Path

import pytest

from functions.local import layout as layouts
from functions.local import ports, sdk
from functions.local.project import port_base
from shared.errors import Permanent


def test_state_belongs_to_the_checkout_and_caches_to_the_user() -> None:
    found = layouts.layout({"XDG_CACHE_HOME": "/var/tmp/caches"})
    assert found.home == layouts.CHECKOUT / ".dmz"
    assert found.cache == Path("/var/tmp/caches/package-dmz")
    assert layouts.layout({"DMZ_HOME": "/srv/dmz"}).home == Path("/srv/dmz")


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = layouts.layout({"DMZ_HOME": str(tmp_path / "file" / "state"), "XDG_CACHE_HOME": str(tmp_path)})
    with pytest.raises(
        Permanent, match=r"file/state cannot be made: Not a directory; name another place in DMZ_HOME"
    ):
        found.prepare()


def test_a_full_disk_is_said_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**9, 10**9, 5 * 2**20))
    found = layouts.layout({"DMZ_HOME": str(tmp_path / "state"), "XDG_CACHE_HOME": str(tmp_path)})
    with pytest.raises(Permanent, match=r"has 5 MB left; at least 256 MB are needed: free some"):
        found.prepare()


def test_free_ports_are_different_and_free() -> None:
    chosen = ports.choose(["a", "b", "c"], None)
    assert len(set(chosen.values())) == 3
    for port in chosen.values():
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            Permanent, match=rf"The port {port}, which DMZ_PORTS={port} gives to pubsub, is taken"
        ):
            ports.choose(["pubsub", "firestore"], port)


def test_ports_follow_one_another_from_the_one_that_was_asked_for() -> None:
    base = ports.choose(["a"], None)["a"]
    assert ports.choose(["a"], base) == {"a": base}


@pytest.mark.parametrize("given", ["80", "65535"])
def test_ports_outside_the_range_are_refused(given: str) -> None:
    with pytest.raises(Permanent, match="ports are 1024 to 65535"):
        ports.choose(["a", "b"], int(given))


def test_ports_that_are_no_number_are_refused() -> None:
    assert port_base({}) is None
    with pytest.raises(Permanent, match="DMZ_PORTS must be the number of the first port to use, not 'many'"):
        port_base({"DMZ_PORTS": "many"})


def make_sdk(root: Path, versions: tuple[str, ...] = ("0.8.20",)) -> None:
    jars = [f"platform/pubsub-emulator/lib/cloud-pubsub-emulator-{version}-all.jar" for version in versions]
    for jar in (*jars, "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"):
        (root / jar).parent.mkdir(parents=True, exist_ok=True)
        (root / jar).write_bytes(b"")


def make_java(directory: Path) -> str:
    directory.mkdir(exist_ok=True)
    (directory / "java").write_text("#!/bin/sh\n")
    (directory / "java").chmod(0o755)
    return str(directory)


def test_the_sdk_is_found_where_the_environment_says(tmp_path: Path) -> None:
    make_sdk(tmp_path, ("0.8.19", "0.8.20"))
    found = sdk.find({"CLOUDSDK_ROOT": str(tmp_path), "PATH": make_java(tmp_path / "bin")})
    assert found
    assert "0.8.20" in found.pubsub_jar.name
    assert "--port=4711" in found.pubsub(4711)
    assert found.firestore(4712)[-1] == "--port=4712"


def test_the_sdk_is_found_through_a_link_to_gcloud(tmp_path: Path) -> None:
    make_sdk(tmp_path / "google-cloud-sdk")
    gcloud = tmp_path / "google-cloud-sdk" / "bin" / "gcloud"
    gcloud.parent.mkdir()
    gcloud.write_text("#!/bin/sh\n")
    gcloud.chmod(0o755)
    make_java(tmp_path / "bin")
    (tmp_path / "bin" / "gcloud").symlink_to(gcloud)
    found = sdk.find({"PATH": str(tmp_path / "bin")})
    assert found
    assert found.firestore_jar.is_relative_to(tmp_path)


def test_an_sdk_without_the_emulators_is_none(tmp_path: Path) -> None:
    assert sdk.find({"CLOUDSDK_ROOT": str(tmp_path), "PATH": ""}) is None


def test_missing_java_is_one_sentence(tmp_path: Path) -> None:
    make_sdk(tmp_path)
    with pytest.raises(
        Permanent, match=r"no java here: install a Java runtime 11 or later .*default-jre-headless"
    ):
        sdk.find({"CLOUDSDK_ROOT": str(tmp_path), "PATH": str(tmp_path)})
