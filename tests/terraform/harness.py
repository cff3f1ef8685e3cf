"""Runs the real Terraform over a copy of terraform/, without a cloud and without a registry.

The providers' schema is served by the schema stand-in (tests/terraform/standin/README.md), trimmed to what the files
use: Terraform reads the whole schema at every command. Commands are Terraform's own.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
TERRAFORM = CHECKOUT / "terraform"
STANDIN = Path(__file__).resolve().parent / "standin"
_WHERE = "install Terraform 1.9 or later (https://developer.hashicorp.com/terraform/install)."
_USED = re.compile(r"\bgoogle_[a-z0-9_]+\b")
_PROVIDERS = ("google", "google-beta")
OPERATORS = (".terraform*", "terraform.tfstate*", "*.tfplan", "*.tfvars", "*.auto.tfvars.json")
"""What a deployment leaves in the folders: none of it is a test's business."""
_LOCAL_STATE = 'terraform {\n  backend "local" {}\n}\n'


@dataclass(frozen=True)
class Done:
    """What a Terraform command came to."""

    code: int
    output: str


@dataclass(frozen=True)
class Workspace:
    """A copy of terraform/ that a test may change."""

    directory: Path
    environment: Mapping[str, str]

    def root(self, name: str) -> Path:
        return self.directory / name

    def run(self, root: str, *arguments: str) -> Done:
        """One Terraform command in `root` (outer, inner)."""
        command = ("terraform", f"-chdir={self.root(root)}", *arguments)
        done = subprocess.run(
            command, env=dict(self.environment), capture_output=True, text=True, check=False, timeout=300
        )
        return Done(done.returncode, done.stdout + done.stderr)

    def init(self, root: str) -> None:
        """Backends are replaced by a local one: nobody's state is touched."""
        if not root.startswith("modules"):
            (self.root(root) / "backend_override.tf").write_text(_LOCAL_STATE)
        done = self.run(root, "init", "-no-color", "-input=false")
        assert done.code == 0, done.output

    def plan(self, root: str, variables: Mapping[str, Any]) -> tuple[Done, dict[str, Any]]:
        """The plan over an empty state, as `terraform show -json` gives it; {} if Terraform refused."""
        given = self.root(root) / "test.auto.tfvars.json"
        given.write_text(json.dumps(variables))
        done = self.run(root, "plan", "-no-color", "-input=false", "-lock=false", "-out=plan.bin")
        given.unlink()
        if done.code:
            return done, {}
        shown = self.run(root, "show", "-no-color", "-json", "plan.bin")
        assert shown.code == 0, shown.output
        return done, json.loads(shown.output[shown.output.index("{") :])

    def copied(self, to: Path) -> Workspace:
        """Another copy, with what init made."""
        shutil.copytree(self.directory, to, symlinks=True)
        return Workspace(to, self.environment)


def lacking() -> str:
    """Why Terraform cannot be run, in one sentence; empty if it can."""
    if shutil.which("terraform") is None:
        return f"terraform is not on PATH: {_WHERE}"
    done = subprocess.run(
        ("terraform", "version"),
        env={**os.environ, "CHECKPOINT_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.match(r"Terraform v(\d+)\.(\d+)", done.stdout)
    if not found or not (1, 9) <= (int(found[1]), int(found[2])) < (2, 0):
        return f"terraform is {found[0][11:] if found else 'broken'}: {_WHERE}"
    return ""


@contextlib.contextmanager
def workspace(to: Path) -> Iterator[Workspace]:
    """A copy of terraform/ with the stand-ins at work."""
    copy = to / "terraform"
    shutil.copytree(TERRAFORM, copy, ignore=shutil.ignore_patterns(*OPERATORS))
    with providers(to) as environment:
        yield Workspace(copy, environment)


@contextlib.contextmanager
def providers(scratch: Path) -> Iterator[dict[str, str]]:
    """The environment in which Terraform finds the stand-ins for both providers."""
    python = _interpreter()
    # The tests' own files too: what they forbid must be known to be forbidden.
    files = (*TERRAFORM.rglob("*.tf"), *TERRAFORM.rglob("*.hcl"), *Path(__file__).parent.glob("*.py"))
    used = {name for path in files for name in _USED.findall(path.read_text())}
    started = []
    try:
        for name in _PROVIDERS:
            schema = scratch / f"{name}.schema.json.gz"
            schema.write_bytes(_trimmed(STANDIN / f"{name}-8.7.0.schema.json.gz", used))
            started.append(_start(python, name, schema, scratch))
        reattach: dict[str, Any] = {}
        for process, answer in started:
            reattach |= _answer(process, answer)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("TF_", "GOOGLE_"))}
        yield {
            **kept,
            "TF_REATTACH_PROVIDERS": json.dumps(reattach),
            "TF_CLI_CONFIG_FILE": "/dev/null",
            "CHECKPOINT_DISABLE": "1",
            # Go's collector takes a third of a short command's time: it may wait until there is something to collect.
            "GOGC": "off",
            "GOMEMLIMIT": "600MiB",
            "TF_IN_AUTOMATION": "1",
        }
    finally:
        for process, _ in started:
            process.kill()
            process.wait()


def _trimmed(path: Path, used: set[str]) -> bytes:
    schema = json.loads(gzip.decompress(path.read_bytes()))
    for kind in ("resources", "data_sources"):
        schema[kind] = {name: each for name, each in schema[kind].items() if name in used}
    return gzip.compress(json.dumps(schema).encode(), 1)


def _start(python: Path, name: str, schema: Path, scratch: Path) -> tuple[subprocess.Popen[bytes], Path]:
    answer = scratch / f"{name}.json"
    with answer.open("wb") as out, (scratch / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            (python, STANDIN / "standin.py", "--reattach", f"registry.terraform.io/hashicorp/{name}"),
            env={**os.environ, "TFSCHEMA": str(schema), "TMPDIR": str(scratch)},
            stdout=out,
            stderr=log,
        )
    return process, answer


def _answer(process: subprocess.Popen[bytes], answer: Path) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while not answer.read_bytes().endswith(b"\n"):
        if process.poll() is not None or time.monotonic() > deadline:
            log = answer.with_suffix(".log").read_text()
            raise AssertionError(f"The schema stand-in did not start: {log}")
        time.sleep(0.05)
    found: dict[str, Any] = json.loads(answer.read_text())
    return found


def _interpreter() -> Path:
    """A Python with the stand-in's own packages: they ask for another protobuf than Google's clients do.

    TF_STANDIN_VENV names an environment that has them.
    """
    if given := os.environ.get("TF_STANDIN_VENV"):
        return Path(given) / "bin" / "python"
    return environment("standin")


def environment(name: str) -> Path:
    """The Python of an environment with the packages of NAME/requirements.txt, made once and kept in the cache."""
    requirements = Path(__file__).resolve().parent / name / "requirements.txt"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    home = cache / "package-dmz" / f"terraform-{name}-{wanted}"
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        uv = Path(sys.executable).parent / "uv"
        _do(str(uv), "venv", "--quiet", "--clear", "--python", sys.executable, str(home))
        _do(
            *(str(uv), "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--python", str(python)),
            *("-r", str(requirements)),
        )
        (home / "complete").touch()
    return python


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
