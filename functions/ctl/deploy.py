"""`./dmz deploy`: the whole system on Google Cloud, by commands that an operator could type.

Every step may be done again: Terraform compares, what crosses is read from its state, and an image that the registry
has of this commit is not built twice. So a deployment that was stopped anywhere is finished by the same command.

1. What is applied is a commit's: that is asked before anything is changed, and again before it is sent to be built.
2. Nothing is applied with an image before two builders' agreement on it is proved here (deploy_proof.py).
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from functions.ctl import deploy_steps as steps
from functions.ctl.deploy_commands import Runner
from functions.ctl.deploy_doing import Doing, failed, say
from functions.ctl.deploy_proof import STEP as PROOF
from functions.ctl.deploy_proof import Proof
from functions.ctl.deploy_proof_steps import Evidence
from functions.ctl.deploy_script import typed
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
    given = _given(arguments, root)
    if arguments.plan:
        print("\n".join(("set -eu", f"cd {shlex.quote(str(root))}", *typed(given))))
        return 0
    if not arguments.yes and not sys.stdin.isatty():
        raise BadInput("This is no terminal, so nobody can be asked whether to apply: say --yes.")
    if lacking := list(missing(root, environment, given)):
        raise BadInput(f"A deployment needs {'; '.join(lacking)}.")
    with tempfile.TemporaryDirectory(prefix="dmz-deploy-") as folder:
        return Deployment(given, Doing(Runner(root, environment)), folder, asks=not arguments.yes).run()


def _given(arguments: argparse.Namespace, root: Path) -> steps.Given:
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
    if arguments.unproved and not arguments.image:
        raise BadInput("--unproved goes with --image: what is built here is proved.")
    outer, inner = (str(path.resolve()) for path in (arguments.outer_vars, arguments.inner_vars))
    # Cloud Build is sent a commit's sources without the repository; there an image is named, none is built.
    committed = not arguments.image or (root / ".git").exists()
    return steps.Given(
        outer, inner, arguments.state_bucket, arguments.image, arguments.unproved, committed=committed
    )


@dataclass(frozen=True)
class Deployment:
    """One deployment."""

    given: steps.Given
    doing: Doing
    folder: str
    """Where statements are read; empty, and this deployment's own."""
    asks: bool
    """Whether a person is asked before the first apply."""

    def run(self) -> int:
        """Do every step in order."""
        started = time.monotonic()
        before, count = (
            steps.before(self.given),
            len(steps.before(self.given)) + len(steps.after(self.given, "")) + 3,
        )
        try:
            if self.given.committed:
                self._is_committed("checkout")  # 1
            for at, step in enumerate(before, 1):
                if step.name == steps.FIRST_APPLY and self.asks:
                    self._agree()
                self._step(step, f"{at}/{count}")
            done = len(before) + 2
            image = self._proved_image(f"{done - 1}/{count}", f"{done}/{count}")  # 2
            for at, step in enumerate(steps.after(self.given, image), done + 1):
                self._step(step, f"{at}/{count}")
            outer = self._image_is_deployed(image)
            say(f"[{count}/{count}] proof that nothing is left to do")
            left = [project for project in steps.PROJECTS if self._left(project)]
        except KeyboardInterrupt:
            print("\nStopped; the same command goes on from here.", file=sys.stderr)
            raise
        if left:
            raise Permanent(
                f"Deployed, but the plan of {' and '.join(left)} is not empty (it stands above): run the same command "
                "again; if it stays so, something changes what Terraform has set."
            )
        sealed = self.doing.outputs("inner").get("sealed_by", "")
        say(
            f"Deployed {image} in {time.monotonic() - started:.0f} s; the plans of both projects are empty. "
            f"The inner network is {sealed}."
        )
        say(_next(outer))
        return 0

    def _agree(self) -> None:
        """Returns if both projects may be applied: shows what that would do, and asks."""
        name = "plan"
        self.doing.do(name, steps.plan(self.given, "outer"))
        if "contract" in self.doing.outputs("outer"):
            self._step(steps.contract(), "plan")
            self.doing.do(name, steps.plan(self.given, "inner"))
        else:
            say(
                "The inner project has no plan yet: it is made of what the outer project says once it is there."
            )
        print(
            f"\nNext both projects are applied: terraform/outer with {self.given.outer_vars}, terraform/inner with "
            f"{self.given.inner_vars}, states in gs://{self.given.bucket}."
        )
        try:
            answer = input("Apply? Only 'yes' is taken as yes: ").strip()
        except EOFError:
            print()
            answer = ""
        if answer != "yes":
            raise Permanent("Nothing was applied.")

    def _step(self, step: steps.Step, at: str) -> None:
        say(f"[{at}] {step.name}")
        for command in step.commands:
            self.doing.do(step.name, command)

    def _proved_image(self, build: str, proof: str) -> str:
        """The image by its digest, which two builders agree on."""
        if self.given.unproved:
            say(f"[{proof}] {PROOF}")
            say(f"Warning: nobody has asked whether two builders agree on {self.given.image} (--unproved).")
            return self.given.image
        outputs = self.doing.outputs("outer")
        keys = (outputs["builder_key"], outputs["rebuilder_key"])
        evidence = Evidence(outputs["contract"]["project"], outputs["provenance_bucket"], keys, self.folder)
        found = Proof(self.doing, evidence)
        if self.given.image:
            say(f"[{proof}] {PROOF}")
            found.prove_named(self.given.image.partition("@")[2])
            return self.given.image
        say(f"[{build}] image build")
        place = self._place()
        digest = self._built(place, found)
        say(f"[{proof}] {PROOF}")
        found.prove(place.revision, digest)
        return f"{place.repository}/{steps.PACKAGE}@{digest}"

    def _built(self, place: steps.Place, proof: Proof) -> str:
        """Digest of the image of this commit, built unless the registry has it and both builders have signed."""
        name = "image build"
        found = self._digest(name, place)
        if found:
            lacking = proof.lacking(place.revision)
            if not lacking:
                return found
            who = " and of the ".join(lacking)
            say(
                f"The registry has an image of {place.revision}, but no statement of the {who} is kept: a build failed "
                "behind its push. It is built again."
            )
        self._is_committed(name)  # 1
        step = steps.build(place)
        for command in step.commands:
            self.doing.do(step.name, command)
        found = self._digest(name, place)
        if not found:
            raise Permanent(
                f"The step {name} failed: Cloud Build ended well, but {place.repository} has no image with the tag "
                f"{place.revision}; see its log."
            )
        return found

    def _is_committed(self, step: str) -> None:
        if self.doing.ask(step, steps.changes()):
            raise Permanent(
                f"The step {step} failed: the checkout has changes that no commit holds, so what it deploys could not "
                "be told from something else; commit them (git status names them)."
            )

    def _place(self) -> steps.Place:
        step, outputs = "image build", self.doing.outputs("outer")
        revision = self.doing.ask(step, steps.revision())
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
        said = self.doing.ask(step, steps.digest(place)).split()
        if len(said) > 1 or not all(map(_DIGEST.fullmatch, said)):
            raise Permanent(
                f"The step {step} failed: for the tag {place.revision} Artifact Registry answers "
                f"'{printable(' '.join(said), 200)}', not one digest."
            )
        return said[0] if said else ""

    def _image_is_deployed(self, image: str) -> Mapping[str, Any]:
        """What the outer project says of itself."""
        # A file of variables has the last word over image.auto.tfvars.json, and would win unseen.
        outputs = self.doing.outputs("outer")
        deployed = outputs.get("contract", {}).get("image")
        if deployed != image:
            raise Permanent(
                f"Terraform deployed {deployed}, not {image}: the variable `image` is set in {self.given.outer_vars}; "
                "take it out there."
            )
        return outputs

    def _left(self, project: str) -> bool:
        command = steps.proof(self.given, project)
        code = self.doing.code(command)
        if code not in (_EMPTY, _CHANGES):
            raise failed(f"proof for the {project} project", command, code)
        return code == _CHANGES


def _next(outer: Mapping[str, Any]) -> str:
    """How an operator goes on."""
    project = outer["contract"]["project"]
    return (
        f"  the console        {outer['console_url']} (for who is among console_readers)\n"
        f"  start a run        ./dmz submit quickstart --project={project}\n"
        f"  follow it          ./dmz status --watch --project={project}\n"
        "  daily work         docs/operations.md"
    )
