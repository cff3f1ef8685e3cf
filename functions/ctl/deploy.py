"""`./dmz deploy`: the whole system on Google Cloud, by commands that an operator could type.

Every step may be done again: Terraform compares, what crosses is read from its state, and an image that the registry
has of this commit is not built twice. So a deployment that was stopped anywhere is finished by the same command.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from functions.ctl import deploy_steps as steps
from functions.ctl.deploy_commands import Command, Runner
from functions.ctl.deploy_tools import missing
from functions.ctl.inputs import BadInput
from functions.local.layout import CHECKOUT
from shared.errors import Permanent
from shared.model.value import printable

# https://cloud.google.com/storage/docs/buckets#naming
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", re.ASCII)
_IMAGE = re.compile(r"[a-z0-9.-]+/[a-z0-9./_-]+@sha256:[0-9a-f]{64}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
_EMPTY, _CHANGES = 0, 2


def deploy(arguments: argparse.Namespace, environment: Mapping[str, str], root: Path = CHECKOUT) -> int:
    """0: deployed, and nothing is left to do. BadInput: nothing was begun. Permanent names the step that failed."""
    given = _given(arguments)
    if arguments.plan:
        print("\n".join((f"cd {shlex.quote(str(root))}", *steps.typed(given))))
        return 0
    if not arguments.yes and not sys.stdin.isatty():
        raise BadInput("This is no terminal, so nobody can be asked whether to apply: say --yes.")
    if lacking := list(missing(root, environment, builds=not given.image)):
        raise BadInput(f"A deployment needs {'; '.join(lacking)}.")
    agree = (lambda: None) if arguments.yes else _ask(given)
    return Deployment(given, Runner(root, environment), agree).run()


def _given(arguments: argparse.Namespace) -> steps.Given:
    for path in (arguments.outer_vars, arguments.inner_vars):
        if not path.is_file():
            raise BadInput(f"{printable(str(path), 300)} is no file: it should hold variables of Terraform.")
    if not _BUCKET.fullmatch(arguments.state_bucket):
        raise BadInput(
            "--state-bucket must be the name of a bucket, without gs://, not "
            f"'{printable(arguments.state_bucket, 100)}'."
        )
    if arguments.image and not _IMAGE.fullmatch(arguments.image):
        raise BadInput(
            "--image must be named by its digest, NAME@sha256:…: a tag can be moved to an image that nobody judged."
        )
    outer, inner = (str(path.resolve()) for path in (arguments.outer_vars, arguments.inner_vars))
    return steps.Given(outer, inner, arguments.state_bucket, arguments.image)


def _ask(given: steps.Given) -> Callable[[], None]:
    def ask() -> None:
        print(
            f"\nNext both projects are applied: terraform/outer with {given.outer_vars}, terraform/inner with "
            f"{given.inner_vars}, states in gs://{given.bucket}."
        )
        if input("Apply? Only 'yes' is taken as yes: ").strip() != "yes":
            raise Permanent("Nothing was applied.")

    return ask


@dataclass(frozen=True)
class Deployment:
    """One deployment."""

    given: steps.Given
    runner: Runner
    agree: Callable[[], None]
    """Returns if both projects may be applied."""

    def run(self) -> int:
        """Do every step in order."""
        started = time.monotonic()
        count = len(steps.before(self.given)) + 2 + len(steps.after(self.given, ""))
        done = 0
        try:
            for step in steps.before(self.given):
                done += 1
                if done == _FIRST_APPLY:
                    self.agree()
                self._step(step, f"{done}/{count}")
            done += 1
            image = self.given.image or self._image(f"{done}/{count}")
            for step in steps.after(self.given, image):
                done += 1
                self._step(step, f"{done}/{count}")
            self._image_is_deployed(image)
            _say(f"[{done + 1}/{count}] proof that nothing is left to do")
            left = [project for project in steps.PROJECTS if self._left(project)]
        except KeyboardInterrupt:
            print("\nStopped; the same command goes on from here.", file=sys.stderr)
            raise
        if left:
            raise Permanent(
                f"Deployed, but the plan of {' and '.join(left)} is not empty (it stands above): run the same command "
                "again; if it stays so, something changes what Terraform has set."
            )
        sealed = self._outputs("inner").get("sealed_by", "")
        _say(
            f"Deployed {image} in {time.monotonic() - started:.0f} s; the plans of both projects are empty. "
            f"The inner network is {sealed}."
        )
        return 0

    def _step(self, step: steps.Step, at: str) -> None:
        _say(f"[{at}] {step.name}")
        for command in step.commands:
            self._do(step.name, command)

    def _do(self, step: str, command: Command) -> None:
        _say(f"+ {command.typed()}")
        if code := self.runner.run(command):
            raise Permanent(_failed(step, command, code))

    def _ask_for(self, step: str, command: Command) -> str:
        _say(f"+ {command.typed()}")
        code, output = self.runner.read(command)
        if code:
            raise Permanent(_failed(step, command, code))
        return output.strip()

    def _outputs(self, project: str) -> dict[str, Any]:
        command = steps.outputs(project)
        said = json.loads(self._ask_for(f"outputs of the {project} project", command) or "{}")
        return {name: one["value"] for name, one in said.items()}

    def _image(self, at: str) -> str:
        """The image of this commit by its digest, built unless the registry has it."""
        name = "image build"
        _say(f"[{at}] {name}")
        place = self._place(name)
        found = self._digest(name, place)
        if not found:
            step = steps.build(place)
            for command in step.commands:
                self._do(step.name, command)
            found = self._digest(name, place)
        if not found:
            raise Permanent(
                f"The step {name} failed: Cloud Build ended well, but {place.repository} has no image with the tag "
                f"{place.revision}; see its log."
            )
        return f"{place.repository}/{steps.PACKAGE}@{found}"

    def _place(self, step: str) -> steps.Place:
        outputs = self._outputs("outer")
        if self._ask_for(step, steps.changes()):
            raise Permanent(
                f"The step {step} failed: the checkout has changes that no commit holds, so its image could not be "
                "told from another one; commit them, or name an image with --image."
            )
        revision = self._ask_for(step, steps.revision())
        if not _COMMIT.fullmatch(revision):
            raise Permanent(f"The step {step} failed: git names no commit.")
        contract = outputs["contract"]
        return steps.Place(
            project=contract["project"],
            location=contract["location"],
            repository=outputs["repository"],
            builds_bucket=outputs["builds_bucket"],
            revision=revision,
        )

    def _digest(self, step: str, place: steps.Place) -> str:
        said = self._ask_for(step, steps.digest(place)).split()
        if len(said) > 1 or not all(map(_DIGEST.fullmatch, said)):
            raise Permanent(
                f"The step {step} failed: for the tag {place.revision} Artifact Registry answers "
                f"'{printable(' '.join(said), 200)}', not one digest."
            )
        return said[0] if said else ""

    def _image_is_deployed(self, image: str) -> None:
        # A file of variables has the last word over image.auto.tfvars.json, and would win unseen.
        deployed = self._outputs("outer").get("contract", {}).get("image")
        if deployed != image:
            raise Permanent(
                f"Terraform deployed {deployed}, not {image}: the variable `image` is set in {self.given.outer_vars}; "
                "take it out there."
            )

    def _left(self, project: str) -> bool:
        command = steps.proof(self.given, project)
        _say(f"+ {command.typed()}")
        code = self.runner.run(command)
        if code not in (_EMPTY, _CHANGES):
            raise Permanent(_failed(f"proof for the {project} project", command, code))
        return code == _CHANGES


_FIRST_APPLY = 3
"""Number of the first step that changes anything on Google Cloud."""


def _failed(step: str, command: Command, code: int) -> str:
    return (
        f"The step {step} failed ({command.words[0]} ended with exit code {code}, its words stand above); "
        "mend that, then run the same command again."
    )


def _say(text: str) -> None:
    print(text, flush=True)
