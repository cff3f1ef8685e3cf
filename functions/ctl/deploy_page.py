"""The commands of a deployment as terraform/README.md shows them, made from `functions.ctl.deploy_steps`.

python -m functions.ctl.deploy_page --write    writes them into the page
python -m functions.ctl.deploy_page --check    exits 1 if the page differs
"""

from __future__ import annotations

import argparse
import sys

from functions.ctl import deploy_steps as steps
from functions.ctl.deploy_script import typed
from functions.local.layout import CHECKOUT

PAGE = CHECKOUT / "terraform" / "README.md"
_BEGIN = "<!-- begin deployment: python -m functions.ctl.deploy_page --write -->\n"
_END = "<!-- end deployment -->\n"
_GIVEN = steps.Given("/etc/package-dmz/outer.tfvars", "/etc/package-dmz/inner.tfvars", "my-dmz-state")


def page() -> str:
    """The page with the commands of today."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    shown = "\n".join(("set -eu", *typed(_GIVEN)))
    return f"{before}{_BEGIN}```sh\n{shown}\n```\n{_END}{after}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m functions.ctl.deploy_page", description=__doc__.split("\n\n")[0]
    )
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true")
    action.add_argument("--check", action="store_true")
    if parser.parse_args(arguments).write:
        PAGE.write_text(page())
    elif PAGE.read_text() != page():
        print(f"{PAGE} differs: python -m functions.ctl.deploy_page --write", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
