"""The lists of types and of permissions are no longer than what is made, and roles hold what the code calls."""

from __future__ import annotations

from typing import Any

from tests.terraform import custom_roles, exact_checks
from tests.terraform.harness import CHECKOUT
from tests.terraform.plans import resources


def test_every_listed_type_is_made(outer_plan: dict[str, Any], inner_plan: dict[str, Any]) -> None:
    """With everything on: a list that is longer would let in what nobody looks at any more."""
    for plan in (outer_plan, inner_plan):
        made = {one.type for one in resources(plan)}
        assert made == exact_checks.TYPES[exact_checks.root_of(plan)]


def test_every_role_of_our_own_is_made(outer_plan: dict[str, Any], inner_plan: dict[str, Any]) -> None:
    for plan in (outer_plan, inner_plan):
        made = {one.values["role_id"] for one in resources(plan, "google_project_iam_custom_role")}
        assert made == set(custom_roles.of(exact_checks.root_of(plan)))


def test_vm_keepers_may_do_what_the_adapter_calls() -> None:
    called = custom_roles.client_calls((CHECKOUT / "shared/gcp/tpu.py").read_text())
    assert called == set(custom_roles.TPU_CALLS), "name the permission of each call in TPU_CALLS"
    for root in ("outer", "inner"):
        keeper = custom_roles.of(root)["packageDmzVmKeeper"]  # type: ignore[arg-type]  # a literal of the tuple
        assert keeper.permissions == set(custom_roles.TPU_CALLS.values())


def test_the_reader_of_calls_sees_calls_and_what_is_handed_on() -> None:
    source = "self._client.get_node(name)\n_listed(self._client.list_nodes, x)\nself._settings.zone"
    assert custom_roles.client_calls(source) == {"get_node", "list_nodes"}
