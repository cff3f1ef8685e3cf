"""The page of all settings, made from `shared.settings` and terraform/outer/settings.tf; their list in the README.

python -m shared.settings_page --write    writes docs/settings.md and the part of README.md
python -m shared.settings_page --check    exits 1 if one differs
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import get_type_hints

from shared.settings import OTHERS, Settings, variable
from shared.settings_forms import Guarded, Stored, Text, Whole

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "settings.md"
README = ROOT / "README.md"
_SHORT = re.compile(r"(<!-- settings: [^>]*-->\n).*?(<!-- end of settings -->)", re.DOTALL)
TERRAFORM = ROOT / "terraform" / "outer" / "settings.tf"
_HEAD = """\
# Settings

<!-- Written by python -m shared.settings_page --write from shared/settings.py; a test compares. -->

What the stages are configured with. They read the environment when they start: a value that has not its form, a path
that is not there and a `DMZ_` variable that nobody knows end the container with exit code 1 and one sentence for each
mistake, all at once; Cloud Run then keeps the revision that works. What is empty or absent has its default.

On one machine `./dmz` takes the same variables from your environment; only what is set by the platform is its own.
On Google Cloud Terraform sets them. *You* means: the variable `settings` of terraform/outer, by the field's name,
`settings = { lease_seconds = "30" }` say.

| variable | value | default | meaning | on Google Cloud set by |
|---|---|---|---|---|
"""
_OTHERS = """
Further variables with this prefix are no settings of a stage:

| variable | meaning |
|---|---|
"""
_GROUPS = {
    "made": "Terraform",
    "tunable": "you",
    "secret": "you, as a secret: docs/operations.md",
    "of_inner": "Terraform, in terraform/inner",
    "of_one_machine": "nobody: one machine's stand-ins",
}


def page() -> str:
    """The page's text."""
    rows = "".join(f"{_row(one.name)}\n" for one in fields(Settings))
    others = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in sorted(OTHERS.items()))
    return f"{_HEAD}{rows}{_OTHERS}{others}"


def readme(text: str) -> str:
    """The README `text` with its list of settings as it should be. ValueError if it has no place for it."""
    rows = "".join(f"| `{variable(one.name)}` | {_meanings()[one.name]} |\n" for one in fields(Settings))
    short = (
        f"<details><summary>The {len(fields(Settings))} settings</summary>\n\n"
        f"| variable | meaning |\n|---|---|\n{rows}\n</details>\n"
    )
    made, places = _SHORT.subn(lambda found: found[1] + short + found[2], text)
    if places != 1:
        raise ValueError(f"{README} has {places} places for the settings and not one.")
    return made


def groups() -> dict[str, set[str]]:
    """Who sets what: the lists of terraform/outer/settings.tf by their names there."""
    source = TERRAFORM.read_text()
    found = {}
    for group in _GROUPS:
        body = source.partition(f"  {group} ")[2]
        if group == "made":
            found[group] = set(re.findall(r"^    (\w+) +=", body.partition("\n  }")[0], re.MULTILINE))
        else:
            found[group] = set(re.findall(r'"(\w+)"', body.partition("])")[0]))
    return found


def _row(name: str) -> str:
    by = (
        "Terraform"
        if name == "project"
        else ", ".join(_GROUPS[g] for g, held in groups().items() if name in held)
    )
    form = get_type_hints(Settings, include_extras=True)[name].__metadata__[0]
    cells = (f"`{variable(name)}`", _value(form), _default(name), _meanings()[name], by)
    return f"| {' | '.join(cells)} |"


def _value(form: Text | Guarded | Whole | Stored) -> str:
    match form:
        case Whole():
            return f"{form.low} to {form.high}"
        case Stored():
            return f"path of a {form.kind}" + (f", or {form.instead.expected}" if form.instead else "")
        case Text() | Guarded():
            return form.expected


def _default(name: str) -> str:
    default = next(one.default for one in fields(Settings) if one.name == name)
    if default is MISSING:
        return "none: it must be set"
    return f"`{default}`" if default != "" else ""


def _meanings() -> dict[str, str]:
    """Field to the docstring below it."""
    (node,) = ast.parse(inspect.getsource(Settings)).body
    assert isinstance(node, ast.ClassDef)  # noqa: S101 - getsource of a class is a class
    found = {}
    for field, below in zip(node.body, node.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[field.target.id] = " ".join(str(below.value.value).split())
    return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m shared.settings_page", description=__doc__.split("\n\n")[0]
    )
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true")
    action.add_argument("--check", action="store_true")
    if parser.parse_args(arguments).write:
        PAGE.write_text(page())
        README.write_text(readme(README.read_text()))
        return 0
    for path, expected in ((PAGE, page()), (README, readme(README.read_text()))):
        if not path.is_file() or path.read_text() != expected:
            print(f"{path} differs: python -m shared.settings_page --write", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
