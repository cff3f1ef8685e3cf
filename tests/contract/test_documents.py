"""What a stage may expect of documents."""

from __future__ import annotations

import time
from typing import Any

import pytest

from shared.errors import DmzError, Permanent, Transient
from shared.ports.store import MAX_INDEXED, AtLeast, Create, Document, Increment, Put, Store

ODD_IDS = [
    "pkg:pypi/some%2Fthing@1.0?x=y#z",
    ".",
    "..",
    "__reserved__",
    "__x",
    "a b\tc",
    "~",
    "~YWJj",
    "",
    "ü" * 300,
    "x" * 1000,
    "a/b/c",
    "/",
    "new\nline",
    "\x00",
]


def test_an_absent_document_is_none(store: Store) -> None:
    assert store.get("runs", "absent") is None


def test_put_replaces_the_whole_document(store: Store) -> None:
    store.put([Put("runs", "r", {"a": 1, "b": 2})])
    store.put([Put("runs", "r", {"b": 3})])
    assert store.get("runs", "r") == {"b": 3}


def test_collections_are_apart(store: Store) -> None:
    store.put([Put("runs", "r", {"a": 1}), Put("locks", "r", {"a": 2})])
    assert store.get("runs", "r") == {"a": 1}
    assert store.get("locks", "r") == {"a": 2}


VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    2**62,
    1.5,
    "",
    "text",
    "\x00\x1b\n",
    b"bytes",
    [],
    {},
    ["a", {"b": ["c"]}],
    {"x": {"y": {"z": 1}}},
    {"dots.in.names": 1, "and`ticks": 2, "spaces in names": 3},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back_as_they_were(store: Store, value: Any) -> None:
    store.put([Put("things", "t", {"value": value})])
    assert store.get("things", "t") == {"value": value}


def test_tuples_come_back_as_lists(store: Store) -> None:
    store.put([Put("things", "t", {"value": ("a", ("k", {"x": ("y",)})[1])})])
    assert store.get("things", "t") == {"value": ["a", {"x": ["y"]}]}


def test_what_was_read_or_written_is_not_shared(store: Store) -> None:
    fields = {"list": [1], "map": {"a": 1}}
    store.put([Put("things", "t", fields)])
    fields["list"].append(2)  # type: ignore[attr-defined]
    read = store.get("things", "t")
    assert read == {"list": [1], "map": {"a": 1}}
    read["map"]["a"] = 9
    assert store.get("things", "t") == {"list": [1], "map": {"a": 1}}


MERGES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
    ({"a": 1}, {"a": 2}, {"a": 2}),
    ({"a": {"x": 1}}, {"a": {"y": 2}}, {"a": {"x": 1, "y": 2}}),
    ({"a": {"x": {"p": 1}}}, {"a": {"x": {"q": 2}}}, {"a": {"x": {"p": 1, "q": 2}}}),
    ({"a": {"x": 1}}, {"a": 3}, {"a": 3}),
    ({"a": 3}, {"a": {"x": 1}}, {"a": {"x": 1}}),
    ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
    ({"a": [{"x": 1}]}, {"a": [{"y": 2}]}, {"a": [{"y": 2}]}),
    ({"a": {"x": 1}}, {"a": None}, {"a": None}),
    ({"a": {"x": 1}}, {"a": {}}, {"a": {}}),
    ({"a": 1}, {}, {"a": 1}),
    ({"a": {"x.y": 1}}, {"a": {"x.y": 2, "x": 3}}, {"a": {"x.y": 2, "x": 3}}),
    ({"a.b": 1}, {"a": {"b": 2}}, {"a.b": 1, "a": {"b": 2}}),
    ({}, {"a": {"x": {}}}, {"a": {"x": {}}}),
    ({"a": {"x": {"k": 1}}}, {"a": {"x": {}}}, {"a": {"x": {}}}),
]


