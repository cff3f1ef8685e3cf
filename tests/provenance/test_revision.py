"""What the sources of an image are called: a commit only if it holds every byte of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from functions.ctl import rebuild
from shared.image import spec as specs
from tests.provenance.world import ALICE, World, committed, git


def test_outside_git_the_sources_name_themselves(world: World) -> None:
    assert world.rebuild("alice", ALICE) == 0
    first = world.stated("alice").revision
    assert first.startswith("tree:sha256:")
    os.utime(world.at / "src/main.py", (0, 0))
    assert world.rebuild("alice", ALICE) == 0
    assert world.stated("alice").revision == first
    for change in (
        lambda: (world.at / "src/main.py").chmod(0o755),
        lambda: (world.at / "src/more.py").write_text("x = 1\n"),
        lambda: (world.at / "src/more.py").rename(world.at / "src/other.py"),
    ):
        change()
        assert world.rebuild("alice", ALICE) == 0
        assert world.stated("alice").revision != first
        first = world.stated("alice").revision


def test_a_commit_that_holds_everything_names_the_sources(world: World) -> None:
    head = committed(world)
    (world.at / "notes.txt").write_text("not in the image\n")
    os.utime(world.at / "src/main.py", (0, 0))
    assert world.rebuild("alice", ALICE) == 0
    assert world.stated("alice").revision == head


def commit_something_ignored(world: World) -> None:
    (world.at / ".gitignore").write_text("src/secret.py\n")
    committed(world)
    (world.at / "src/secret.py").write_text("x = 1\n")


def assume_unchanged(world: World) -> None:
    committed(world)
    git(world, "update-index", "--assume-unchanged", "src/main.py")
    (world.at / "src/main.py").write_text("import evil\n")


def line_ends(world: World) -> None:
    """Git would call the file unchanged, but its bytes are not the commit's."""
    committed(world)
    git(world, "config", "core.autocrlf", "true")
    (world.at / "src/main.py").write_bytes(b"import demo\r\n")


DIRTY = {
    "a changed source": lambda world: (committed(world), (world.at / "src/main.py").write_text("x = 1\n")),
    "a new source": lambda world: (committed(world), (world.at / "src/more.py").write_text("x = 1\n")),
    "a new source, staged": lambda world: (
        committed(world),
        (world.at / "src/more.py").write_text("x = 1\n"),
        git(world, "add", "-A"),
    ),
    "an executable bit": lambda world: (committed(world), (world.at / "src/main.py").chmod(0o755)),
    "a changed lock": lambda world: (
        committed(world),
        specs.lock_path(world.spec).write_text(specs.lock_path(world.spec).read_text() + "\n"),
    ),
    "a changed spec": lambda world: (committed(world), world.spec.write_text(world.spec.read_text() + "\n")),
    "an ignored source": commit_something_ignored,
    "a source that git was told to pass over": assume_unchanged,
    "other line ends": line_ends,
    "no commit yet": lambda world: git(world, "init", "-q"),
}


@pytest.mark.parametrize("case", DIRTY)
def test_a_commit_that_does_not_hold_everything_names_nothing(case: str, world: World) -> None:
    DIRTY[case](world)
    assert world.rebuild("alice", ALICE) == 0
    assert world.stated("alice").revision.startswith("tree:sha256:")


def test_a_calling_git_s_variables_do_not_answer_for_another_repository(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = committed(world)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "none"))
    assert world.rebuild("alice", ALICE) == 0
    assert world.stated("alice").revision == head


def test_sources_that_change_while_they_are_built(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build = rebuild.make

    def meanwhile(*given: Any) -> Any:
        made = build(*given)
        (world.at / "src/main.py").write_text("x = 2\n")
        return made

    monkeypatch.setattr(rebuild, "make", meanwhile)
    assert world.rebuild("alice", ALICE) == 1
    assert "changed while they were built" in capsys.readouterr().err
    assert not (world.home / "alice.json").exists()


def test_a_commit_of_something_else_meanwhile_is_no_change(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, build = committed(world), rebuild.make

    def meanwhile(*given: Any) -> Any:
        made = build(*given)
        (world.at / "notes.txt").write_text("not in the image\n")
        committed(world)
        return made

    monkeypatch.setattr(rebuild, "make", meanwhile)
    assert world.rebuild("alice", ALICE) == 0
    assert world.stated("alice").revision == head
