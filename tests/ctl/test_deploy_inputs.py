"""What a deployment asks before it begins; and what becomes of it when it is told to stop."""

from __future__ import annotations

import argparse
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from functions.ctl import cli
from functions.ctl.deploy import deploy
from functions.ctl.deploy_commands import Command, Expanded, Runner
from functions.ctl.inputs import BadInput
from functions.local.layout import CHECKOUT
from shared.errors import Permanent

DIGEST = "sha256:" + "1" * 64
_FAKE = """#!/bin/sh
echo "{name} $*" >> {log}
{more}
"""


class Machine:
    """A PATH with these programs on it, and files of variables."""

    def __init__(self, folder: Path, **programs: str) -> None:
        self.folder, self.log, bin = folder, folder / "log", folder / "bin"
        bin.mkdir()
        self.log.touch()
        for name, more in programs.items():
            (bin / name).write_text(_FAKE.format(name=name, log=self.log, more=more))
            (bin / name).chmod(0o755)
        for name in ("outer", "inner"):
            (folder / name).write_text("")
        (folder / "cloudbuild.yaml").write_text("steps: []")
        self.environment: dict[str, str] = {"PATH": os.fspath(bin)}

    def arguments(self, *more: str) -> argparse.Namespace:
        files = (
            "--outer-vars",
            os.fspath(self.folder / "outer"),
            "--inner-vars",
            os.fspath(self.folder / "inner"),
        )
        return cli.parser().parse_args(["deploy", *files, "--state-bucket", "my-state", *more])

    def deploy(self, *more: str, **environment: str) -> int:
        return deploy(self.arguments(*more), self.environment | environment, self.folder)


TERRAFORM = """[ "$1" != version ] || echo '{"terraform_version": "1.9.8"}'"""
OLD = """echo '{"terraform_version": "1.8.5"}'"""


@pytest.mark.parametrize(
    ("programs", "more", "named"),
    [
        ({"jq": "", "git": "", "gcloud": ""}, (), ["terraform 1.9 or later (https:"]),
        ({"terraform": OLD, "jq": "", "git": "", "gcloud": ""}, (), ["the one on PATH is 1.8.5"]),
        ({"terraform": "echo no", "jq": "", "git": "", "gcloud": ""}, (), ["does not say its version"]),
        ({"terraform": TERRAFORM}, (), ["jq (", "git (", "gcloud ("]),
        (
            {"terraform": TERRAFORM, "jq": "", "git": "", "gcloud": "exit 1"},
            (),
            ["gcloud auth login", "gcloud auth application-default login"],
        ),
        (
            {"terraform": TERRAFORM, "jq": "", "gcloud": "exit 1"},
            (f"--image=a.b/c@{DIGEST}",),
            ["gcloud auth login", "gcloud auth application-default login"],
        ),
    ],
)
def test_what_is_missing_is_one_sentence_and_nothing_is_begun(
    programs: Mapping[str, str], more: tuple[str, ...], named: list[str], tmp_path: Path
) -> None:
    machine = Machine(tmp_path, **programs)
    with pytest.raises(BadInput) as found:
        machine.deploy("--yes", *more)
    said = str(found.value)
    assert "\n" not in said
    assert [each for each in named if each not in said] == []
    assert said.count("; ") == len(named) - 1
    assert "apply" not in machine.log.read_text()


