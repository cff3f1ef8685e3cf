"""What `./dmz match` takes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from shared.data import __file__ as _data


def register(commands: Any) -> None:
    """The command's place in the command line."""
    match = commands.add_parser(
        "match",
        help="say which advisories touch the packages on standard input",
        description=_MATCH,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    match.add_argument(
        "--osv",
        type=Path,
        default=Path(_data).parent / "advisories",
        metavar="DIR",
        help="directory with ECOSYSTEM/all.zip of OSV (default: the project's snapshot)",
    )


_MATCH = "Read packages as JSON lines on standard input, write the advisories about each to standard output."
_MORE = """\
in:   {"id": 1, "ecosystem": "PyPI", "name": "jinja2", "version": "3.1.4"}
      {"id": 2, "ecosystem": "Debian:13", "name": "libssl3t64", "version": "3.5.0-1",
       "source_name": "openssl", "source_version": "3.5.0-1"}   (the source, where it is not the package itself)
out:  {"id": 1, "advisories": ["GHSA-…", …], "undecided": []}

exit codes: 0 every line was understood, 1 some were not (they are answered as undecided)"""
