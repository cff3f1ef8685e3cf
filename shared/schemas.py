"""JSON Schemas and the catalogue of the events, made from `shared.events`.

    python -m shared.schemas --write events/    writes <type>.schema.json and the catalogue in README.md
    python -m shared.schemas --check events/    exits 1 and names what differs

A schema says everything that JSON Schema 2020-12 can say; `shared.events.decode` is stricter (no key twice in one
object, valid Debian names, …). The descriptions are the docstrings.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from shared.events import PUBLISHERS, SUBSCRIBERS, TYPES
from shared.model.value import Part

_BEGIN = "<!-- begin catalogue: python -m shared.schemas --write events/ -->"
_END = "<!-- end catalogue -->"


def schema(topic: str) -> dict[str, Any]:
    """The JSON Schema of an event's body (https://json-schema.org/draft/2020-12/schema)."""
    payload = TYPES[topic]
    made = payload.model_json_schema()
    definitions = made.pop("$defs", {})
    described = {part.__name__: part for part in _all_parts()}
    for name, definition in {payload.__name__: made, **definitions}.items():
        for of in definition.get("properties", {}).values():
            of.pop("title", None)
        for field, text in _field_docs(described[name]).items():
            definition["properties"][field]["description"] = text
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:package-dmz:event:{topic}:v1",
        "title": topic,
        "description": _doc(payload),
    }
    body = {key: value for key, value in made.items() if key not in head}
    return head | body | ({"$defs": definitions} if definitions else {})


def files() -> dict[str, str]:
    """File name to content of every schema."""
    return {
        f"{topic}.schema.json": json.dumps(schema(topic), indent=2, ensure_ascii=False) + "\n"
        for topic in TYPES
    }


def catalogue() -> str:
    """One Markdown section per event."""
    return "\n".join(_section(topic) for topic in TYPES)


def with_catalogue(readme: str) -> str:
    """`readme` with the present catalogue between its two marks."""
    before, _, rest = readme.partition(_BEGIN)
    _, found, after = rest.partition(_END)
    if not found:
        raise ValueError(f"README.md has lost its marks; it needs the lines '{_BEGIN}' and '{_END}'.")
    return f"{before}{_BEGIN}\n\n{catalogue()}\n{_END}{after}"


def stale(folder: Path) -> list[str]:
    """Names of the files in `folder` that are not what the code makes, or that no event has any more."""
    wanted = files() | {"README.md": with_catalogue((folder / "README.md").read_text())}
    different = [
        name
        for name, text in wanted.items()
        if not (folder / name).is_file() or (folder / name).read_text() != text
    ]
    return different + [path.name for path in folder.glob("*.schema.json") if path.name not in wanted]


def write(folder: Path) -> None:
    for name, text in files().items():
        (folder / name).write_text(text)
    readme = folder / "README.md"
    readme.write_text(with_catalogue(readme.read_text()))
    for path in folder.glob("*.schema.json"):
        if path.name not in files():
            path.unlink()


def _section(topic: str) -> str:
    handlers = [stage for stage, topics in SUBSCRIBERS.items() if topic in topics]
    rows = [
        f"| `{name}` | {_type(of)} | {of.get('description', '')} |"
        for name, of in schema(topic)["properties"].items()
    ]
    fields = ["| field | type | |", "|---|---|---|", *rows] if rows else ["No fields: the body is `{}`."]
    return "\n".join(
        [
            f"### {topic}",
            "",
            _doc(TYPES[topic]),
            "",
            f"Sent by: {', '.join(PUBLISHERS[topic])}. "
            f"Handled by: {', '.join(handlers) or 'whoever subscribes'}. "
            f"Schema: [{topic}.schema.json]({topic}.schema.json).",
            "",
            *fields,
            "",
            "```sh",
            f'gcloud pubsub topics publish {topic} --message="$(cat events/examples/{topic}.json)"',
            "```",
            "",
        ]
    )


def _type(of: Mapping[str, Any]) -> str:
    """A field's type for a reader."""
    if "$ref" in of:
        return str(of["$ref"]).rsplit("/", 1)[-1]
    for several in ("anyOf", "oneOf"):
        if several in of:
            return " or ".join(_type(one) for one in of[several])
    if "enum" in of:
        return " or ".join(f"`{value}`" for value in of["enum"])
    if of.get("pattern"):
        return f"`{of['pattern']}`"
    if of["type"] == "array":
        return f"list of {_type(of['items'])}"
    if of["type"] == "object":
        return "object"
    return str(of["type"])


def _doc(part: type[Part]) -> str:
    return " ".join(inspect.cleandoc(part.__doc__ or "").split())


def _all_parts() -> Iterator[type[Part]]:
    waiting: list[type[Part]] = [Part]
    while waiting:
        part = waiting.pop()
        yield part
        waiting += part.__subclasses__()


@cache
def _field_docs(part: type[Part]) -> dict[str, str]:
    """Field to the docstring that stands below it, in the class or in one that it inherits from.

    pydantic's own `use_attribute_docstrings` would read the sources at every cold start of a function.
    """
    found: dict[str, str] = {}
    for base in reversed([one for one in part.__mro__ if issubclass(one, Part) and one is not Part]):
        node = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(node, ast.ClassDef)  # noqa: S101 - getsource of a class is a class
        for field, below in zip(node.body, node.body[1:], strict=False):
            is_doc = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_doc:
                text = below.value.value  # type: ignore[attr-defined]
                found[field.target.id] = " ".join(str(text).split())
    return {name: text for name, text in found.items() if name in part.model_fields}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m shared.schemas", description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="the folder events/")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true")
    action.add_argument("--check", action="store_true")
    given = parser.parse_args(arguments)
    if given.write:
        write(given.folder)
        return 0
    different = stale(given.folder)
    for name in different:
        print(f"{name} is not what the code makes: run `python -m shared.schemas --write {given.folder}`.")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
