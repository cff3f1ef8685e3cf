"""The product's source files as syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
STAGES = ("outer", "scanner", "sync", "inner", "attestation")


def modules(*folders: str) -> list[Path]:
    """Every Python file below the folders."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found, folders
    return found


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import, wherever it stands: at the top, in a function, under TYPE_CHECKING."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(path.relative_to(ROOT).parent.parts) if node.level else ""
            for alias in node.names:
                yield node.lineno, ".".join(part for part in (package, node.module, alias.name) if part)
        elif isinstance(node, ast.Call):
            yield from _by_name(node)


def _by_name(node: ast.Call) -> Iterator[tuple[int, str]]:
    """`importlib.import_module("x")` and `__import__("x")`."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in ("import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
        yield node.lineno, str(node.args[0].value)


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"
