"""The operator's command line, behind ./dmz."""

from __future__ import annotations

import argparse
import io
import os
import sys
from pathlib import Path

from functions.ctl import (
    appraise_options,
    collect_options,
    decisions_options,
    deploy_options,
    explain_options,
    image_options,
    lock_options,
    match_options,
    operate_options,
    policy_options,
    provenance_options,
    sbom_options,
    verdict_options,
    waive_options,
)
from functions.ctl.dispatch import dispatch
from functions.ctl.inputs import BadInput
from functions.local.layout import KINDS, explained
from shared.errors import DmzError
from shared.model.workload import built_in

BAD_INPUT, INTERRUPTED = 2, 130


def parser() -> argparse.ArgumentParser:
    """Every command and option."""
    top = argparse.ArgumentParser(
        prog="./dmz", description="Admit judged, proven packages into a network without a way out."
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("help", help="show this text").set_defaults(show=top.print_help)
    run = commands.add_parser(
        "run",
        help="take a workload through the whole chain on this machine",
        description=_RUN,
        epilog=_RUN_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument(
        "workload",
        nargs="?",
        default="quickstart",
        metavar="WORKLOAD",
        help=f"one of {', '.join(built_in())}, or the path of a workload file (default: quickstart)",
    )
    run.add_argument("--keep", action="store_true", help="leave the platform and the inner VM up")
    run.add_argument(
        "--tamper",
        action="store_true",
        help="change one byte of the data service's image before it is launched, and see it refused",
    )
    run.add_argument("--report", type=Path, metavar="FILE", help="write the result as JSON")
    up = commands.add_parser(
        "up",
        help="bring the local platform up and leave it up",
        description="Bring the local platform up and leave it up; prints the console's address and what points "
        "gcloud at it. ./dmz down ends it.",
        epilog="exit codes: 0 it is up, 1 failed, 2 bad input",
    )
    for judging in (run, up):
        judging.add_argument(
            "--policy",
            default="",
            metavar="NAME|FILE",
            help="what may enter: a policy that comes with the project (docs/policy.md), or a file",
        )
        judging.add_argument(
            "--advisories",
            default="",
            metavar="DIR",
            help="directory with PyPI/all.zip and Debian/all.zip of OSV (default: OSV.dev's of today, else the "
            "project's snapshot under the policy offline)",
        )
        judging.add_argument(
            "--broker",
            default="auto",
            choices=("auto", *KINDS),
            help="what stands behind Pub/Sub and Firestore (default: auto, the first that is installed)",
        )
    commands.add_parser(
        "down",
        help="end the local platform",
        description="End the local platform with all its VMs, and what a killed one has left.",
        epilog="exit codes: 0 nothing of it is left, 1 it does not end",
    )
    operate_options.register(commands)
    collect_options.register(commands)
    enter = commands.add_parser(
        "enter",
        help="open a shell in a VM",
        description="Open a shell in a VM of this machine, or run a command there; a deployment's are entered by the "
        "command that ./dmz status prints.",
        epilog="exit codes: the shell's or the command's own; 1 there is no such VM",
    )
    enter.add_argument(
        "vm", nargs="?", default="", metavar="VM", help="as ./dmz status names it (default: the only one)"
    )
    enter.add_argument(
        "words", nargs=argparse.REMAINDER, metavar="COMMAND", help="with its words (default: a shell)"
    )
    test = commands.add_parser("test", help="style, types, import contracts and all tests", add_help=False)
    test.add_argument("arguments", nargs=argparse.REMAINDER, help="for pytest; then pytest alone runs")
    appraise_options.register(commands)
    provenance_options.register(commands)
    image_options.register(commands)
    deploy_options.register(commands)
    match_options.register(commands)
    lock_options.register(commands)
    policy_options.register(commands)
    verdict_options.register(commands)
    waive_options.register(commands)
    explain_options.register(commands)
    decisions_options.register(commands)
    sbom_options.register(commands)
    top.set_defaults(show=top.print_help)
    return top


_RUN = """\
Install a workload in an outer VM, judge what it drew in, mirror what is admitted, install
it again in an inner VM without a way out, and run its smoke command there."""
_RUN_MORE = """\
examples:
  ./dmz run                                  the quickstart, a minute or two
  ./dmz run my-workload.yaml --report r.json copy shared/data/workloads/quickstart.yaml to start
  ./dmz run --keep && ./dmz enter            look around in the inner VM

Ctrl-C cancels the run, and ends what was started for it; once more, and it leaves at once.

exit codes: 0 completed, 1 failed, 2 bad input (nothing was started), 130 interrupted

environment:
  DMZ_HOME    where state is kept (default: .dmz in the checkout)
  DMZ_PORTS   the first of consecutive ports to use (default: any that are free)
  DMZ_PRICES  a price list of TPUs of your own (default: shared/data/prices/google-cloud-tpu.yaml)"""


def main(words: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed, 2 bad input, 3 not up, 130 interrupted. Never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A charset without our letters is no reason to fail; what a program reads keeps them, escaped as in JSON.
            stream.reconfigure(errors="replace" if stream.isatty() else "backslashreplace")
    given = sys.argv[1:] if words is None else words
    try:
        if given[:1] == ["test"]:  # what follows is pytest's, options first or not
            from functions.ctl.check import check

            return check(given[1:])
        arguments = parser().parse_args(given)
        if arguments.command in (None, "help"):
            arguments.show()
            return 0
        return dispatch(arguments)
    except BadInput as error:
        print(f"dmz: {error}", file=sys.stderr)
        return BAD_INPUT
    except DmzError as error:
        print(f"dmz: {error}", file=sys.stderr)
    except OSError as error:
        print(f"dmz: {explained(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        print("dmz: interrupted.", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if os.environ.get("DMZ_DEBUG"):
            raise
        said = " ".join(str(error).split())
        print(
            f"dmz: a defect of dmz itself, {type(error).__name__}: {said}; DMZ_DEBUG=1 shows where.",
            file=sys.stderr,
        )
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
