"""checkov finds nothing beside what terraform/.checkov.yaml skips with a reason; and each skip is still needed.

It misses public invokers, pushes without OIDC, open egress and kept default routes: those are `checks` of our own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.terraform import harness

CONFIG = harness.TERRAFORM / ".checkov.yaml"


@pytest.mark.network
def test_checkov_finds_nothing_without_a_reason(tmp_path: Path) -> None:
    """Every skipped check fails somewhere, and no other does: asked over a copy without the file that skips."""
    copy = tmp_path / "terraform"
    shutil.copytree(harness.TERRAFORM, copy, ignore=shutil.ignore_patterns(*harness.OPERATORS, CONFIG.name))
    checkov = harness.environment("checkov").parent / "checkov"
    command = (checkov, "-d", copy, "--framework", "terraform", "--skip-download", "-o", "json")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    results = json.loads(done.stdout)["results"]
    assert len(results["passed_checks"]) > 100
    assert results["parsing_errors"] == []
    failed = {(one["check_id"], one["resource"], one["check_name"]) for one in results["failed_checks"]}
    skipped = set(yaml.safe_load(CONFIG.read_text())["skip-check"])
    assert {one for one in failed if one[0] not in skipped} == set()
    assert skipped == {check for check, _, _ in failed}, "A skip has lost its reason."
