"""A real workload's graph, PyPI, uv and the project's advisories: what is refused deep down is replaced."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

import httpx
import pytest
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from shared.advisories.zips import ZipAdvisories
from shared.data import __file__ as data
from shared.errors import Permanent
from shared.judgement import Court
from shared.locking.needs import holds
from shared.locking.offer import Offer
from shared.locking.python import PythonLocker
from shared.model.lock import LockedPython
from shared.model.manifest import PythonPackage
from shared.model.value import sha256
from shared.model.workload import find as workload
from shared.policy.read import find
from shared.ports.upstream import Pin, Upstream
from shared.settings import Settings
from shared.upstream import connect
from shared.upstream.tags import for_machine
from tests.locking.conftest import NOW
from tests.support import claims
from tests.support.market import TRIXIE

pytestmark = pytest.mark.network
PYTHON = "3.13.5"
TAGS = for_machine("amd64", "2.41-12", PYTHON)
CONSTRAINT = "Jinja2==3.1.4"
ASKED = ("dash==2.17.1",)
"""It needs flask, which needs jinja2."""


@pytest.fixture(scope="module")
def upstream() -> Upstream:
    return connect.upstream(Settings("test-project"), workload("quickstart"))


@pytest.fixture(scope="module")
def court() -> Court:
    advisories = ZipAdvisories(Path(data).parent / "advisories", source="snapshot carried by the project")
    return Court(advisories, find("offline"), TRIXIE, NOW)


@pytest.fixture(scope="module")
def installed(upstream: Upstream, court: Court) -> list[PythonPackage]:
    """What an outer VM would tell after `pip install dash` under the constraint."""
    offer = Offer(upstream.index, court.packages, PYTHON, TAGS)
    found = []
    for pin in upstream.resolver.resolve([*ASKED, CONSTRAINT], (), (), PYTHON, platform=offer.platform):
        file = offer.file(pin)
        assert file is not None
        *_, tags = parse_wheel_filename(file.filename)
        found.append(
            claims.python(
                pin.name,
                pin.version,
                tags=tuple(sorted(map(str, tags))),
                record=sha256(b"as the VM had it"),
                requires=requires(file.url),
                requested=pin.name == "dash",
            )
        )
    return found


@cache
def requires(url: str) -> tuple[str, ...]:
    beside = httpx.get(f"{url}.metadata")
    if beside.status_code == 404:  # not every file has it (PEP 658)
        with zipfile.ZipFile(io.BytesIO(httpx.get(url).raise_for_status().content)) as wheel:
            name = next(each for each in wheel.namelist() if each.endswith(".dist-info/METADATA"))
            content = wheel.read(name)
    else:
        content = beside.raise_for_status().content
    metadata = Metadata.from_email(content, validate=False)
    return tuple(str(each) for each in metadata.requires_dist or ())


def lock(
    upstream: Upstream, court: Court, installed: list[PythonPackage], *constraints: str
) -> tuple[dict[str, LockedPython], Mapping[str, str]]:
    """By name the files, and what each changed package is now."""
    judged = court.packages([each.package() for each in installed], False)
    locker = PythonLocker(
        index=upstream.index,
        resolver=upstream.resolver,
        judge=court.packages,
        build_requirements=upstream.build_requirements,
        record=upstream.record,
        verdicts={verdict.package.purl: verdict for verdict in judged},
        own={},
        constraints=constraints,
    )
    environment, changes = locker.lock(
        claims.environment(*installed).model_copy(update={"python": PYTHON}), TAGS
    )
    return {file.name: file for file in environment.packages}, {c.before.name: c.kind for c in changes}


def test_what_is_refused_deep_down_is_replaced_and_all_of_it_fits(
    upstream: Upstream, court: Court, installed: list[PythonPackage]
) -> None:
    had = {each.name: each.version for each in installed}
    assert had["jinja2"] == "3.1.4"
    assert len(had) > 10
    judged = partial(court.packages, is_source=False)
    refused = {v.package.name for v in judged([p.package() for p in installed]) if v.decision != "allow"}
    assert "jinja2" in refused
    files, changed = lock(upstream, court, installed, CONSTRAINT)
    assert files["jinja2"].version == "3.1.5"
    assert set(changed) >= refused
    # Nothing else moved: everything else fits as it was.
    assert {name for name, kind in changed.items() if kind == "moved"} == set()
    now = {name: file.version for name, file in files.items()}
    for file in files.values():
        assert re.fullmatch("sha256:[0-9a-f]{64}", file.sha256)
        for line in requires(file.url):
            wanted = Requirement(line)
            if holds(wanted, PYTHON):
                assert wanted.specifier.contains(now[canonicalize_name(wanted.name)], prereleases=True), line
    packages = [each.package().model_copy(update={"version": now[each.name]}) for each in installed]
    assert {verdict.decision for verdict in judged(packages)} == {"allow"}


def test_a_real_conflict_is_one_sentence(
    upstream: Upstream, court: Court, installed: list[PythonPackage]
) -> None:
    with pytest.raises(Permanent) as caught:
        lock(upstream, court, installed, "jinja2<3.1.5", "click<99", "flask<4")
    said = str(caught.value)
    assert "pkg:pypi/jinja2@3.1.4 is refused" in said
    assert (
        "are excluded by jinja2<3.1.5, a constraint of the workload; loosen that constraint or waive" in said
    )
    assert "click<99" not in said


def test_a_conflict_far_from_what_is_refused(
    upstream: Upstream, court: Court, installed: list[PythonPackage]
) -> None:
    """Every jinja2 since 3.1.5 needs the same markupsafe; dash 2.17.1 needs flask<3.1, which any jinja2 suits."""
    older = [
        each.model_copy(update={"version": "1.1.1"}) if each.name == "markupsafe" else each
        for each in installed
        if each.name != "markupsafe"
    ]
    with pytest.raises(Permanent) as caught:
        lock(upstream, court, older, CONSTRAINT, "markupsafe<2")
    assert "are excluded by markupsafe<2, a constraint of the workload" in str(caught.value)


def test_a_candidate_of_the_index_is_what_an_installer_would_take(upstream: Upstream, court: Court) -> None:
    offer = Offer(upstream.index, court.packages, PYTHON, TAGS)
    found = offer.candidates("jinja2", "3.1.4")
    assert found[:2] == ["3.1.5", "3.1.6"]
    assert offer.file(Pin("jinja2", "3.1.5")) is not None
