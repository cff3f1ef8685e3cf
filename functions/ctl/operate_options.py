"""What the commands of daily work take: submit, status, logs, cancel, dead-letters."""

from __future__ import annotations

import argparse
from typing import Any

from functions.ctl.policy_options import project

_EXIT = "exit codes: 0 done, 1 no or failed, 2 bad input, 3 the place cannot be reached or is not up"


def register(commands: Any) -> None:
    """Their places in the command line."""
    _submit(commands)
    _status(commands)
    _logs(commands)
    _cancel(commands)
    _dead_letters(commands)


def _submit(commands: Any) -> None:
    submit = _command(
        commands,
        "submit",
        "ask for a run, on the platform that is up or on Google Cloud",
        _SUBMIT,
        _SUBMIT_MORE,
    )
    submit.add_argument("workload", metavar="WORKLOAD", help="the name of a built-in one, or a workload file")
    submit.add_argument("--wait", action="store_true", help="follow the run until it has ended")
    submit.add_argument(
        "--id",
        default="",
        metavar="ID",
        help="the request's own name: however often it is submitted under it, it is one run",
    )
    project(submit)
    submit.add_argument("--json", action="store_true", help="print JSON")


def _status(commands: Any) -> None:
    status = _command(
        commands,
        "status",
        "say what is up, which runs there were, what became of one, and what VMs there are and cost",
        _STATUS,
        _STATUS_MORE,
    )
    status.add_argument("run", nargs="?", default="", metavar="RUN", help="of this run alone")
    status.add_argument("--watch", action="store_true", help="follow the run until it has ended")
    project(status)
    status.add_argument(
        "--inner-project", default="", metavar="P", help="and the inner one, if it is another"
    )
    status.add_argument("--json", action="store_true", help="print JSON; with --watch a line for each change")


def _logs(commands: Any) -> None:
    logs = _command(
        commands, "logs", "show the log of a stage, an emulator or a run's VMs", _LOGS, _LOGS_MORE
    )
    logs.add_argument("name", nargs="?", default="supervisor", metavar="STAGE|RUN")
    logs.add_argument("--follow", action="store_true", help="go on as it grows; of a run until it has ended")
    project(logs)
    logs.add_argument("--json", action="store_true", help="print a JSON object for each line")


def _cancel(commands: Any) -> None:
    cancel = _command(
        commands, "cancel", "end a run that goes on; its VMs are deleted", _CANCEL, _CANCEL_MORE
    )
    cancel.add_argument("run", metavar="RUN")
    cancel.add_argument("--why", required=True, metavar="TEXT", help="for whoever reads of it later")
    cancel.add_argument("--by", default="", metavar="NAME", help="who ends it (default: your login name)")
    project(cancel)
    cancel.add_argument("--json", action="store_true", help="print JSON")


def _dead_letters(commands: Any) -> None:
    letters = _command(
        commands,
        "dead-letters",
        "list, show, replay and drop events that could not be handled",
        _DEAD_LETTERS,
        _DEAD_LETTERS_MORE,
    )
    letters.add_argument("action", nargs="?", default="list", choices=("list", "show", "replay", "drop"))
    letters.add_argument("id", nargs="?", default="", metavar="ID", help="as the list has it")
    letters.add_argument("--why", default="", metavar="TEXT", help="of drop: why nothing is to be done")
    letters.add_argument(
        "--by", default="", metavar="NAME", help="of drop: who decides (default: your login name)"
    )
    project(letters)
    letters.add_argument("--json", action="store_true", help="print JSON")


def _command(commands: Any, name: str, short: str, long: str, more: str) -> Any:
    return commands.add_parser(
        name,
        help=short,
        description=long,
        epilog=f"{more}\n\n{_EXIT}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


_SUBMIT = """\
Publish run-requested and print the run's id. The workload is checked first: a mistake is named with its line, and
nothing is published. It takes the right to publish to that one topic (`operators` of terraform/outer have it); a
workload with wheels of its own also the right to write to the staging repository."""
_SUBMIT_MORE = """\
examples:
  ./dmz submit quickstart --wait
  RUN=$(./dmz submit my-workload.yaml --project my-outer-project)
  ./dmz status "$RUN" --watch --project my-outer-project

with --wait: 0 the run completed, 1 it failed"""
_STATUS = """\
Without a run: the platform, the VMs with what they cost, and every run. With one: each stage with its time, why it
failed, what it cost, and what was done again because somebody asked for it by a replay id."""
_STATUS_MORE = """\
examples:
  ./dmz status
  ./dmz status run-0123456789ab --watch
  ./dmz status --project my-outer-project --inner-project my-inner-project --json

of a run: 0 it goes on or completed, 1 it failed"""
_LOGS = """\
On this machine the last lines of a part of the platform, or of the serial consoles of a run's VMs. On Google Cloud the
lines that the stages have written about a run, by `gcloud logging read`, with your own rights."""
_LOGS_MORE = """\
examples:
  ./dmz logs scanner
  ./dmz logs run-0123456789ab --follow
  ./dmz logs run-0123456789ab --project my-outer-project"""
_CANCEL = """\
Publish cancel-requested and wait until the run has ended: as failed, with your words as the reason. Its VMs are deleted
as after every failure. Asked for twice it is done once; a run that has ended stays as it is, and that is said."""
_CANCEL_MORE = """\
example:
  ./dmz cancel run-0123456789ab --why "the wrong workload"

of a run that completed before: 1"""
_DEAD_LETTERS = """\
Events that no stage could handle, each kept with its reason for 31 days. `show` prints one with its body, tokens
hidden. `replay` publishes it to its topic once more, under a replay id that follows from the letter, and takes it off
the list; done twice it is handled once. `drop` takes it off the list and writes who and why into the decision log."""
_DEAD_LETTERS_MORE = """\
examples:
  ./dmz dead-letters
  ./dmz dead-letters show 19876543210987654
  ./dmz dead-letters replay 19876543210987654 --project my-outer-project
  ./dmz dead-letters drop 19876543210987654 --why "the run was requested again"

On Google Cloud a replay needs the right to publish to that topic, which operators have for events that are theirs."""
