"""Commands and scripts: their output, their end, their time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from shared.guest import process
from shared.guest.failure import GuestError


def test_output_comes_line_by_line_with_errors_among_it(tmp_path: Path) -> None:
    lines: list[str] = []
    script = 'echo one\necho two >&2\ncat\nprintf "$X"\nexit 3\n'
    done = process.script(script, tmp_path / "s.sh", {"PATH": process.PATH, "X": "three"}, lines.append, 20)
    assert done.exit_code == 3
    assert [line.strip() for line in lines] == ["one", "two", "three"]


@pytest.mark.parametrize(
    "text", ["false\necho reached\n", "echo $unset\necho reached\n", "false | cat\necho reached\n"]
)
def test_scripts_stop_at_the_first_error(text: str, tmp_path: Path) -> None:
    lines: list[str] = []
    assert process.script(text, tmp_path / "s.sh", process.BASE, lines.append, 20).exit_code == 1
    assert "reached\n" not in lines


def test_after_its_time_a_command_is_killed_with_its_children(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    started = time.monotonic()
    with pytest.raises(GuestError, match="did not end within 1 seconds"):
        process.run(["sh", "-c", f"(sleep 2; touch {mark}) & wait"], process.BASE, print, timeout=1)
    time.sleep(2.0)
    assert not mark.exists()
    assert time.monotonic() - started < 8


def test_what_a_command_leaves_behind_is_not_waited_for() -> None:
    started = time.monotonic()
    assert process.run(["sh", "-c", "sleep 60 & echo done"], process.BASE, print, timeout=30).exit_code == 0
    assert time.monotonic() - started < 20


def test_a_failure_is_a_sentence() -> None:
    with pytest.raises(GuestError, match=r"sh -c exit 7 ended with exit code 7\."):
        process.check(["sh", "-c", "exit 7"], process.BASE, print)
    with pytest.raises(GuestError, match=r"ended with signal SIGKILL"):
        process.check(["sh", "-c", "kill -9 $$"], process.BASE, print)
