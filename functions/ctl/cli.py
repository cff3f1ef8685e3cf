"""The operator's command line, behind ./dmz."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console

from functions.local.__main__ import explained
from functions.local.backing import KINDS
from functions.local.layout import layout
from shared.errors import DmzError

BAD_INPUT, INTERRUPTED = 2, 130


def parser() -> argparse.ArgumentParser:
    """Every command and option."""
    top = argparse.ArgumentParser(
        prog="dmz", description="Admit judged, proven packages into a network without a way out."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="take a workload through the whole chain on this machine")
    run.add_argument(
        "workload", nargs="?", default="quickstart", help="name or path of a workload file (quickstart)"
    )
    run.add_argument("--keep", action="store_true", help="leave the platform and the inner VM up")
    run.add_argument("--report", type=Path, metavar="FILE", help="write the result as JSON")
    up = commands.add_parser("up", help="bring the local platform up and leave it up")
    for judging in (run, up):
        judging.add_argument("--policy", default="", metavar="NAME|FILE", help="what may enter (default)")
        judging.add_argument(
            "--advisories",
            default="",
            metavar="DIR",
            help="OSV zips (the current ones of OSV.dev, else a snapshot)",
        )
        judging.add_argument(
            "--broker",
            default="auto",
            choices=("auto", *KINDS),
            help="what stands behind Pub/Sub and Firestore",
        )
    commands.add_parser("down", help="end the local platform")
    commands.add_parser("status", help="say what is up, and which runs there were")
    logs = commands.add_parser("logs", help="show the log of a stage, an emulator or a run's VMs")
    logs.add_argument("name", nargs="?", default="supervisor", metavar="STAGE|RUN")
    enter = commands.add_parser("enter", help="open a shell in a VM")
    enter.add_argument("vm", nargs="?", default="")
    enter.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    test = commands.add_parser("test", help="style, types, import contracts and all tests", add_help=False)
    test.add_argument("arguments", nargs=argparse.REMAINDER, help="for pytest; then pytest alone runs")
    return top


def main(words: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed, 2 bad input, 3 not up, 130 interrupted. Never a traceback."""
    arguments = parser().parse_args(words)
    try:
        return _dispatch(arguments)
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


def _dispatch(arguments: argparse.Namespace) -> int:
    # Imported when needed: ./dmz status need not wait for what only a run uses.
    from functions.ctl import commands
    from functions.ctl.check import check

    if arguments.command == "test":
        return check(arguments.arguments)
    places = layout(os.environ)
    match arguments.command:
        case "run":
            return _run(arguments)
        case "up":
            return commands.up(
                places,
                os.environ,
                Console(),
                policy=arguments.policy,
                source=arguments.advisories,
                broker=arguments.broker,
            )
        case "down":
            return commands.down(places)
        case "status":
            return commands.status(places)
        case "logs":
            return commands.logs(places, arguments.name)
        case _:
            return commands.enter(places, arguments.vm, arguments.words)


def _run(arguments: argparse.Namespace) -> int:
    from functions.ctl.run import Request, prepare, run

    try:
        prepare(arguments.workload)
    except DmzError as error:
        print(f"dmz: {error}", file=sys.stderr)
        return BAD_INPUT
    request = Request(
        workload=arguments.workload,
        layout=layout(os.environ),
        environment=os.environ,
        keep=arguments.keep,
        report=arguments.report,
        policy=arguments.policy,
        advisories=arguments.advisories,
        broker=arguments.broker,
    )
    return run(request, Console())


if __name__ == "__main__":
    raise SystemExit(main())
