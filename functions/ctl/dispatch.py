"""Which function does which command.

A module is imported when its command is given: `./dmz match` need not wait for what only a run uses.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import cast

from functions.ctl import access
from functions.ctl.inputs import BadInput
from functions.local.layout import Layout, layout
from shared.errors import DmzError, Inaccessible, Transient

Command = Callable[[argparse.Namespace, Layout], int]
"""Gives the exit code."""

_PLAIN: Mapping[str, str] = {
    "attestation": "attestation.attestation",
    "cancel": "cancel.cancel",
    "collect": "collect.collect",
    "dead-letters": "dead_letters.dead_letters",
    "decisions": "decisions.decisions",
    "explain": "explain.explain",
    "image": "image.image",
    "lock": "lock.lock",
    "logs": "logs.logs",
    "policy": "policy.policy",
    "rebuild": "rebuild.rebuild",
    "sbom": "sbom.sbom",
    "status": "status.status",
    "submit": "submit.submit",
    "verdict": "verdict.verdict",
    "waive": "waive.waive",
}
"""Command to `module.function` of functions.ctl, which is a `Command`."""


def _appraise(arguments: argparse.Namespace, _places: Layout) -> int:
    from functions.ctl import appraise

    return appraise.appraise(arguments)


def _deploy(arguments: argparse.Namespace, _places: Layout) -> int:
    from functions.ctl import deploy

    return deploy.deploy(arguments, os.environ)


def _match(arguments: argparse.Namespace, places: Layout) -> int:
    from functions.ctl.match import match

    return match(arguments.osv, sys.stdin.buffer, sys.stdout.buffer, places.cache / "advisory-indexes")


def _up(arguments: argparse.Namespace, places: Layout) -> int:
    from rich.console import Console

    from functions.ctl import commands, inputs

    inputs.check(places, os.environ, arguments.policy, arguments.advisories)
    return commands.up(
        places,
        os.environ,
        Console(),
        policy=arguments.policy,
        source=arguments.advisories,
        broker=arguments.broker,
    )


def _down(_arguments: argparse.Namespace, places: Layout) -> int:
    from functions.ctl import commands

    return commands.down(places)


def _enter(arguments: argparse.Namespace, places: Layout) -> int:
    from functions.ctl import commands

    return commands.enter(places, arguments.vm, arguments.words)


def _run(arguments: argparse.Namespace, places: Layout) -> int:
    from rich.console import Console

    from functions.ctl import inputs
    from functions.ctl.run import Request, prepare, run

    try:
        workload, _ = prepare(arguments.workload)
    except DmzError as error:
        raise BadInput(str(error)) from error
    if arguments.tamper and not workload.data_services:
        raise BadInput(
            f"The workload {workload.name} names no data service, so there is no image to tamper with."
        )
    inputs.check(places, os.environ, arguments.policy, arguments.advisories, arguments.report)
    request = Request(
        workload=arguments.workload,
        layout=places,
        environment=os.environ,
        keep=arguments.keep,
        report=arguments.report,
        policy=arguments.policy,
        advisories=arguments.advisories,
        broker=arguments.broker,
        tamper=arguments.tamper,
    )
    return run(request, Console())


_ADAPTED: Mapping[str, Command] = {
    "appraise": _appraise,
    "deploy": _deploy,
    "down": _down,
    "enter": _enter,
    "match": _match,
    "run": _run,
    "up": _up,
}


def dispatch(arguments: argparse.Namespace) -> int:
    """Do what was asked for; the exit code."""
    command = _ADAPTED.get(arguments.command) or _plain(_PLAIN[arguments.command])
    project = getattr(arguments, "project", "")
    for each in (project, getattr(arguments, "inner_project", "")):
        access.checked(each)
    try:
        return command(arguments, layout(os.environ))
    except (Inaccessible, Transient) as error:
        if not project:
            raise
        from functions.ctl.stored import UNREACHABLE

        # Not 1, which means no: nothing is known.
        print(f"dmz: {access.sentence(error, project)}", file=sys.stderr)
        return UNREACHABLE


def _plain(place: str) -> Command:
    module, _, name = place.partition(".")
    return cast(Command, getattr(importlib.import_module(f"functions.ctl.{module}"), name))
