"""What `./dmz lock` takes."""

from __future__ import annotations

import argparse
from typing import Any

from functions.ctl.policy_options import project


def register(commands: Any) -> None:
    """The command's place in the command line."""
    lock = commands.add_parser("lock", help="show what a lock changed: against the outer VM, or another run")
    actions = lock.add_subparsers(dest="action", metavar="ACTION", required=True)
    diff = actions.add_parser(
        "diff",
        help="show the difference that a run's lock makes",
        description=_DIFF,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    diff.add_argument("run", metavar="RUN", help="id of a run, or the path of a lock.json")
    diff.add_argument("other", nargs="?", default="", metavar="RUN2", help="another one, to compare with")
    diff.add_argument("--json", action="store_true", help="print JSON")
    project(diff)


_DIFF = """\
Of one run: what the outer VM had and the lock has not, or has in another version; because of which advisory or rule,
and who needs it. Of two runs: what the second one's lock has otherwise than the first one's."""
_MORE = """\
examples:
  ./dmz lock diff run-0123456789ab
  ./dmz lock diff run-0123456789ab run-ba9876543210 --json

exit codes: 0 shown, 1 the run has no lock, or what is stored has been changed, 2 bad input, 3 the platform is not up"""
