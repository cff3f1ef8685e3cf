"""What `./dmz explain` takes."""

from __future__ import annotations

import argparse
from typing import Any

from functions.ctl.policy_options import project


def register(commands: Any) -> None:
    """The command's place in the command line."""
    explain = commands.add_parser(
        "explain",
        help="say in words why a package is admitted, held or blocked, and what to do now",
        description=_EXPLAIN,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    explain.add_argument("package", metavar="PURL|NAME", help="a purl, or a name with or without ==VERSION")
    explain.add_argument(
        "--run", default="", metavar="ID", help="the run that is meant (default: the newest)"
    )
    project(explain)
    explain.add_argument("--json", action="store_true", help="print JSON")


_EXPLAIN = """\
Explain one verdict: the rules that decided it, on which data and by which policy, the advisories, who needs the
package, what replaced it and why, the waivers that it leans on, when a hold ends, and what can be done."""
_MORE = """\
examples:
  ./dmz explain jinja2
  ./dmz explain jinja2==3.1.4 --run run-0123456789ab
  ./dmz explain pkg:pypi/jinja2@3.1.4 --json
  ./dmz explain libssl3t64

exit codes: 0 explained; 1 what is stored is not what its digests say; 2 bad input, as a name that nothing or several
packages bear; 3 nothing stored can be read"""
