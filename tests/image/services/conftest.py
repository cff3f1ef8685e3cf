"""The image of the services, built once from the sources as they are and unpacked."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.image import spec as specs
from shared.image.make import Made, make
from shared.image.unpack import unpack
from tests.image.kit.world import copied_checkout

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Made:
    place = tmp_path_factory.mktemp("services")
    copied = copied_checkout(place / "checkout")  # which nobody edits meanwhile
    path = copied / specs.find(specs.SERVICES).relative_to(CHECKOUT)
    return make(str(path), place / "out", place / "layers", "zstd")


@pytest.fixture(scope="session")
def root(image: Made) -> Path:
    """Its files, on this machine."""
    place = image.layout.parent / "root"
    unpack(image.layout, place)
    return place