def test_terraforms_own_credentials_serve_where_no_image_is_built(tmp_path: Path) -> None:
    machine = Machine(tmp_path, terraform=f"{TERRAFORM}; [ $1 = version ]", jq="")
    words, own = ("--yes", f"--image=a.b/c@{DIGEST}"), {"GOOGLE_APPLICATION_CREDENTIALS": "/dev/null"}
    with pytest.raises(BadInput, match="gcloud"):
        machine.deploy(*words, "--unproved")
    # Statements of builders are fetched by gcloud.
    with pytest.raises(BadInput, match="gcloud"):
        machine.deploy(*words, **own)
    with pytest.raises(Permanent, match="The step init failed"):
        machine.deploy(*words, "--unproved", **own)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--image=a.b/c:latest",), "by its digest"),
        (("--unproved",), "goes with --image"),
        (("--state-bucket=gs://bucket",), "without gs://"),
        (("--outer-vars=/nowhere/at/all",), "is no file"),
        ((), "no terminal"),
    ],
)
def test_bad_input_is_one_sentence(words: tuple[str, ...], named: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with pytest.raises(BadInput, match=named):
        machine.deploy(*words)
    assert machine.log.read_text() == ""


@pytest.mark.parametrize(
    ("answer", "applied", "known"),
    [("y\n", 0, "{}"), ("\n", 0, "{}"), ("\x04", 0, "{}"), ("yes\n", 1, '{"contract": {"value": {}}}')],
)
def test_a_terminal_is_asked_once_before_the_first_apply_below_the_plans(
    answer: str, applied: int, known: str, tmp_path: Path
) -> None:
    terraform = f"""{TERRAFORM}
[ "$2" != output ] || echo '{known}'
[ "$2" != apply ] || exit 1"""
    machine = Machine(tmp_path, terraform=terraform, jq="/bin/cat", gcloud="", git="")
    for project in ("outer", "inner"):
        (tmp_path / "terraform" / project).mkdir(parents=True)
    code = (
        "import sys; from pathlib import Path; from functions.ctl import cli, deploy; import functools;"
        "deploy.deploy = functools.partial(deploy.deploy, root=Path(sys.argv.pop(1))); sys.exit(cli.main())"
    )
    master, slave = pty.openpty()
    words = (sys.executable, "-c", code, os.fspath(tmp_path), "deploy", f"--outer-vars={tmp_path / 'outer'}")
    with subprocess.Popen(
        (*words, f"--inner-vars={tmp_path / 'inner'}", "--state-bucket=my-state"),
        env=machine.environment | {"PYTHONPATH": os.fspath(CHECKOUT)},
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as running:
        os.write(master, answer.encode())
        output, _ = running.communicate(timeout=120)
    os.close(master)
    os.close(slave)
    text = output.decode()
    assert running.returncode == 1
    assert text.count("Apply?") == 1
    assert machine.log.read_text().count(" apply ") == applied
    assert ("Nothing was applied." in text) != bool(applied)
    assert "Traceback" not in text
    # The inner project has a plan once the outer one says what it is made of.
    planned = [line.split()[1] for line in machine.log.read_text().splitlines() if " plan " in line]
    assert planned == [f"-chdir=terraform/{name}" for name in (("outer", "inner") if applied else ("outer",))]
    assert text.count("The inner project has no plan yet") != applied


@pytest.mark.parametrize(
    "stop",
    [
        lambda running: running.terminate(),
        lambda running: running.send_signal(signal.SIGINT),
        # A terminal that hangs up tells everybody.
        lambda running: os.killpg(running.pid, signal.SIGHUP),
    ],
    ids=["SIGTERM", "SIGINT", "SIGHUP"],
)
def test_who_stops_it_waits_for_the_command(
    stop: Callable[[subprocess.Popen[bytes]], None], tmp_path: Path
) -> None:
    """Terraform ends what it has begun and frees its lock, then the deployment ends, and begins nothing more."""
    log = tmp_path / "log"
    wait = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    slow = f"trap 'echo told >> {log}' INT; echo up >> {log}; {wait}; echo end >> {log}"
    code = (
        "import os, sys; from pathlib import Path; from functions.ctl.deploy_commands import Command, Runner\n"
        "try: Runner(Path('/'), os.environ).run(Command(('sh', '-c', sys.argv[1])))\n"
        "except KeyboardInterrupt: sys.exit(130)"
    )
    with subprocess.Popen(
        (sys.executable, "-c", code, slow),
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.fspath(CHECKOUT)},
        start_new_session=True,
    ) as running:
        _until(lambda: log.exists() and "up" in log.read_text())
        stop(running)
        _until(lambda: "told" in log.read_text())
        assert running.poll() is None
        (tmp_path / "go").touch()
        assert running.wait(120) == 130
    assert log.read_text().split() == ["up", "told", "end"]


def _until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_file_is_replaced_only_when_all_went_well(tmp_path: Path) -> None:
    runner, file = Runner(tmp_path, os.environ), tmp_path / "value.json"
    assert runner.run(Command(("echo", '{"a": 1}'), ("jq", "{b: .a}"), "value.json")) == 0
    assert file.read_text().split() == ["{", '"b":', "1", "}"]
    for bad in (("false",), ("echo", "no json")):
        assert runner.run(Command(bad, ("jq", "{b: .a}"), "value.json")) != 0
        assert file.read_text().split() == ["{", '"b":', "1", "}"]
    with pytest.raises(Permanent, match="no-such-program cannot be started"):
        runner.run(Command(("no-such-program",)))


def test_a_command_is_typed_as_a_shell_takes_it(tmp_path: Path) -> None:
    hostile = Command(("echo", "$HOME `id` it's", Expanded("$A b")), ("cat",), "a file")
    done = subprocess.run(
        ("sh", "-c", hostile.typed()), env={"A": "1", "PATH": os.environ["PATH"]}, cwd=tmp_path, check=True
    )
    assert done.returncode == 0
    assert (tmp_path / "a file").read_text() == "$HOME `id` it's 1 b\n"


def test_a_script_ends_where_a_command_fails_and_leaves_the_file(tmp_path: Path) -> None:
    (tmp_path / "value").write_text("former")
    for command in (
        Command(("false",), ("cat",), "value"),
        Command(("echo", "x"), ("false",), "value"),
        Command(("false",), (), "value"),
    ):
        script = "\n".join(("set -eu", *command.lines(), "echo on"))
        done = subprocess.run(("sh", "-c", script), cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert (tmp_path / "value").read_text() == "former"
    good = "\n".join(("set -eu", *Command(("echo", "new"), ("cat",), "value").lines()))
    subprocess.run(("sh", "-c", good), cwd=tmp_path, check=True)
    assert (tmp_path / "value").read_text() == "new\n"


def test_the_plan_begins_with_what_ends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Machine(tmp_path).deploy("--plan") == 0
    assert capsys.readouterr().out.startswith("set -eu\ncd ")
