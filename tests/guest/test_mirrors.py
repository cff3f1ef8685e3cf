"""Mirrors in the place of what the image has."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import pytest

from shared.guest import mirrors
from shared.guest.config import AptSource, Sources
from shared.guest.failure import GuestError

ARMOR = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n"


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "os-release").write_text('ID=debian\nVERSION_CODENAME="trixie"\n')
    folder = tmp_path / "apt/sources.list.d"
    folder.mkdir(parents=True)
    (folder / "debian.sources").write_text("Types: deb\n")
    (tmp_path / "apt/sources.list").write_text("deb http://elsewhere trixie main\n")
    return tmp_path


def sources(etc: Path) -> dict[str, str]:
    places = [etc / "apt/sources.list", *(etc / "apt/sources.list.d").iterdir()]
    return {place.name: place.read_text() for place in places if place.exists()}


def test_without_mirrors_the_image_stays_as_it_is(etc: Path) -> None:
    before = sources(etc)
    mirrors.debian(Sources(), etc)
    assert sources(etc) == before
    assert mirrors.python(Sources()) == ({}, {})


def test_the_mirror_takes_the_place_of_every_source(etc: Path) -> None:
    mirrors.debian(Sources("", "https://m/debian", "https://m/security"), etc)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    assert sources(etc) == {
        "dmz-mirror.sources": (
            "Types: deb\nURIs: https://m/debian\nSuites: trixie trixie-updates\nComponents: main\n"
            f"Signed-By: {keyring}\n\n"
            "Types: deb\nURIs: https://m/security\nSuites: trixie-security\nComponents: main\n"
            f"Signed-By: {keyring}\n"
        )
    }


def test_a_mirror_that_signs_anew_brings_its_key(etc: Path) -> None:
    mirrors.debian(Sources("", "https://m/debian", "", ARMOR), etc)
    keyring = etc / "apt/keyrings/dmz-mirror.asc"
    assert keyring.read_text() == ARMOR
    (text,) = sources(etc).values()
    assert f"Signed-By: {keyring}\n" in text
    assert "security" not in text


def test_a_key_that_is_none_is_refused_before_anything_changes(etc: Path) -> None:
    before = sources(etc)
    with pytest.raises(GuestError, match="armored key"):
        mirrors.debian(Sources("", "https://m/debian", "", "/etc/key.gpg"), etc)
    assert sources(etc) == before


def test_another_distribution_keeps_its_sources(etc: Path) -> None:
    (etc / "os-release").write_text("ID=ubuntu\nVERSION_CODENAME=noble\n")
    before = sources(etc)
    mirrors.debian(Sources("", "https://m/debian"), etc)
    assert sources(etc) == before


def test_pip_and_uv_ask_the_index() -> None:
    pip, uv = mirrors.python(Sources("https://m/simple/"))
    assert pip == {"index-url": "https://m/simple/", "extra-index-url": ""}
    assert uv == {"UV_DEFAULT_INDEX": "https://m/simple/"}


# --- the workload's own repositories ---

FUSE = AptSource(
    "fuse", "https://apt.test/fuse", "fuse-trixie", ("main", "extra"), ("fuse-tool", "libfuse9"), ARMOR
)


def test_a_repository_of_the_workloads_own_stands_beside_the_images(etc: Path) -> None:
    before = sources(etc)
    mirrors.more((FUSE,), Sources(debian_mirror="https://m/debian"), etc)
    keyring = etc / "apt/keyrings/dmz-source-fuse.asc"
    assert sources(etc) == before | {
        "dmz-source-fuse.sources": (
            "Types: deb\nURIs: https://apt.test/fuse\nSuites: fuse-trixie\nComponents: main extra\n"
            f"Signed-By: {keyring}\n"
        )
    }
    assert keyring.read_text() == ARMOR
    assert (etc / "apt/preferences.d/dmz-source-fuse").read_text() == (
        'Package: fuse-tool libfuse9\nPin: origin "apt.test"\nPin-Priority: 500\n\n'
        'Package: *\nPin: origin "apt.test"\nPin-Priority: -1\n'
    )


@pytest.mark.parametrize(("suite", "where"), [("./", ""), ("debian13/x86_64/", "debian13/x86_64/")])
def test_a_flat_repository_is_one_that_apt_understands(etc: Path, suite: str, where: str) -> None:
    flat = dataclasses.replace(FUSE, suite=suite, components=())
    mirrors.more((flat,), Sources(), etc)
    parts = etc / "apt/sources.list.d"
    options = ("-oDir::Etc::SourceList=/dev/null", f"-oDir::Etc::SourceParts={parts}")
    for each in parts.iterdir():
        if each.name != "dmz-source-fuse.sources":
            each.unlink()
    asked = subprocess.run(
        ["apt-get", "update", "--print-uris", *options], check=True, capture_output=True, text=True
    )
    assert asked.stdout.split()[0] == f"'https://apt.test/fuse/{where}InRelease'"


def test_a_host_that_serves_the_distribution_as_well_is_not_pinned(etc: Path) -> None:
    mirrors.more((FUSE,), Sources(debian_mirror="https://apt.test/debian"), etc)
    assert not (etc / "apt/preferences.d").exists()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("sources.list", "deb https://apt.test/debian trixie main\n"),
        ("sources.list.d/debian.sources", "Types: deb\nURIs: https://u:p@apt.test:443/debian\n"),
        ("mirrors/debian.list", "https://apt.test/debian\n"),
    ],
)
def test_nor_is_one_that_the_image_itself_installs_from(etc: Path, file: str, text: str) -> None:
    """Debian's cloud images name their mirror in a list that sources point at (apt-transport-mirror(1))."""
    (etc / "apt" / file).parent.mkdir(parents=True, exist_ok=True)
    (etc / "apt" / file).write_text(text)
    for _ in range(2):
        mirrors.more((FUSE, dataclasses.replace(FUSE, name="b", url="https://b.test/x")), Sources(), etc)
        pins = etc / "apt/preferences.d/dmz-source-b"
        assert [*pins.parent.iterdir()] == [pins]
        pins.unlink()


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "https://apt.test/fuse\nTrusted: yes"},
        {"suite": "x\nTrusted: yes"},
        {"name": "../x y"},
        {"packages": ("a b",)},
        {"suite": "./"},
        {"suite": "/../etc/", "components": ()},
        {"suite": "x [trusted=yes]/", "components": ()},
        {"components": ()},
        {"components": ("[trusted=yes]",)},
        {"key": "none"},
    ],
)
def test_what_apt_could_misread_is_refused(etc: Path, changes: dict[str, Any]) -> None:
    before = sources(etc)
    with pytest.raises(GuestError, match=r"dmz-config.workload.apt_sources\[0\]"):
        mirrors.more((dataclasses.replace(FUSE, **changes),), Sources(), etc)
    assert sources(etc) == before
