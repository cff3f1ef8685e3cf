"""What `./dmz collect` takes."""

from __future__ import annotations

import argparse
from typing import Any

from functions.ctl.policy_options import project

_DAYS = 14


def register(commands: Any) -> None:
    """The command's place in the command line."""
    collect = commands.add_parser(
        "collect",
        help="delete from the private repositories what no remembered run needs",
        description=_COLLECT,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    collect.add_argument(
        "--dry-run", action="store_true", help="say what would be deleted, and delete nothing"
    )
    collect.add_argument(
        "--days",
        type=float,
        default=_DAYS,
        metavar="N",
        help=f"keep what came in within N days (default: {_DAYS})",
    )
    project(collect)
    collect.add_argument(
        "--inner-project", default="", metavar="P", help="and the inner one, if it is another"
    )
    collect.add_argument(
        "--location", default="us-central1", metavar="REGION", help="of that deployment's repositories"
    )
    collect.add_argument("--json", action="store_true", help="print JSON")


_COLLECT = """\
Delete the versions of packages, and the files by URL, that the lock of no remembered run needs (a run is remembered for
400 days after its last word, and for as long as its kept VM lives). Nothing is deleted while a run goes on. A version
goes as a whole, so one file that is needed keeps all of it. What nobody has a record of stays, and is counted."""
_MORE = """\
examples:
  ./dmz collect --dry-run
  ./dmz collect --days 60 --project my-outer-project --inner-project my-inner-project

On Google Cloud it takes the right to read the database and artifactregistry.versions.delete, with your own credentials.

exit codes: 0 done, 1 something could not be deleted, 2 bad input, 3 the place cannot be reached or is not up"""
