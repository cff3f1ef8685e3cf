"""What the tests need is named in one sentence; in CI a test that cannot run is a failure."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.terraform import conftest, harness


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a Terraform on PATH that says of itself what is asked for."""
    monkeypatch.setenv("PATH", os.fspath(tmp_path))

    def put(words: str) -> None:
        program = tmp_path / "terraform"
        program.write_text(f"#!/bin/sh\necho '{words}'\n")
        program.chmod(0o755)

    return put


def test_a_terraform_that_is_not_there_is_named(pretend: Any) -> None:
    assert harness.lacking().startswith("terraform is not on PATH: install Terraform 1.9 or later (https://")


@pytest.mark.parametrize(
    "words", ["Terraform v1.8.5", "Terraform v0.15.0", "Terraform v2.0.0", "rubbish", ""]
)
def test_one_of_another_age_is_named(pretend: Any, words: str) -> None:
    pretend(words)
    assert ": install Terraform 1.9 or later" in harness.lacking()


@pytest.mark.parametrize("words", ["Terraform v1.9.0", "Terraform v1.13.0-beta1"])
def test_one_that_will_do_is_not(pretend: Any, words: str) -> None:
    pretend(words)
    assert harness.lacking() == ""


@pytest.mark.parametrize(("given", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_without_it_tests_are_skipped_but_in_ci_they_fail(
    pretend: Any, given: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", given)
    made = cast(Any, conftest.terraform).__wrapped__(SimpleNamespace())
    with pytest.raises(outcome, match="terraform is not on PATH"):
        next(made)
