"""`./dmz test`: what follows is pytest's."""

from __future__ import annotations

from pathlib import Path

import pytest

from functions.ctl import check, cli


@pytest.mark.parametrize("words", [["-k", "nothing", "--co"], ["tests/model", "-q"], ["--help"], []])
def test_whatever_follows_is_handed_on(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr("functions.ctl.check.check", lambda arguments: seen.append([*arguments]) or 5)
    assert cli.main(["test", *words]) == 5
    assert seen == [words]


FAILS_ONCE = """
from pathlib import Path
def test_fails_beside_others():
    mark = Path(__file__).with_name("ran")
    was = mark.exists()
    mark.touch()
    assert was
"""


@pytest.mark.parametrize(
    ("also", "arguments", "code"),
    [("", [], 0), ("def test_wrong(): assert False", [], 1), ("", ["--verbose"], 1)],
    ids=["alone-it-passes", "wrong-twice", "chosen-tests"],
)
def test_what_failed_beside_others_runs_once_more_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    also: str,
    arguments: list[str],
    code: int,
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]")
    (tmp_path / "test_sometimes.py").write_text(FAILS_ONCE + also)
    (tmp_path / "test_other.py").write_text("def test_right(): pass")
    monkeypatch.setattr(check, "CHECKOUT", tmp_path)
    monkeypatch.setattr(check, "_LAST_FAILED", tmp_path / ".pytest_cache/v/cache/lastfailed")
    assert check._tests(arguments) == code
    said = capfd.readouterr().err
    assert ("These passed only alone" in said) == (code == 0)
    assert ("once more, alone:\n  test_sometimes.py::test_fails_beside_others" in said) == (not arguments)


def test_many_failures_are_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]")
    (tmp_path / "test_sometimes.py").write_text(FAILS_ONCE)
    monkeypatch.setattr(check, "CHECKOUT", tmp_path)
    monkeypatch.setattr(check, "_LAST_FAILED", tmp_path / ".pytest_cache/v/cache/lastfailed")
    monkeypatch.setattr(check, "ONCE_MORE_AT_MOST", 0)
    assert check._tests([]) == 1
    assert "once more" not in capfd.readouterr().err
