"""The sync plan: everything that a lock needs, what is missing of it, and shards that lose nothing."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from functions.sync import decide
from shared import carrier
from shared.errors import Permanent
from shared.model import plan
from shared.model.lock import Lock, LockedArchive, LockedEnvironment, LockedGeneric, LockedPython
from shared.model.plan import Plan, Size, Transfer, split, transfers
from shared.model.value import sha256
from tests.support.market import TRIXIE


def wheel(name: str, build: tuple[LockedPython, ...] = ()) -> LockedPython:
    return LockedPython(
        name=name,
        version="1.0",
        filename=f"{name}-1.0-py3-none-any.whl",
        sha256=sha256(name.encode()),
        url=f"https://files.test/{name}",
        record=None,
        build=build,
    )


def generic(number: int, size: int) -> LockedGeneric:
    return LockedGeneric(url=f"https://files.test/{number}", sha256=sha256(b"%d" % number), size=size)


def archive(name: str) -> LockedArchive:
    return LockedArchive(
        name=name,
        version="1-1",
        architecture="amd64",
        source_name=name,
        source_version="1-1",
        filename=f"{name}.deb",
        url=f"https://deb.test/{name}.deb",
        sha256=sha256(name.encode()),
        size=10,
        suite="trixie",
    )


def lock(*environments: tuple[LockedPython, ...]) -> Lock:
    return Lock(
        workload="small",
        manifest=sha256(b""),
        release=TRIXIE,
        environments=tuple(
            LockedEnvironment(path=f"/opt/{i}", python="3.13.5", virtual=True, packages=packages)
            for i, packages in enumerate(environments)
        ),
        debian=(archive("jq"),),
        generic=(generic(1, 5),),
        changes=(),
    )


def test_a_lock_needs_each_content_once_per_repository() -> None:
    builder = wheel("builder")
    made = lock((wheel("a"), wheel("old", (builder,))), (wheel("a"), builder))
    found = transfers(made, "pip", "trixie", "files")
    assert [(each.repository, each.sha256) for each in found] == [
        ("pip", wheel("a").sha256),
        ("pip", wheel("old").sha256),
        ("pip", builder.sha256),
        ("trixie", archive("jq").sha256),
        ("files", generic(1, 5).sha256),
    ]


def test_what_is_held_under_a_name_with_other_bytes_is_missing() -> None:
    found = transfers(lock((wheel("a"),)), "pip", "trixie", "files")
    held = {"pip": {sha256(b"other bytes")}, "trixie": {archive("jq").sha256}, "files": set[str]()}
    assert [each.repository for each in decide.missing(found, held, ())] == ["pip", "files"]
    # The same bytes in another repository are not here.
    held["trixie"] |= {wheel("a").sha256}
    assert [each.repository for each in decide.missing(found, held, ())] == ["pip", "files"]


def test_a_file_by_url_is_missing_until_it_is_here_and_its_url_is_proved() -> None:
    (one,) = (each for each in transfers(lock(), "pip", "trixie", "files") if each.generic)
    moved = generic(1, 5).model_copy(update={"url": "https://files.test/other"})
    other = Transfer(repository="files", generic=moved)
    held = {"files": {one.sha256}}
    assert decide.missing((one, other), held, ()) == (one, other)
    assert decide.missing((one, other), held, {one.proof}) == (other,)
    assert decide.missing((one,), {"files": set[str]()}, {one.proof}) == (one,)
    assert carrier.proof(one).id == one.proof != other.proof


def test_the_same_bytes_of_two_urls_are_two_transfers() -> None:
    first = generic(1, 5)
    second = first.model_copy(update={"url": "https://files.test/other"})
    made = lock().model_copy(update={"generic": (first, second)})
    found = [each.generic for each in transfers(made, "pip", "trixie", "files") if each.generic]
    assert found == [first, second]


def sized(sizes: list[int]) -> list[tuple[Transfer, int]]:
    return [
        (Transfer(repository="files", generic=generic(number, size)), size)
        for number, size in enumerate(sizes)
    ]


@given(st.lists(st.integers(0, 500), max_size=60), st.integers(1, 300), st.integers(1, 7))
def test_shards_hold_everything_once_and_no_more_than_the_limits(
    sizes: list[int], limit: int, most: int
) -> None:
    missing = sized(sizes)
    weights = dict(missing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "MOST_FILES", most)
        shards = split(missing, limit)
        assert split(missing[::-1], limit) == shards
    assert sorted(each.sha256 for one in shards for each in one) == sorted(each.sha256 for each in weights)
    assert all(sum(weights[each] for each in one) <= limit or len(one) == 1 for one in shards)
    assert all(len(one) <= most for one in shards)
    assert all(one for one in shards) or shards == ((),)


def test_shards_are_about_equally_heavy() -> None:
    """The slowest one is what a run waits for."""
    missing = sized([number % 17 + 1 for number in range(1000)])
    weights = dict(missing)
    heavy = [sum(weights[each] for each in one) for one in split(missing, 400)]
    assert len(heavy) == -(-sum(weights.values()) // 400)
    assert max(heavy) - min(heavy) <= 17


def test_a_file_that_is_too_large_for_any_shard_is_one() -> None:
    shards = split(sized([5, 11, 5, 30]), 10)
    assert [len(one) for one in shards] == [1, 1, 2]


def test_nothing_missing_is_one_empty_shard_that_closes_the_run() -> None:
    assert split((), 1) == ((),)


def test_a_plan_names_its_shards_in_one_way() -> None:
    empty: tuple[tuple[Transfer, ...], ...] = ((),)
    assert (
        Plan(lock=sha256(b""), shards=empty).count,
        Plan(lock=sha256(b""), parts=(sha256(b""),)).count,
    ) == (
        1,
        1,
    )
    for given_ in ({}, {"shards": empty, "parts": (sha256(b""),)}):
        with pytest.raises(ValueError, match="either parts or shards"):
            Plan(lock=sha256(b""), **given_)


def test_a_file_that_no_instance_holds_is_refused_before_anything_is_fetched() -> None:
    sizes = {Transfer(repository="pip", python=wheel("a")): Size(count=11, promised=False)}
    decide.check_sizes(sizes, 11)
    with pytest.raises(
        Permanent, match=r"a-1\.0-py3-none-any\.whl has 11 bytes, and no file of more than 10 is"
    ):
        decide.check_sizes(sizes, 10)
    with pytest.raises(Permanent, match=r"https://files\.test/1 has 11 bytes"):
        decide.check_sizes(
            {Transfer(repository="files", generic=generic(1, 11)): Size(count=11, promised=True)}, 10
        )


def test_a_transfer_names_a_file() -> None:
    with pytest.raises(ValueError, match="names a file"):
        Transfer(repository="pip").file  # noqa: B018 - reading it is what fails
