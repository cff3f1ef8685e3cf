"""The small service, made once; each test works on a copy or in its own scratch directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.kit.world import Build, World, copied_checkout, make_world
from tests.upstream.support import Web


@pytest.fixture(scope="session")
def served() -> Iterator[Web]:
    web = Web()
    yield web
    web.close()


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, served: Web) -> World:
    return make_world(tmp_path_factory.mktemp("kit") / "world", served)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied_checkout(tmp_path_factory.mktemp("kit-checkout"))


@pytest.fixture
def plain(world: World, checkout: Path, tmp_path: Path) -> Build:
    """A build as this process would do it."""
    return Build(world, tmp_path, root=checkout)


@pytest.fixture(scope="session")
def expected(world: World, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digests that every build must have."""
    return Build(world, tmp_path_factory.mktemp("kit-expected"), root=checkout).run()


@pytest.fixture(scope="session")
def turkish(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for LOCPATH that holds Turkish, where `I` is no capital `i`, in UTF-8 and in ISO-8859-9."""
    import subprocess

    from tests.emulators.registry.support import need

    folder = tmp_path_factory.mktemp("locales")
    for charset in ("UTF-8", "ISO-8859-9"):
        command = [need("localedef", "libc-bin"), "-i", "tr_TR", "-f", charset, f"{folder}/tr_TR.{charset}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode > 1:  # 1: warnings
            pytest.fail(f"tr_TR.{charset} cannot be made: install locales. {done.stderr}", pytrace=False)
    return folder
