"""The options of `./dmz deploy`, apart from its work: other commands need not load it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = object

_WHAT = """\
Bring both projects up on Google Cloud, or up to date. Every step is one plain terraform, gcloud, git, jq
or grep command, or one of this program, printed before it runs; nothing happens outside of these. Nothing is
applied with an image before two builders' signed agreement on it is proved here. Stopped anywhere,
it is run again: what is done already is quick."""
_MORE = """\
examples:
  ./dmz deploy --outer-vars outer.tfvars --inner-vars inner.tfvars --state-bucket my-state --plan
  ./dmz deploy --outer-vars outer.tfvars --inner-vars inner.tfvars --state-bucket my-state

The smallest files of variables, and how to make the bucket: docs/operations.md.

exit codes: 0 deployed, and a plan of both projects is empty; 1 failed or not empty; 2 bad input
(nothing was begun); 130 interrupted"""


def register(commands: Commands) -> None:
    """Add the command."""
    deploy = commands.add_parser(
        "deploy",
        help="bring the whole system up on Google Cloud, or up to date",
        description=_WHAT,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for project in ("outer", "inner"):
        deploy.add_argument(
            f"--{project}-vars",
            type=Path,
            required=True,
            metavar="FILE",
            help=f"variables of terraform/{project}: *.tfvars or *.tfvars.json",
        )
    deploy.add_argument(
        "--state-bucket", required=True, metavar="BUCKET", help="where Terraform keeps both states"
    )
    deploy.add_argument(
        "--image",
        default="",
        metavar="NAME@sha256:…",
        help="deploy this image of the services instead of building one of this checkout's commit",
    )
    deploy.add_argument(
        "--unproved",
        action="store_true",
        help="with --image: do not ask whether two builders agree on it; you answer for it yourself",
    )
    deploy.add_argument(
        "--plan", action="store_true", help="print the commands, as a shell would run them, and run none"
    )
    deploy.add_argument("--yes", action="store_true", help="do not ask before the first apply")
