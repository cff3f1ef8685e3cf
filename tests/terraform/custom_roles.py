"""The project's own roles, to the last permission, each with the code that needs it; the tables print them.

The permissions of each call: https://cloud.google.com/iam/docs/roles-permissions/tpu. IAM has none of their own for
queued resources: those of nodes count.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Literal

Root = Literal["outer", "inner"]
_TPU = "shared/gcp/tpu.py"

# What `TpuVms` may call of the TPU API's client, and the permission that each call asks for.
TPU_CALLS = {
    "create_node": "tpu.nodes.create",
    "create_queued_resource": "tpu.nodes.create",
    "delete_node": "tpu.nodes.delete",
    "delete_queued_resource": "tpu.nodes.delete",
    "get_node": "tpu.nodes.get",
    "get_operation": "tpu.operations.get",
    "get_queued_resource": "tpu.nodes.get",
    "list_nodes": "tpu.nodes.list",
    "list_queued_resources": "tpu.nodes.list",
}


@dataclass(frozen=True)
class CustomRole:
    """A role of our own in one project: what it holds, the file that needs it, and what for."""

    root: Root
    name: str
    permissions: frozenset[str]
    file: str
    why: str

    @property
    def line(self) -> str:
        held = ", ".join(f"`{each}`" for each in sorted(self.permissions))
        return f"| `{self.name}` | {held} | `{self.file}` | {self.why} |\n"


_KEEPER = frozenset(TPU_CALLS.values())
_KEEPS = "makes, watches and deletes VMs"
_SEEN = frozenset({"tpu.nodes.get", "tpu.nodes.list"})
CUSTOM = (
    CustomRole("outer", "packageDmzVmViewer", _SEEN, "functions/ctl/fleet.py", "`./dmz status` lists VMs"),
    CustomRole(
        "inner",
        "packageDmzOperator",
        _SEEN | {"tpu.nodes.delete", "tpu.nodes.update", "tpu.operations.get"},
        "shared/entry.py",
        "`tpu-vm ssh` reads the node, writes the key and waits; `./dmz status` lists; a kept VM is deleted",
    ),
    CustomRole("outer", "packageDmzVmKeeper", _KEEPER, _TPU, _KEEPS),
    CustomRole("inner", "packageDmzVmKeeper", _KEEPER, _TPU, _KEEPS),
    CustomRole(
        "inner",
        "packageDmzEvictor",
        frozenset({"artifactregistry.versions.delete"}),
        "terraform/inner/crossing.tf",
        "with `eviction` only: deletes versions, and nothing beside them",
    ),
)


def of(root: Root) -> dict[str, CustomRole]:
    """By name."""
    return {one.name: one for one in CUSTOM if one.root == root}


def table(root: Root) -> str:
    head = "\n| role of our own | permissions, all of them | needed by | for what |\n|---|---|---|---|\n"
    return head + "".join(one.line for _, one in sorted(of(root).items()))


def client_calls(source: str) -> set[str]:
    """The methods of `self._client` that a module names."""
    return {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "_client"
    }
