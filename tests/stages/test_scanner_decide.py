"""Which packages of a manifest are judged, and as what."""

from __future__ import annotations

import pytest

from functions.scanner.decide import judged, subjects
from shared.errors import Permanent
from shared.model.manifest import DirectUrl
from shared.model.value import sha256
from shared.model.verdict import AdvisorySource, RuleAnswer, Verdict, Verdicts
from shared.model.workload import OwnWheel
from tests.stages.world import FETCHED, WORKLOAD
from tests.support.claims import debian, environment, manifest, python
from tests.support.market import Market

GIT = DirectUrl(url="git+https://git.test/lib")


def test_everything_on_the_machine_is_asked_about_once_in_a_fixed_order() -> None:
    bash = debian(Market().deb("bash", "5.2-1"))
    first = environment(python("lib", "1.0"), python("app", "1.0", in_base=True))
    second = environment(python("lib", "1.0"), path="/opt/x")
    managed = environment(python("pip", "25.1"), managed=True)
    held = manifest([bash], first, second, managed, generic=(FETCHED,))
    found = subjects(held, WORKLOAD)
    assert [each.package.purl for each in found] == [
        "pkg:deb/debian/bash@5.2-1?arch=amd64&distro=debian-13",
        f"pkg:generic/data.bin@sha256%3A{FETCHED.sha256[7:]}",
        "pkg:pypi/app@1.0",
        "pkg:pypi/lib@1.0",
    ]
    assert [each.in_base for each in found] == [True, False, True, False]
    assert found[1].fetched_by_url == FETCHED.url
    assert subjects(manifest([bash], second, first, managed, generic=(FETCHED,)), WORKLOAD) == found


@pytest.mark.parametrize("first", [True, False])
def test_what_came_from_a_url_in_one_environment_is_judged_so_for_all(first: bool) -> None:
    plain = environment(python("lib", "1.0"))
    other = environment(python("lib", "1.0", direct_url=GIT), path="/opt/x")
    environments = (other, plain) if first else (plain, other)
    (found,) = subjects(manifest((), *environments), WORKLOAD)
    assert found.direct_url == GIT.url


@pytest.mark.parametrize("spelled", ["2024.7", "2024.07"])
def test_an_own_wheel_is_known_however_its_version_is_spelled(spelled: str) -> None:
    wheel = OwnWheel(path="wheels/my_lib-2024.7-py3-none-any.whl", sha256=sha256(b""))
    workload = WORKLOAD.model_copy(update={"wheels": (wheel,)})
    (found,) = subjects(manifest((), environment(python("my-lib", spelled))), workload)
    assert found.own_wheel


@pytest.mark.parametrize(("version", "direct"), [("2024.8", None), ("2024.6", GIT), ("2024.7.post1", None)])
def test_another_version_under_an_own_wheels_name_is_a_strangers(
    version: str, direct: DirectUrl | None
) -> None:
    wheel = OwnWheel(path="wheels/my_lib-2024.7-py3-none-any.whl", sha256=sha256(b""))
    workload = WORKLOAD.model_copy(update={"wheels": (wheel,)})
    stranger = python("my-lib", version, direct_url=direct)
    with pytest.raises(Permanent, match="not the workload's own wheel my_lib-2024"):
        subjects(manifest((), environment(stranger)), workload)
    # What the machine brought along, or dpkg installed, takes nobody's place.
    (base,) = subjects(manifest((), environment(stranger.model_copy(update={"in_base": True}))), workload)
    assert not base.own_wheel
    assert subjects(manifest((), environment(stranger, managed=True)), workload) == ()


def test_an_own_wheel_that_is_not_named_as_one_is_refused() -> None:
    wheel = OwnWheel(path="wheels/mylib.whl", sha256=sha256(b""))
    with pytest.raises(Permanent, match="is not named as a wheel is"):
        subjects(manifest(), WORKLOAD.model_copy(update={"wheels": (wheel,)}))


@pytest.mark.parametrize("count", [200, 201])
def test_a_runs_document_names_so_many_held_packages_and_counts_them_all(count: int) -> None:
    """It ends at 1 MiB; the stored verdicts name each."""
    source = AdvisorySource(source="none", date="2026-11-20T00:00:00Z", digest=sha256(b""))
    held = RuleAnswer(rule="undecided", answer="hold", reason="nobody knows")
    verdicts = tuple(
        Verdict(
            package=python(f"p{n}", "1").package(),
            decision="hold",
            rules=(held,),
            findings=(),
            policy=sha256(b""),
            advisories=source,
        )
        for n in range(count)
    )
    stored = Verdicts(manifest=sha256(b""), case=sha256(b""), verdicts=verdicts)
    put, counts = judged("run-1", stored, stored.digest, 0.0)
    told = put.fields["held"]
    assert (len(told["packages"]), told["total"], counts["hold"]) == (200, count, count)
    assert told["packages"][0] == {"purl": "pkg:pypi/p0@1", "until": ""}
