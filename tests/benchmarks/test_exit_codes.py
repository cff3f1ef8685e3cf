"""A benchmark that is slower than its limit fails. The limits themselves are held by hand, not in every test run."""

from __future__ import annotations

import pytest

from tests.benchmarks import bench_appraisal, bench_chain, bench_matching, bench_peers, bench_scan, bench_sync


@pytest.mark.parametrize(("ratios", "code"), [([0.8, 1.5, 9.0], 0), ([1.0, 1.51, 1.6], 1), ([3.5], 1)])
def test_sync_fails_above_one_and_a_half_times_its_peers(ratios: list[float], code: int) -> None:
    assert bench_sync.ended(ratios) == code


def test_a_slow_second_sync_fails() -> None:
    assert bench_sync.ended([1.0], [1.9, 1.9, 3.0]) == 0
    assert bench_sync.ended([1.0], [1.9, 2.1, 3.0]) == 1


@pytest.mark.parametrize(
    ("peer", "rounds", "code"),
    [
        ("scripts", [(1.0, 10.0), (2.0, 19.0), (1.0, 30.0)], 0),
        ("scripts", [(1.0, 9.9)], 1),
        ("bandersnatch", [(1.0, 1.1), (2.0, 2.1), (1.0, 0.5)], 0),
        ("bandersnatch", [(2.0, 2.0)], 1),
        ("bandersnatch and curl", [(2.0, 1.9), (1.0, 5.0)], 0),
        ("bandersnatch and curl", [(2.0, 1.9)], 1),
    ],
)
def test_peers_fail_where_one_is_not_as_far_behind(
    peer: str, rounds: list[tuple[float, float]], code: int
) -> None:
    assert bench_peers.ended(peer, rounds) == code


@pytest.mark.parametrize(("cold", "code"), [(0.35, 0), (0.999, 0), (1.0, 1), (2.5, 1)])
def test_scan_fails_from_a_second_on(cold: float, code: int) -> None:
    assert bench_scan.ended(cold, 0.1) == code


@pytest.mark.parametrize(("ratios", "code"), [([0.34, 0.4], 0), ([1 / 3], 0), ([0.5, 0.33], 1)])
def test_appraisal_fails_below_a_third_of_the_bare_signature_check(ratios: list[float], code: int) -> None:
    assert bench_appraisal.ended(ratios) == code


@pytest.mark.parametrize(
    ("index", "matched", "memory", "cold", "code"),
    [
        (0.9, 0.09, 59, 1.9, 0),
        (1.0, 0.09, 59, 1.9, 1),
        (0.9, 0.1, 59, 1.9, 1),
        (0.9, 0.09, 60, 1.9, 1),
        (0.9, 0.09, 59, 2.0, 1),
    ],
)
def test_matching_fails_at_each_of_its_limits(
    index: float, matched: float, memory: float, cold: float, code: int
) -> None:
    slower = bench_matching.Round(2.0, 0.2, 40, 3.0, 9.0, 2.0)
    assert (
        bench_matching.ended([slower, bench_matching.Round(index, matched, memory, cold, 1.0, 2.5)]) == code
    )


def test_a_chain_that_does_not_complete_fails_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMZ_PORTS", "many")
    with pytest.raises(SystemExit, match=r"The run did not complete: .*DMZ_PORTS must be the number"):
        bench_chain.main("quickstart", 1)