@pytest.mark.parametrize(("before", "merged", "after"), MERGES, ids=lambda value: repr(value))
def test_merge_goes_into_maps_and_replaces_everything_else(
    store: Store, before: dict[str, Any], merged: dict[str, Any], after: dict[str, Any]
) -> None:
    store.put([Put("things", "t", before)])
    store.put([Put("things", "t", merged, merge=True)])
    assert store.get("things", "t") == after


def test_merge_creates_what_is_absent(store: Store) -> None:
    store.put([Put("things", "t", {"a": {"b": 1}}, merge=True)])
    assert store.get("things", "t") == {"a": {"b": 1}}


def test_increment_begins_at_zero_and_adds(store: Store) -> None:
    store.put([Increment("runs", "r", "n", 2)])
    store.put([Increment("runs", "r", "n", 3), Increment("runs", "r", "m", -1)])
    assert store.get("runs", "r") == {"n": 5, "m": -1}


def test_a_number_is_raised_and_never_lowered(store: Store) -> None:
    for value, after in ((5, 5), (3, 5), (5, 5), (9, 9)):
        store.put([AtLeast("releases", "r", "date", value)])
        assert store.get("releases", "r") == {"date": after}
    store.put([Put("releases", "r", {"url": "u"}, merge=True), AtLeast("releases", "r", "date", 7)])
    assert store.get("releases", "r") == {"date": 9, "url": "u"}


def test_writes_of_one_batch_apply_in_order(store: Store) -> None:
    store.put(
        [Put("runs", "r", {"n": 1}), Increment("runs", "r", "n", 1), Put("runs", "r", {"s": "x"}, merge=True)]
    )
    assert store.get("runs", "r") == {"n": 2, "s": "x"}


def test_create_fails_on_what_exists_and_takes_the_batch_with_it(store: Store) -> None:
    store.put([Create("shards", "s", {"by": "first"})])
    with pytest.raises(Transient, match="exists already"):
        store.put(
            [Put("runs", "r", {}), Increment("runs", "r", "n", 1), Create("shards", "s", {"by": "second"})]
        )
    assert store.get("runs", "r") is None
    assert store.get("shards", "s") == {"by": "first"}


def test_two_creates_of_one_document_in_one_batch_fail(store: Store) -> None:
    with pytest.raises(DmzError):
        store.put([Create("shards", "s", {"n": 1}), Create("shards", "s", {"n": 2})])
    assert store.get("shards", "s") is None


def test_an_empty_batch_is_nothing(store: Store) -> None:
    store.put([])
    store.put_many("runs", {})


REFUSED: list[Any] = [[[1]], 2**70, {"": 1}]


@pytest.mark.parametrize("value", REFUSED, ids=repr)
def test_what_the_store_cannot_hold_is_permanent(store: Store, value: Any) -> None:
    with pytest.raises(Permanent):
        store.put([Put("things", "t", {"value": value})])
    with pytest.raises(Permanent):
        store.finish(store.claim("scanner:x", 0, 10), [Put("things", "t", {"value": value})], [], 1)
    assert store.get("things", "t") is None


def test_a_document_over_a_megabyte_is_permanent(store: Store) -> None:
    with pytest.raises(Permanent):
        store.put([Put("things", "t", {"value": "x" * 1_100_000})])


@pytest.mark.parametrize("id", ODD_IDS, ids=lambda id: ascii(id[:20]))
def test_any_text_is_an_id(store: Store, id: str) -> None:
    store.put([Create("things", id, {"n": 1, "same": "x"})])
    store.put([Increment("things", id, "n", 1)])
    assert store.get("things", id) == {"n": 2, "same": "x"}
    assert store.find("things", "same", "x") == [(id, {"n": 2, "same": "x"})]


def test_no_two_odd_ids_are_one_document(store: Store) -> None:
    store.put_many("things", {id: {"is": id} for id in ODD_IDS})
    assert [store.get("things", id) for id in ODD_IDS] == [{"is": id} for id in ODD_IDS]


