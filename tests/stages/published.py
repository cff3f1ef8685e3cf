"""A real wheel with real attestations in the small world, and what was noted of its publisher."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from shared.errors import Transient
from shared.guest import record
from shared.held_files import RECORDS, record_id
from shared.ports.store import Document
from shared.ports.upstream import IndexFile
from tests.stages.world import World
from tests.support.built import Built
from tests.support.claims import environment, python
from tests.upstream import attested
from tests.upstream.attested import CIRCLECI

NAME, VERSION = "circleci-sign-publish-example", "0.0.1.dev137"
WHERE = f"https://files.test/integrity/{CIRCLECI.filename}/provenance"
REPOSITORY = "dmz-python"


def stock(world: World, where: str = WHERE) -> None:
    """The real wheel, which the outer VM installs beside the others."""
    info = "circleci_sign_publish_example-0.0.1.dev137.dist-info"
    with zipfile.ZipFile(io.BytesIO(attested.WHEEL)) as archive:
        listing = archive.read(f"{info}/RECORD").decode()
    made = Built(CIRCLECI.filename, attested.WHEEL, record.from_wheel(listing, info))
    url = f"https://files.test/{made.filename}"
    market = world.market
    market.projects[NAME] = [IndexFile(made.filename, url, made.sha256, "", False, provenance=where)]
    market.contents |= {url: made.content, WHERE: CIRCLECI.served}
    market.requires[NAME, VERSION] = ()
    market.wheels[made.sha256] = made
    first, *others = world.environments
    package = python(NAME, VERSION, made, requested=True)
    packages = sorted((*first.packages, package), key=lambda each: each.name)
    world.environments = (environment(*packages), *others)


def noted(world: World) -> Document:
    return world.store.get(RECORDS, record_id(REPOSITORY, CIRCLECI.sha256)) or {}


class Dark:
    """The index, of which nobody learns of attestations as long as it is dark."""

    def __init__(self) -> None:
        self.now = False
        self._port: Any = None

    def through(self, name: str, port: Any) -> Any:
        if name != "index":
            return port
        self._port = port
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def provenance(self, filename: str, url: str) -> Any:
        if self.now:
            raise Transient("It does not answer.")
        return self._port.provenance(filename, url)
