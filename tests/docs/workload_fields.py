"""The table of a workload's fields, made from shared.model.workload and the example of docs/workloads.md."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from functions.local.layout import CHECKOUT
from shared.model.workload import Workload
from shared.schemas import _field_docs, _type

PAGE = CHECKOUT / "docs" / "workloads.md"
_EXAMPLE = re.compile(r"^```yaml\n# every field\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SHORT = 48
"""Letters of an example that has room in the table."""
_NAMED = {
    "name": "What runs, reports and VMs call it.",
    "description": "For people.",
    "accelerator_type": "The type of the TPU VM, of both VMs alike; how many hosts a slice has follows from it.",
    "provisioning": "How the TPUs are paid for: at the list price, at a lower one until Google wants them back, or "
    "out of a reservation.",
    "environment": "In the environment of both scripts, in both VMs.",
    "wheels": "Wheels of one's own that no index has: by path beside this file, and sha256.",
}
"""What the model's own docstrings leave to the names."""


def table() -> str:
    """Every field: type, default, example, meaning."""
    schema, docs, given = Workload.model_json_schema(), _field_docs(Workload), example()
    rows = [
        f"| `{name}` | {_kind(of, schema.get('$defs', {}))} | {_default(name, of, schema)} "
        f"| {_shown(given.get(name))} | {docs.get(name) or _NAMED.get(name, '')} |"
        for name, of in schema["properties"].items()
    ]
    return "\n".join(("| field | type | default | example | meaning |", "|---|---|---|---|---|", *rows))


def example() -> dict[str, Any]:
    """The example of the page, as YAML gives it."""
    read = yaml.safe_load(example_text())
    assert isinstance(read, dict)
    return read


def example_text() -> str:
    found = _EXAMPLE.search(PAGE.read_text())
    assert found, f"{PAGE} has no block that begins with the line '# every field'."
    return found[1]


def _kind(of: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Bounds and form of a field for people."""
    if of.get("type") == "array":
        many = f", at most {of['maxItems']}" if "maxItems" in of else ""
        return f"list of {_kind(of['items'], definitions)}{many}"
    if "anyOf" in of:
        return _kind(next(one for one in of["anyOf"] if one.get("type") != "null"), definitions)
    if "$ref" in of:
        return ", ".join(f"`{name}`" for name in definitions[of["$ref"].rsplit("/", 1)[-1]]["properties"])
    if of.get("type") == "object":
        return "names and texts"
    if of.get("type") == "integer":
        return f"{of['minimum']} to {of['maximum']}"
    if "enum" in of:
        return _type(of)
    if "pattern" in of and "maxLength" not in of:
        return f"text like `{of['pattern'].replace('^$|', '').replace('|', chr(92) + '|')}`"
    return "text" + (f", at most {of['maxLength']:,} letters" if "maxLength" in of else "")


def _default(name: str, of: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if name in schema["required"]:
        return "must be given"
    value = of.get("default")
    return "none" if value in (None, "", [], {}) else f"`{value}`"


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"`{text}`" if len(text) <= _SHORT and "\n" not in text and "|" not in text else "above"
