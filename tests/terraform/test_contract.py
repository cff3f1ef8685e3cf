"""What crosses between the two projects: each side's output is the other side's variable, as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.terraform import inner_variables, variables
from tests.terraform.harness import Workspace


def test_each_project_takes_what_the_other_says(outer: Workspace, tmp_path: Path) -> None:
    """The order of a deployment: outer without an image, inner, outer again, inner again; nothing is copied by hand."""
    copy = outer.copied(tmp_path / "terraform")
    copy.init("inner")
    contract = _applied(copy, "outer", variables.FIRST)["contract"]
    identities = _applied(copy, "inner", inner_variables.FIRST | {"outer": contract})["identities"]

    contract = _applied(copy, "outer", variables.OUTER | {"inner": identities})["contract"]
    assert contract["image"] == variables.OUTER["image"]
    _applied(copy, "inner", inner_variables.FIRST | {"outer": contract})

    done = copy.run("inner", "plan", "-detailed-exitcode", "-no-color", "-input=false")
    assert done.code == 0, done.output


def _applied(workspace: Workspace, root: str, given: dict[str, Any]) -> dict[str, Any]:
    """Outputs after an apply."""
    (workspace.root(root) / "test.auto.tfvars.json").write_text(json.dumps(given))
    done = workspace.run(root, "apply", "-auto-approve", "-no-color", "-input=false")
    assert done.code == 0, done.output
    done = workspace.run(root, "output", "-no-color", "-json")
    return {name: one["value"] for name, one in json.loads(done.output[done.output.index("{") :]).items()}
