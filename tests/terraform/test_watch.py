"""What alerts and TTL policies speak of is in the code; what the code still lacks is listed, and nothing beside."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from shared.serving import _log
from tests.terraform import watch_checks
from tests.terraform.harness import CHECKOUT
from tests.terraform.plans import resources


def test_log_lines_have_the_fields_that_metrics_count_by(capsys: pytest.CaptureFixture[str]) -> None:
    _log("outer", "ERROR", "words")
    assert set(json.loads(capsys.readouterr().err)) == watch_checks.WRITTEN


def test_fields_that_metrics_wait_for_are_not_written_yet(outer_plan: dict[str, Any]) -> None:
    """Once the attestation stage logs its answers, UNWRITTEN is empty and this test goes."""
    asked = set()
    for one in resources(outer_plan, "google_logging_metric"):
        asked |= set(re.findall(r"jsonPayload\.(\w+)", str(one.values["filter"])))
    assert asked - watch_checks.WRITTEN == watch_checks.UNWRITTEN


def test_collections_that_expire_are_collections_of_the_code(outer_plan: dict[str, Any]) -> None:
    """A misspelt collection would be kept for ever without a word."""
    files = [
        *CHECKOUT.glob("shared/*.py"),
        *CHECKOUT.glob("shared/gcp/*.py"),
        *CHECKOUT.glob("functions/*/*.py"),
    ]
    code = "\n".join(path.read_text() for path in files)
    named = {str(one.values["collection"]) for one in resources(outer_plan, "google_firestore_field")}
    assert {name for name in named if f'"{name}"' not in code} == set()
