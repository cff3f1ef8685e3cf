"""`./dmz test`: what follows is pytest's."""

from __future__ import annotations

import pytest

from functions.ctl import cli


@pytest.mark.parametrize("words", [["-k", "nothing", "--co"], ["tests/model", "-q"], ["--help"], []])
def test_whatever_follows_is_handed_on(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr("functions.ctl.check.check", lambda arguments: seen.append([*arguments]) or 5)
    assert cli.main(["test", *words]) == 5
    assert seen == [words]
