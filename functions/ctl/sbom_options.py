"""What `./dmz sbom` takes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from functions.ctl.policy_options import project


def register(commands: Any) -> None:
    """The command's place in the command line."""
    sbom = commands.add_parser(
        "sbom",
        help="print a run's bill of materials, or what the known flaws mean for it (VEX)",
        description=_SBOM,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sbom.add_argument("run", metavar="RUN", help="id of a run whose packages were all admitted")
    sbom.add_argument("--vex", action="store_true", help="the VEX document instead of the bill of materials")
    sbom.add_argument("--out", type=Path, metavar="FILE", help="write it there instead of to standard output")
    project(sbom)


_SBOM = """\
Print a CycloneDX 1.7 document of a run's approved set, in JSON, byte for byte as it was stored."""
_MORE = """\
examples:
  ./dmz sbom run-0123456789ab --out sbom.cdx.json
  ./dmz sbom run-0123456789ab --vex --project my-outer-project

exit codes: 0 printed; 1 the run has none, or it is not what its digest says; 2 bad input; 3 nothing stored can be
read"""
