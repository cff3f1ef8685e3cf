"""What `./dmz policy` takes."""

from __future__ import annotations

import argparse
from typing import Any


def register(commands: Any) -> None:
    """The command's place in the command line."""
    policy = commands.add_parser("policy", help="check what may enter, and what another policy would change")
    actions = policy.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help="validate a policy, and show what it would change before anybody deploys it",
        description=_CHECK,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument("file", metavar="FILE", help="a policy file, or the name of a built-in one")
    check.add_argument(
        "--against", default="", metavar="RUN|all", help="judge this run again, or all that are kept"
    )
    project(check)
    check.add_argument("--json", action="store_true", help="print JSON")
    show = actions.add_parser("show", help="print a policy that comes with the project")
    show.add_argument("name", metavar="NAME", help="as ./dmz policy list has it")
    listed = actions.add_parser("list", help="list the policies that come with the project")
    listed.add_argument("--json", action="store_true", help="print JSON")


def project(command: Any) -> None:
    """Where the runs are; as `./dmz status` takes it."""
    command.add_argument(
        "--project",
        default="",
        metavar="P",
        help="of a deployment on Google Cloud: the outer project (default: the platform of this machine that is up)",
    )


_CHECK = """\
Validate a policy: every mistake with its line. With --against, judge again what runs were judged by, and show package
by package what would be different: as of the run's own moment, with the advisories and waivers of then. Nothing is
written. What a run's case does not hold, because its own policy never asked for it, is said and not called clean."""
_MORE = """\
examples:
  ./dmz policy show default > mine.yaml
  ./dmz policy check mine.yaml
  ./dmz policy check mine.yaml --against all
  ./dmz policy check mine.yaml --against RUN --project my-outer-project --json

exit codes: 0 valid, and nothing would change; 1 something would change, or cannot be told from what is stored;
2 bad input; 3 the stored runs cannot be read"""
