"""What docs/operations.md and terraform/README.md say of a deployment is what it does."""

from __future__ import annotations

from functions.ctl import deploy_page


def test_the_commands_of_the_page_are_those_of_a_deployment() -> None:
    assert deploy_page.PAGE.read_text() == deploy_page.page(), "python -m functions.ctl.deploy_page --write"
