"""A whole deployment as a script for a POSIX shell: what `./dmz deploy --plan` prints."""

from __future__ import annotations

from collections.abc import Iterator

from functions.ctl import deploy_proof_steps as proof
from functions.ctl import deploy_steps as steps
from functions.ctl.deploy_commands import Command, Expanded


def typed(given: steps.Given) -> Iterator[str]:
    """Line by line, below `set -eu` and a `cd` to the checkout: what fails ends it."""
    yield "proof=$(mktemp -d)"
    if given.committed:
        yield "# the checkout is a commit's"
        yield f'changes=$({steps.changes().typed()}); test -z "$changes"'
    for step in steps.before(given):
        yield from _shown(step)
    image = given.image
    if not image:
        yield from _built()
        image = Expanded(f"$repository/{steps.PACKAGE}@$digest")
    if not given.unproved:
        yield from proof.typed(given.image)
    for step in steps.after(given, image):
        yield from _shown(step)
    yield "# nothing is left to do: exit code 0 of both"
    for project in steps.PROJECTS:
        yield steps.proof(given, project).typed()
    yield 'rm -r "$proof"'


def _built() -> Iterator[str]:
    yield "# image build, by two builders; not needed if the registry has this commit's image, and both have signed"
    yield from steps.naming()
    yield f"revision=$({steps.revision().typed()})"
    yield from _shown(steps.build(steps.SHELL), named=False)
    found = steps.digest(steps.SHELL)
    images = Expanded("$proof/images.json")
    yield from Command(found.words, (), images).lines()
    yield f"digest=$({Command(('jq', '-er', *found.filter[2:], images)).typed()})"


def _shown(step: steps.Step, *, named: bool = True) -> Iterator[str]:
    if named:
        yield f"# {step.name}"
    for command in step.commands:
        yield from command.lines()
