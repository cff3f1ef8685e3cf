"""The options of `./dmz appraise`, apart from its work: the other commands need not load what verifies signatures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = object

_MORE = """\
The answer is JSON on standard output: the decision, every numbered check with its input and a sentence, and the SLSA
verification summary. --nonce is the nonce that you issued for this token: taken from the token it would prove nothing.

exit codes: 0 accepted, 1 refused, 2 unusable input (a sentence on standard error)"""


def register(commands: Commands) -> None:
    """Add the command."""
    added = commands.add_parser(
        "appraise",
        help="hold a Confidential Space token to a policy",
        description="Hold a Confidential Space token to a policy and say check by check what came of it.",
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added.add_argument("--policy", required=True, metavar="NAME|FILE", help="what the token must say")
    added.add_argument("--token", required=True, metavar="FILE|-", help="the token; - is standard input")
    keys = added.add_mutually_exclusive_group()
    keys.add_argument("--jwks", type=Path, metavar="FILE", help="the issuer's key set, for an OIDC token")
    keys.add_argument(
        "--root", type=Path, metavar="FILE", help="the root certificate of a PKI token (default: Google's)"
    )
    added.add_argument(
        "--reference",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a reference value, or a list of them, as JSON; may be repeated",
    )
    added.add_argument("--at", default="", metavar="RFC3339", help="the time to appraise at (default: now)")
    added.add_argument("--nonce", default=None, metavar="N", help="the nonce that was issued for this token")
