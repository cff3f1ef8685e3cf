"""What is asked of a manifest as a whole, and how long a run may take."""

from __future__ import annotations

import pytest

from functions.outer.decide import check_manifest, overdue
from shared.errors import Permanent
from shared.model.manifest import ClaimedManifest
from shared.retention import DAY, RUN_DAYS, WITH_RUN_DAYS
from tests.support.claims import debian, environment, manifest, python
from tests.support.market import Market

BASH = debian(Market().deb("bash", "5.2-1"))


def many(environments: int, packages: int) -> ClaimedManifest:
    held = [python(f"package-{n}", "1.0") for n in range(packages)]
    return manifest([BASH], *(environment(*held, path=f"/opt/{n}") for n in range(environments)))


def test_a_large_machine_is_believed_an_absurd_one_is_not() -> None:
    check_manifest(many(4, 5000), "small")
    with pytest.raises(Permanent, match="names 20004 Python packages"):
        check_manifest(many(4, 5001), "small")


def test_one_package_for_two_architectures_is_two() -> None:
    check_manifest(manifest([BASH, BASH.model_copy(update={"architecture": "i386"})]), "small")


@pytest.mark.parametrize(("minutes", "limit"), [(1, 62), (45, 150), (240, 540)])
def test_a_run_may_take_two_installs_and_an_hour(minutes: int, limit: int) -> None:
    run = {"stage": "sync", "requested": 1000.0, "install_minutes": minutes}
    assert overdue(run, 1000.0 + limit * 60) == ""
    assert f"stuck in the stage sync: it has not ended within {limit} minutes" in overdue(
        run, 1001.0 + limit * 60
    )


def test_each_zone_and_the_queue_give_a_run_more_time() -> None:
    run = {"stage": "outer", "requested": 0.0, "install_minutes": 10, "queue_minutes": 100}
    assert overdue(run, 280 * 60) == ""
    assert "within 280 minutes" in overdue(run, 281 * 60)
    run["machines"] = {"outer": {"zone": "c", "tried": [{}, {}]}, "inner": {"zone": "b", "tried": [{}]}}
    assert overdue(run, (280 + 3 * 120) * 60) == ""
    assert "within 640 minutes" in overdue(run, 641 * 60)


def test_no_run_outlives_what_its_document_names() -> None:
    run = {"stage": "outer", "requested": 0.0, "install_minutes": 240, "queue_minutes": 7 * 24 * 60}
    run["machines"] = {"outer": {"zone": "c", "tried": [{}] * 19}}
    assert overdue(run, 28 * DAY) == ""
    assert overdue(run, 28 * DAY + 1)
    assert WITH_RUN_DAYS - RUN_DAYS > 28


def test_a_run_of_which_nobody_knows_when_it_began_is_left_alone() -> None:
    assert overdue({"stage": "outer"}, 1e12) == ""
