"""Trying again: random pauses, what the server asks for, and an end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from shared.errors import Permanent, Transient
from shared.patience import BUDGET, Busy, passing, persist, wanted
from tests.support.pauses import noted


def failing(times: int, error: Callable[[], Exception]) -> Callable[[], str]:
    left = [times]

    def work() -> str:
        if left[0]:
            left[0] -= 1
            raise error()
        return "done"

    return work


def test_pauses_grow_and_are_random(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = noted(monkeypatch)
    assert persist(failing(5, lambda: Transient("not now")), 6) == "done"
    for number, pause in enumerate(pauses, 1):
        assert 0.1 * 2**number <= pause <= 0.2 * 2**number
    assert len({pause / 2**number for number, pause in enumerate(pauses, 1)}) == 5


def test_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = noted(monkeypatch)
    with pytest.raises(Transient, match="not now"):
        persist(failing(9, lambda: Transient("not now")), 3)
    assert len(pauses) == 2
    with pytest.raises(Permanent):
        persist(failing(1, lambda: Permanent("never")), 3)
    assert len(pauses) == 2


def test_what_the_server_asks_for_is_not_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = noted(monkeypatch)
    assert persist(failing(2, lambda: Busy("not now", 7)), 3) == "done"
    assert [7 < pause < 8 for pause in pauses] == [True, True]


def test_the_budget_is_for_all_pauses_together(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = noted(monkeypatch)
    with pytest.raises(Busy):
        persist(failing(9, lambda: Busy("not now", BUDGET)), 9)
    assert pauses == []
    with pytest.raises(Busy):
        persist(failing(9, lambda: Busy("not now", 25)), 9)
    assert len(pauses) == 2


def test_both_forms_of_the_header() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=50), usegmt=True)
    assert 40 < wanted(soon) <= 50
    assert [wanted(text) for text in ("12", " 3 ", past, "", None, "soon", "-5", "1e9", "\u0663")] == [
        12,
        3,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ]
    assert wanted("Mon, 01 Jan 99999999999999999999 00:00:00 GMT") == 0


def test_the_sentence_says_for_how_long() -> None:
    busy, plain = passing("It is busy.", "30"), passing("It is busy.", None)
    assert (str(busy), type(busy)) == ("It is busy, and asks to be left alone for 30 s.", Busy)
    assert (str(plain), type(plain)) == ("It is busy.", Transient)
