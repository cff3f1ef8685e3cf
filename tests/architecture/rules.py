"""The rules of docs' rooms as functions over a file: each returns the places that break it."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

from tests.architecture.source import imports, place, tree, within

_PURE = (
    "__future__",
    "base64",
    "collections",
    "dataclasses",
    "datetime",
    "enum",
    "functools",
    "hashlib",
    "itertools",
    "json",
    "math",
    "operator",
    "packaging",
    "re",
    "string",
    "typing",
)
_IMPURE_OURS = ("shared.gcp", "shared.memory", "shared.emulators", "shared.serving", "functions")
_IMPURE_CALLS = ("open", "print", "input", "exec", "eval", "compile", "breakpoint")
_IMPURE_ATTRIBUTES = ("now", "utcnow", "today", "environ", "getenv")
_PLATFORM = re.compile(r"emulat|localhost|127\.0\.0\.1|\blocal(ly)?\b", re.IGNORECASE)
_LOCAL_PATHS = re.compile(r"/usr/local\b|/root/\.local\b|/var/local\b")


def google_imports(path: Path) -> list[str]:
    """`google.*` has its two places."""
    return [
        place(path, line) for line, name in imports(path) if within(name, "google", "grpc", "grpc_status")
    ]


def imports_of_tests(path: Path) -> list[str]:
    """The product does not know its tests."""
    return [
        place(path, line) for line, name in imports(path) if within(name, "tests", "pytest", "hypothesis")
    ]


def impurities(path: Path) -> list[str]:
    """`decide.py`: values in, values out. No client, no clock, no environment, no file, no log."""
    found = [
        f"{place(path, line)} imports {name}"
        for line, name in imports(path)
        if within(name, *_IMPURE_OURS) or not within(name, *_PURE, "shared")
    ]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _IMPURE_CALLS:
            found.append(f"{place(path, node.lineno)} calls {node.func.id}")
        if isinstance(node, ast.Attribute) and node.attr in _IMPURE_ATTRIBUTES and _is_a_source(node.value):
            found.append(f"{place(path, node.lineno)} reads {node.attr}")
    return found


def _is_a_source(node: ast.expr) -> bool:
    """`datetime`, `date`, `os`, `time` or a name in them; a field of our own may be called `now`."""
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name in ("datetime", "date", "os", "time")


def foreign_imports(path: Path) -> list[str]:
    """Guest scripts run on a bare Python: standard library and their own package."""
    return [
        f"{place(path, line)} imports {name}"
        for line, name in imports(path)
        if not within(name, "shared.guest", *sys.stdlib_module_names)
    ]


def platform_words(path: Path) -> list[str]:
    """Guest scripts do not know where they run: no word in the code tells one platform from another."""
    documentation = _docstrings(tree(path))
    found = []
    for node in ast.walk(tree(path)):
        for text in _words(node):
            if id(node) not in documentation and _PLATFORM.search(_LOCAL_PATHS.sub("", text)):
                found.append(f"{place(path, getattr(node, 'lineno', 0))} says {text[:60]!r}")
    return found


def _words(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    names = [getattr(node, field, None) for field in ("id", "attr", "arg", "name", "module")]
    return [name.replace("_", " ") for name in names if isinstance(name, str)]


def _docstrings(module: ast.Module) -> set[int]:
    """Ids of the constants that document: a string that stands alone as a statement."""
    return {id(node.value) for node in ast.walk(module) if isinstance(node, ast.Expr)}
