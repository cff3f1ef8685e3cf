"""What documents name, and whether it exists."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from functions.local.layout import CHECKOUT
from shared.events import SUBSCRIBERS, TYPES
from shared.settings import OTHERS, Settings, variable

PAGES = tuple(
    sorted(
        path
        for pattern in ("*.md", "docs/**/*.md", "events/*.md", "terraform/**/*.md", "shared/data/**/*.md")
        for path in CHECKOUT.glob(pattern)
    )
)
_FENCED = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]\n]*(?:\n[^\]\n]*)?\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?)\s*$", re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")
_ROOMS = ("functions/", "shared/", "terraform/", "tests/", "docs/", "events/")
_TOPIC = re.compile(
    r"[a-z]+(?:-[a-z]+)*-(?:requested|completed|published|written|planned|failed|built|changed|revoked|registered"
    r"|issued|appraised|refreshed|listed|evicted|granted|dropped)"
)
_SETTING = re.compile(r"\bDMZ_[A-Z_]*[A-Z]\b(?![_*])")
_PUSHED = re.compile(r"\b([a-z]+)--([a-z-]+)\b")
_TEST = re.compile(r"((?:tests|terraform)/[\w/]+\.(?:py|tftest\.hcl))::(\w+)")
_METRIC = re.compile(r"dmz/[a-z_]+")
_MODULE = re.compile(r"(?:shared|functions|tests)(?:\.\w+)+")
_TO_SCRIPTS = ("DMZ_WORKER", "DMZ_WORKERS", "DMZ_DEBUG")
"""Variables that are neither settings nor the command line's: what a workload's scripts see, and a switch for us."""


def name(page: Path) -> str:
    return str(page.relative_to(CHECKOUT))


def dead_links(page: Path, text: str) -> Iterator[str]:
    """Links into the checkout that lead nowhere, and anchors without a heading."""
    for target in _LINK.findall(_FENCED.sub("", text)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        if not path.exists():
            yield f"{name(page)}: {target} is not there"
        elif anchor and path.suffix == ".md" and anchor not in anchors(path):
            yield f"{name(page)}: {target} has no such heading"


@cache
def anchors(page: Path) -> frozenset[str]:
    """As GitHub makes them of headings."""
    headings = _HEADING.findall(_FENCED.sub("", page.read_text()))
    return frozenset(re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings)


def unknown(text: str) -> Iterator[str]:
    """Settings, events, subscriptions, files, modules and tests that a page names and nobody has."""
    settings = {variable(field) for field in Settings.__dataclass_fields__} | {*OTHERS, *_TO_SCRIPTS}
    yield from (f"setting {each}" for each in _SETTING.findall(text) if each not in settings)
    for stage, topic in _PUSHED.findall(text):
        if stage in SUBSCRIBERS and topic not in SUBSCRIBERS[stage]:
            yield f"subscription {stage}--{topic}"
    for file, test in _TEST.findall(text):
        if test not in tests_of(file):
            yield f"test {file}::{test}"
    for span in _SPAN.findall(_FENCED.sub("", text)):
        if _TOPIC.fullmatch(span) and span not in TYPES:
            yield f"event {span}"
        elif _METRIC.fullmatch(span) and span not in metrics():
            yield f"metric {span}"
        elif _MODULE.fullmatch(span) and not _is_module(span):
            yield f"module {span}"
        elif span.startswith(_ROOMS) and "::" not in span and not _is_there(span):
            yield f"file {span}"


@cache
def metrics() -> frozenset[str]:
    """Names of what Cloud Monitoring counts of the stages' lines."""
    found = (path.read_text() for path in CHECKOUT.glob("terraform/*/metrics.tf"))
    return frozenset(
        name for text in found for name in re.findall(r'^    "(dmz/\w+)" = {', text, re.MULTILINE)
    )


@cache
def tests_of(file: str) -> frozenset[str]:
    """Names of the test functions in a file, or of Terraform's runs; empty if there is no such file."""
    path = CHECKOUT / file
    if not path.is_file():
        return frozenset()
    if path.suffix == ".hcl":
        return frozenset(re.findall(r'^run "(\w+)"', path.read_text(), re.MULTILINE))
    found = ast.walk(ast.parse(path.read_text()))
    return frozenset(
        node.name for node in found if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def _is_there(span: str) -> bool:
    """A path, or a pattern of paths; what has a placeholder in capitals is nobody's."""
    if re.search(r"[<{…\s]|[A-Z]{3,}", span.replace("README.md", "")):
        return True
    return any(CHECKOUT.glob(span.rstrip("/").partition(":")[0]))


def _is_module(dotted: str) -> bool:
    """A module, or something in one."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        base = CHECKOUT.joinpath(*parts[:end])
        if base.is_dir() or base.with_suffix(".py").is_file():
            if end == len(parts):
                return True
            module = importlib.import_module(".".join(parts[:end]))
            return hasattr(module, parts[end])
    return False


def defined(file: Path) -> frozenset[str]:
    """Names at the top of a Python file, and `Class.method`."""
    found: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {one.id for one in targets if isinstance(one, ast.Name)}
    return frozenset(found)


def misplaced(page: Path, text: str) -> Iterator[str]:
    """Rows of the form `| … | … | [file.py](file.py) | `name` |` whose files do not define the name."""
    for row in re.findall(r"^\| .*\.py\).*\|$", text, re.MULTILINE):
        *_, files, names = row.strip("| ").split(" | ")
        paths = [(page.parent / one).resolve() for one in re.findall(r"\]\(([^)]+\.py)\)", files)]
        held = frozenset[str]().union(*(defined(path) for path in paths if path.is_file()))
        if paths:
            yield from (f"{one} in {files}" for one in _SPAN.findall(names) if one not in held)
