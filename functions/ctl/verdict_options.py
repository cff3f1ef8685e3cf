"""What `./dmz verdict` takes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from functions.ctl.policy_options import project


def register(commands: Any) -> None:
    """The command's place in the command line."""
    verdict = commands.add_parser("verdict", help="look at a run's verdicts, and prove that they follow")
    actions = verdict.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser(
        "show",
        help="every rule that was asked about a package, and its answer",
        description="Show every rule that was asked about a run's packages, and what it said.",
        epilog=_SHOW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    show.add_argument("run", metavar="RUN", help="id of a run")
    show.add_argument(
        "package", nargs="?", default="", metavar="PURL", help="a package, by purl or by name (default: all)"
    )
    project(show)
    show.add_argument("--json", action="store_true", help="print JSON")
    replay = actions.add_parser(
        "replay",
        help="judge again, and compare byte by byte",
        description=_REPLAY,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    replay.add_argument("id", metavar="ID", help="id of a run, or the digest of stored verdicts")
    replay.add_argument(
        "--advisories",
        type=Path,
        metavar="DIR",
        help="match again as well, from the zips of OSV that were used then",
    )
    project(replay)
    replay.add_argument("--json", action="store_true", help="print JSON")


_SHOW = """\
exit codes: 0 shown; 1 the stored verdicts are not what their digests say, or not there; 2 bad input; 3 nothing stored
can be read"""
_REPLAY = """\
Prove that the same inputs give the same bytes: fetch the stored verdicts and the case that they follow from, hold both
to their digests, judge the case again, and compare. Of a run everything is compared that was judged for it, what was
judged on the way to its lock included. Nothing is written."""
_MORE = """\
examples:
  ./dmz verdict replay run-0123456789ab
  ./dmz verdict replay run-0123456789ab --advisories .dmz/cache/osv
  ./dmz verdict replay sha256:... --project my-outer-project --json

exit codes: 0 the same bytes; 1 something differs, and the first difference is said; 2 bad input, as a directory that
holds other advisories than those of then; 3 nothing stored can be read"""
