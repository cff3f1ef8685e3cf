"""What `./dmz waive` takes."""

from __future__ import annotations

import argparse
from typing import Any

from functions.ctl.policy_options import project


def register(commands: Any) -> None:
    """The command's place in the command line."""
    waive = commands.add_parser(
        "waive",
        help="overrule a verdict in the open: for a reason, by somebody's name, until a day",
        usage=_USAGE,
        description=_WAIVE,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    waive.add_argument(
        "words",
        nargs="+",
        metavar="ADVISORY|PURL",
        help="any id or alias of a flaw, or a purl in which * stands for anything, or both; else list, show or revoke",
    )
    waive.add_argument(
        "--workload", default="", metavar="W", help="for this workload alone (default: for all)"
    )
    waive.add_argument("--reason", default="", metavar="TEXT", help="why the risk is borne, or why it ends")
    waive.add_argument("--approver", default="", metavar="NAME", help="who answers for it")
    end = waive.add_mutually_exclusive_group()
    end.add_argument(
        "--until",
        default="",
        metavar="DATE",
        help="when it ends: 2026-12-31 (its first moment in UTC) or 2026-12-31T18:00:00Z",
    )
    end.add_argument("--days", type=int, metavar="N", help="how long it lasts from now on, at most 366")
    waive.add_argument("--until-fixed", action="store_true", help="it ends earlier if a fix exists earlier")
    waive.add_argument(
        "--dry-run",
        action="store_true",
        help="show which verdicts of the last runs would change, and do nothing",
    )
    waive.add_argument("--by", default="", metavar="NAME", help="who revokes it")
    waive.add_argument("--all", action="store_true", help="list those that have ended as well")
    waive.add_argument("--json", action="store_true", help="print JSON")
    project(waive)


_USAGE = """\
./dmz waive ADVISORY|PURL [PURL] --reason TEXT --approver NAME (--until DATE | --days N)
                   [--workload W] [--until-fixed] [--dry-run] [--project P]
       ./dmz waive list [--all] [--json] [--project P]
       ./dmz waive show ID [--json] [--project P]
       ./dmz waive revoke ID --reason TEXT --by NAME [--project P]"""
_WAIVE = """\
Publish a waiver: it overrules what one advisory says, or everything that the rules say against one package, for a
while. It stands in the database with its history; runs name the waivers that they leaned on; when it ends, what it
admitted is judged again. docs/waivers.md says what it cannot overrule, and who may publish one."""
_MORE = """\
examples:
  ./dmz waive CVE-2024-56326 'pkg:pypi/jinja2@*' --workload quickstart --days 30 \\
    --reason 'only trusted templates are rendered' --approver ada@example.org --dry-run
  ./dmz waive pkg:pypi/oddity@1.0 --until 2027-01-31 --reason 'we have read its source' --approver ada@example.org
  ./dmz waive revoke waiver-0123456789ab --reason 'the templates are not trusted any more' --by ada@example.org

exit codes: 0 done; 1 it was published and not recorded, or could not be; 2 bad input (nothing was published);
3 the platform is not up"""
