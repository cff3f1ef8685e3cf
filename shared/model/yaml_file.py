"""A value that a user writes as a small YAML file, with every mistake named by its line."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shared.errors import Permanent
from shared.model.value import Part, printable, said, where

V = TypeVar("V", bound=Part)
_MAX_FILE = 256 * 1024
_MISTAKES = 100
"""So many are named; the rest is counted."""


def read(path: Path, kind: type[V], what: str, needs: str) -> V:
    """The `kind` in the YAML file at `path`; Permanent with the mistake and its place.

    `what` names the file in a failure, like `workload file`; `needs` says what must stand in it at least.
    """
    shown = f"The {what} {printable(str(path), 300)}"
    node, content = parse(_bytes(path, shown), shown, needs)
    return kind.check(content, shown, lambda loc: _line(node, loc))


def read_whole(path: Path, kind: type[V], what: str, needs: str, may_be_null: Collection[str] = ()) -> V:
    """As `read`, for a file in which every field must be given: Permanent with every mistake and its line.

    A field without a value is a mistake of its own, but for those of the top level that `may_be_null` names.
    """
    shown = f"The {what} {printable(str(path), 300)}"
    return check_whole(_bytes(path, shown), kind, shown, needs, may_be_null)


def check_whole(data: bytes, kind: type[V], shown: str, needs: str, may_be_null: Collection[str] = ()) -> V:
    """As `read_whole`, of bytes that `shown` names."""
    node, content = parse(data, shown, needs)
    value, found = None, []
    try:
        empty = {place: line for line, place in _nulls(node, ()) if ".".join(place) not in may_be_null}
        found = [(line, f"{'.'.join(place)} is empty, give it a value") for place, line in empty.items()]
        value = kind.model_validate_json(json.dumps(content, allow_nan=False))
    except RecursionError as error:
        raise Permanent(f"{shown} is nested too deeply.") from error
    except ValidationError as error:
        found += [
            (_mark(node, each["loc"]), _mistake(each))
            for each in error.errors(include_url=False, include_context=False)
            if tuple(str(part) for part in each["loc"]) not in empty
        ]
    except (ValueError, TypeError) as error:
        raise Permanent(f"{shown} holds something that JSON cannot: {error}.") from error
    if found or value is None:
        raise Permanent(_every(shown, found))
    return value


def _mistake(found: ErrorDetails) -> str:
    return f"{where(found)} " + ("is missing" if found["type"] == "missing" else f"is wrong, {said(found)}")


def _bytes(path: Path, shown: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL character
        words = error.strerror if isinstance(error, OSError) else str(error)
        raise Permanent(f"{shown} cannot be read: {words}.") from error
    if len(data) > _MAX_FILE:
        raise Permanent(f"{shown} is too large: at most {_MAX_FILE} bytes are read.")
    return data


def parse(data: bytes, shown: str, needs: str) -> tuple[yaml.Node | None, dict[Any, Any]]:
    """The tree of the YAML document and what it says; Permanent if it is no mapping or not YAML."""
    try:
        loader = _Plain(data)
        node = loader.get_single_node()
        content = loader.construct_document(node) if node else None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        words = " ".join(str(error).split()).replace(' in "<byte string>",', " in")
        first = printable(words, 300)
        raise Permanent(f"{shown} is not YAML as it is read here: {first}.") from error
    except RecursionError as error:
        raise Permanent(f"{shown} is nested too deeply.") from error
    if not isinstance(content, dict):
        empty = " is empty, and" if content is None else ""
        raise Permanent(f"{shown}{empty} must be a mapping with at least {needs}.")
    return node, content


def _nulls(node: yaml.Node | None, place: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Line and place of every field without a value."""
    match node:
        case yaml.MappingNode():
            for key, value in node.value:
                if value.tag == "tag:yaml.org,2002:null":
                    yield key.start_mark.line + 1, (*place, str(key.value))
                yield from _nulls(value, (*place, str(key.value)))
        case yaml.SequenceNode():
            for index, value in enumerate(node.value):
                if value.tag == "tag:yaml.org,2002:null":
                    yield value.start_mark.line + 1, (*place, str(index))
                yield from _nulls(value, (*place, str(index)))


def _every(shown: str, found: Sequence[tuple[int, str]]) -> str:
    """The mistakes in the order of their lines; 0 is a line that is not known."""
    count = len(found)
    first = [f"line {line}: {words}" if line else words for line, words in sorted(found)[:_MISTAKES]]
    more = f"; and {count - _MISTAKES} more" if count > _MISTAKES else ""
    return f"{shown} has {'a mistake' if count == 1 else f'{count} mistakes'}: {'; '.join(first)}{more}."


def names(folder: Path) -> tuple[str, ...]:
    """Names of the files in `folder`, which come with the project."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def find(name_or_path: str, folder: Path, what: str) -> Path:
    """The path of a file that comes with the project, given by its name, or of the user's own, given as a path.

    `what` is how a failure calls it, like `policy`.
    """
    if name_or_path in names(folder):
        return folder / f"{name_or_path}.yaml"
    path = Path(name_or_path)
    try:
        if path.suffix in (".yaml", ".yml") or path.exists():
            return path
    except (OSError, ValueError):  # longer than a path may be, or with a NUL character: no file's name
        pass
    raise Permanent(
        f"There is no {what} '{printable(name_or_path, 80)}': give one of {', '.join(names(folder))}, "
        f"or the path of a file like them."
    )


class _Plain(yaml.SafeLoader):
    """YAML without aliases, which can grow without bound, and without a key that stands twice. A date is text."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="an alias is not read, write the value out", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key '{key.value}' stands twice", problem_mark=key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


_Plain.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in known if tag != "tag:yaml.org,2002:timestamp"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _line(node: yaml.Node | None, loc: Sequence[int | str]) -> str:
    """The line where the field at `loc` stands, or the innermost part of it that there is."""
    line = _mark(node, loc)
    return f" (line {line})" if line else ""


def _mark(node: yaml.Node | None, loc: Sequence[int | str]) -> int:
    """As `_line`, the number; 0 if not even the first part is there."""
    mark = None
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pairs = {str(key.value): (key, value) for key, value in node.value}
            if str(part) not in pairs:
                # Pydantic puts the name of a union's member into the place, which the file does not have.
                continue
            key, node = pairs[str(part)]
            mark = key.start_mark
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            mark = node.start_mark
    return mark.line + 1 if mark else 0