def test_an_id_that_is_too_long_is_permanent(store: Store) -> None:
    with pytest.raises(Permanent, match="1000 bytes"):
        store.put([Put("things", "x" * 1001, {})])
    with pytest.raises(Permanent, match="1000 bytes"):
        store.get("things", "ü" * 501)


def test_two_thousand_documents_at_once(store: Store) -> None:
    documents = {
        f"pkg:pypi/name-{number}@1.0": {"n": number, "even": number % 2 == 0} for number in range(2000)
    }
    started = time.monotonic()
    store.put_many("verdicts", documents)
    assert time.monotonic() - started < 15
    assert len(store.find("verdicts", "even", True)) == 1000
    assert store.get("verdicts", "pkg:pypi/name-1999@1.0") == {"n": 1999, "even": False}


def test_put_many_replaces(store: Store) -> None:
    store.put_many("verdicts", {"a": {"x": 1}, "b": {"x": 1}})
    store.put_many("verdicts", {"a": {"y": 2}})
    assert store.get("verdicts", "a") == {"y": 2}
    assert store.get("verdicts", "b") == {"x": 1}


def test_find_gives_ids_and_documents_in_order(store: Store) -> None:
    failed: dict[str, Document] = {"b": {"state": "failed"}, "a": {"state": "failed", "n": 1}}
    store.put_many("runs", failed | {"c": {"state": "done"}, "d": {}})
    assert store.find("runs", "state", "failed") == [
        ("a", {"state": "failed", "n": 1}),
        ("b", {"state": "failed"}),
    ]
    assert store.find("runs", "state", "unheard of") == []
    assert store.find("nothing", "state", "failed") == []


@pytest.mark.parametrize(
    ("value", "asked", "found"),
    [
        (None, None, True),
        (True, True, True),
        (True, 1, False),
        (1, True, False),
        (1, 1.0, True),
        ("1", 1, False),
        (["a"], ["a"], True),
        (["a"], "a", False),
    ],
    ids=repr,
)
def test_find_compares_as_json_does(store: Store, value: Any, asked: Any, found: bool) -> None:
    store.put([Put("things", "t", {"value": value}), Put("things", "other", {"x": 1})])
    assert [id for id, _ in store.find("things", "value", asked)] == (["t"] if found else [])


def test_find_takes_no_text_that_is_longer_than_an_index_holds(store: Store) -> None:
    store.put([Put("things", "t", {"value": "é" * (MAX_INDEXED // 2)})])
    assert [id for id, _ in store.find("things", "value", "é" * (MAX_INDEXED // 2))] == ["t"]
    with pytest.raises(Permanent, match="at most 1400 bytes"):
        store.find("things", "value", "é" * (MAX_INDEXED // 2) + "x")


def test_find_gives_the_lowest_first_and_no_more_than_asked_for(store: Store) -> None:
    """What lacks the field by which is sorted has no place in that order."""
    for id, more in {"a": {"n": 3}, "b": {"n": 1.5}, "c": {}, "d": {"n": 2}, "e": {"n": 0}}.items():
        store.put([Put("things", id, {"state": "off" if id == "e" else "on", **more})])
    assert [id for id, _ in store.find("things", "state", "on", by="n")] == ["b", "d", "a"]
    assert store.find("things", "state", "on", by="n", limit=2) == [
        ("b", {"state": "on", "n": 1.5}),
        ("d", {"state": "on", "n": 2}),
    ]
    assert [id for id, _ in store.find("things", "state", "on", limit=3)] == ["a", "b", "c"]


def test_find_looks_into_maps_by_a_dotted_path(store: Store) -> None:
    store.put(
        [
            Put("things", "t", {"a": {"b": 1}}),
            Put("things", "u", {"a": {"b": 2}}),
            Put("things", "v", {"a": 1}),
        ]
    )
    assert [id for id, _ in store.find("things", "a.b", 1)] == ["t"]
