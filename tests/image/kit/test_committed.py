"""Every image of the project comes out as `shared/data/images/digests.txt` says, the samples under all variations.

The services' own image is another one with every commit: two builds of it are compared with each other.
Needs the package hosts for the inputs that are not in the user's cache yet. No layer comes from a cache.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from functions.ctl.image import DIGESTS, differences, read_digests
from shared.image import spec
from shared.image.inputs import directory
from tests.image.kit.test_variations import at_home, environment, named, on_one_processor
from tests.image.kit.world import ROOT, Build, World, copied_checkout, shuffled
from tests.upstream.support import Web

SAMPLES = ("quickstart_data", "sample_java", "sample_jni")
_ADVICE = "if sources, lock or recipe were changed on purpose: ./dmz image build --all > shared/data/images/digests.txt"

pytestmark = pytest.mark.network


@pytest.fixture(scope="session")
def committed() -> dict[str, str]:
    return read_digests(DIGESTS)


@pytest.fixture(scope="session")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Empty at first; images that have a layer in common make it once."""
    return tmp_path_factory.mktemp("committed-layers")


class Real(World):
    """An image of the project, in a checkout of its own."""

    name: str = ""

    @property
    def spec(self) -> Path:
        return self.folder / "shared" / "data" / "images" / f"{self.name}.yaml"

    @property
    def inputs(self) -> Path:
        return directory()


def real(name: str, to: Path) -> Build:
    made = Real(copied_checkout(to / "checkout"), Web())
    made.name = name
    return Build(made, to, root=made.folder)


def test_every_image_is_committed_and_no_other(committed: dict[str, str]) -> None:
    assert list(committed) == list(spec.data_services())


@pytest.mark.parametrize("name", [name for name in spec.data_services() if name not in SAMPLES])
def test_an_image_is_as_committed(name: str, committed: dict[str, str], layers: Path, tmp_path: Path) -> None:
    found = f"{name} {replace(real(name, tmp_path), layers=layers).run()}"
    assert differences({name: found}, {name: committed[name]}) == [], _ADVICE


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_as_committed_whatever_differs(
    name: str, committed: dict[str, str], tmp_path: Path, turkish: Path
) -> None:
    """Another path, user, host name, clock, locale, time zone, umask and home, one processor, the lock shuffled."""
    found = f"{name} {varied(name, tmp_path, turkish).run()}"
    assert differences({name: found}, {name: committed[name]}) == [], _ADVICE


def test_the_services_are_the_same_whatever_differs(tmp_path: Path, turkish: Path) -> None:
    """The same variations; what the digest should be only another build can say."""
    (tmp_path / "plain").mkdir()
    assert varied(spec.SERVICES, tmp_path, turkish).run() == real(spec.SERVICES, tmp_path / "plain").run()


def varied(name: str, tmp_path: Path, turkish: Path) -> Build:
    build = real(name, tmp_path / "an other place")
    build.scratch.mkdir(exist_ok=True)
    shuffled(build.world.spec, 11)
    variables = {
        "TZ": "America/St_Johns", "LC_ALL": "tr_TR.UTF-8", "LOCPATH": str(turkish),
        "PYTHONHASHSEED": "99", "KIT_SHUFFLE": "3", "KIT_CLOCK": "150000000",
    }  # fmt: skip
    changed = named(on_one_processor(at_home(build, tmp_path)))
    return environment(replace(changed, umask=0o027), **variables)


def test_a_changed_source_is_seen(committed: dict[str, str], layers: Path, tmp_path: Path) -> None:
    """One byte of a comment."""
    build = real("quickstart_data", tmp_path)
    main = build.world.spec.parent / "python" / "main.py"
    main.write_text(main.read_text() + "#")
    found = f"quickstart_data {replace(build, layers=layers).run()}"
    assert len(differences({"quickstart_data": found}, committed)) == len(spec.data_services())
    assert ROOT not in main.parents
