"""What `./dmz decisions` takes."""

from __future__ import annotations

import argparse
from typing import Any

from functions.ctl.policy_options import project


def register(commands: Any) -> None:
    """The command's place in the command line."""
    decisions = commands.add_parser(
        "decisions",
        help="list what was decided about what may enter, by whom and why",
        description=_DECISIONS,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    decisions.add_argument("--run", default="", metavar="ID", help="those of one run")
    decisions.add_argument(
        "--since",
        default="",
        metavar="DATE",
        help="like 2026-11-01 (default: the last 30 days, or the whole run)",
    )
    decisions.add_argument(
        "--verify", action="store_true", help="check that no entry was changed, added later or taken away"
    )
    project(decisions)
    decisions.add_argument("--json", action="store_true", help="print a line of JSON for each")


_DECISIONS = """\
List the decision log, oldest first: verdicts of runs, refusals, replacements, waivers, changed verdicts, evictions,
and policies that came into force."""
_MORE = """\
examples:
  ./dmz decisions --run run-0123456789ab
  ./dmz decisions --since 2026-01-01 --json
  ./dmz decisions --run run-0123456789ab --verify

exit codes: 0 listed, and with --verify nothing is wrong; 1 something is; 2 bad input; 3 nothing stored can be read"""
