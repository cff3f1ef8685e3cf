"""How the commands of a deployment are done: each is shown before it runs, and ends the deployment if it fails."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from functions.ctl import deploy_steps as steps
from functions.ctl.deploy_commands import Command, Runner
from shared.errors import Permanent


@dataclass(frozen=True)
class Doing:
    """Does commands; Permanent names the step that failed."""

    runner: Runner

    def do(self, step: str, command: Command) -> None:
        if code := self.code(command):
            raise failed(step, command, code)

    def code(self, command: Command) -> int:
        """Its exit code, whatever that means."""
        say(f"+ {command.typed()}")
        return self.runner.run(command)

    def read(self, command: Command) -> tuple[int, str]:
        """Exit code and output, whatever they mean."""
        say(f"+ {command.typed()}")
        return self.runner.read(command)

    def ask(self, step: str, command: Command) -> str:
        """What it answers."""
        code, output = self.read(command)
        if code:
            raise failed(step, command, code)
        return output.strip()

    def outputs(self, project: str) -> dict[str, Any]:
        """Terraform's, of a project; none before the first apply."""
        said = json.loads(self.ask(f"outputs of the {project} project", steps.outputs(project)) or "{}")
        return {name: one["value"] for name, one in said.items()}


def failed(step: str, command: Command, code: int) -> Permanent:
    return Permanent(
        f"The step {step} failed ({command.words[0]} ended with exit code {code}, its words stand above); "
        "mend that, then run the same command again."
    )


def say(text: str) -> None:
    print(text, flush=True)
