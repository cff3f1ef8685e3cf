"""The command line: bad input is one sentence and an exit code, and nothing is started for it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from functions.ctl import cli, dispatch, lifecycle
from functions.ctl.run import Request, kept, prepare, run
from functions.local.layout import CHECKOUT, Layout
from functions.local.platform import Platform, read
from functions.local.processes import process
from shared.errors import Permanent

WHEEL = "mine-1.0-py3-none-any.whl"
TEXT = """
name: mine
runtime_version: tpu-ubuntu2204-base
accelerator_type: v5litepod-1
install: "true"
smoke: "true"
"""


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was started")

    monkeypatch.setattr(lifecycle, "start", refuse)
    monkeypatch.setenv("DMZ_HOME", os.fspath(tmp_path / "state"))
    monkeypatch.delenv("DMZ_DEBUG", raising=False)


def workload(tmp_path: Path, more: str = "") -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT + more)
    return path


def with_wheel(tmp_path: Path, content: bytes, name: str = WHEEL) -> Path:
    digest = hashlib.sha256(b"a wheel").hexdigest()
    (tmp_path / name).write_bytes(content)
    return workload(tmp_path, f"wheels: [{{path: {name}, sha256: 'sha256:{digest}'}}]\n")


def test_an_own_wheel_lies_beside_its_workload_and_has_its_hash(tmp_path: Path) -> None:
    found, wheels = prepare(str(with_wheel(tmp_path, b"a wheel")))
    assert found.name == "mine"
    assert wheels == (tmp_path / WHEEL,)


def test_an_own_wheel_with_another_hash_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        Permanent, match=rf"own wheel .*{WHEEL} has sha256:[0-9a-f]{{64}}; the workload says sha256:"
    ):
        prepare(str(with_wheel(tmp_path, b"another wheel")))


def test_an_own_wheel_that_is_missing_is_named(tmp_path: Path) -> None:
    path = with_wheel(tmp_path, b"a wheel")
    (tmp_path / WHEEL).unlink()
    with pytest.raises(Permanent, match=rf"{WHEEL} cannot be read: No such file or directory"):
        prepare(str(path))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "no-such-workload"], "There is no workload 'no-such-workload'"),
        (["run", "w" * 5000], "There is no workload 'wwww"),
        (["run", "\0"], "There is no workload"),
        (["run", "{tmp}/broken.yaml"], "in line 2, column 1"),
        (["run", "{tmp}/wrong.yaml"], "is not valid at smok"),
        (["run", "{tmp}/missing.yaml"], "cannot be read: No such file or directory"),
    ],
)
def test_a_bad_workload_is_one_sentence_and_exit_code_2(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.yaml").write_text("name: [\n")
    (tmp_path / "wrong.yaml").write_text(TEXT + "smok: x\n")
    assert cli.main([word.replace("{tmp}", str(tmp_path)) for word in words]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.startswith("dmz: ")
    assert said.count("\n") == 1


def test_a_report_that_cannot_be_written_is_said_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", str(workload(tmp_path)), "--report", str(tmp_path / "no" / "where.json")]) == 2
    assert "The report cannot be written to" in capsys.readouterr().err


def test_a_policy_that_is_not_there_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", str(workload(tmp_path)), "--policy", "lenient"]) == 2
    assert "There is no policy 'lenient'" in capsys.readouterr().err


BAD = {
    "a policy file": (["--policy", "{tmp}/bad.yaml"], {}, "is empty"),
    "no directory of advisories": (
        ["--advisories", "{tmp}/none"],
        {},
        "There is no directory of advisories at",
    ),
    "advisories without zips": (
        ["--advisories", "{tmp}"],
        {},
        "PyPI/all.zip: the directory needs PyPI/all.zip and",
    ),
    "a report in a file": (["--report", "{tmp}/bad.yaml/r.json"], {}, "The report cannot be written to"),
    "a report that is a directory": (["--report", "{tmp}"], {}, "The report cannot be written to"),
    "a word for a port": ([], {"DMZ_PORTS": "many"}, "not 'many'"),
    "a digit that is none": ([], {"DMZ_PORTS": "²"}, "not '²'"),
    "a port too high": ([], {"DMZ_PORTS": "65530"}, "ports are 1024 to 65535"),
    "a port that is taken": ([], {"DMZ_PORTS": "{taken}"}, "is taken"),
    "a state directory in a file": ([], {"DMZ_HOME": "{tmp}/bad.yaml/x"}, "cannot be made"),
    "a state directory that is a file": ([], {"DMZ_HOME": "{tmp}/bad.yaml"}, "cannot be made"),
    "a price list that is none": (
        [],
        {"DMZ_PRICES": "{tmp}/bad.yaml"},
        "must be a mapping with at least currency",
    ),
    "hosts for outer VMs": ([], {"DMZ_OUTER_HOSTS": "pypi.org=x"}, "DMZ_OUTER_HOSTS holds"),
    "a shard of no size": ([], {"DMZ_SHARD_BYTES": "big"}, "DMZ_SHARD_BYTES must be a whole number"),
}


CASES = {
    f"{command}, {name}": (command, *case)
    for command in ("run", "up")
    for name, case in BAD.items()
    if command == "run" or "--report" not in case[0]
}


@pytest.mark.parametrize(("command", "options", "environment", "sentence"), CASES.values(), ids=CASES.keys())
def test_bad_input_is_found_before_anything_is_fetched(
    command: str,
    options: list[str],
    environment: dict[str, str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fetched(*_: object, **__: object) -> None:
        raise AssertionError("something was fetched")

    monkeypatch.setattr("functions.local.advisories.download", fetched)
    (tmp_path / "bad.yaml").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:

        def filled(word: str) -> str:
            return word.replace("{tmp}", str(tmp_path)).replace("{taken}", str(taken.getsockname()[1]))

        for name, value in environment.items():
            monkeypatch.setenv(name, filled(value))
        words = [str(workload(tmp_path))] if command == "run" else []
        assert cli.main([command, *words, *map(filled, options)]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.startswith("dmz: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["help"]])
def test_the_help_is_no_failure(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 0
    assert "take a workload through the whole chain" in capsys.readouterr().out


def test_the_help_of_run_names_workloads_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for words in ("maxtext, quickstart, or the path", "--policy NAME|FILE", "2 bad input", "DMZ_PORTS"):
        assert words in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_without_a_platform(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 3
    assert "not up" in capsys.readouterr().out
    assert cli.main(["down"]) == 0
    assert "not up" in capsys.readouterr().out
    assert cli.main(["logs", "outer"]) == 1
    assert "There is no log 'outer'" in capsys.readouterr().err
    assert cli.main(["enter", "dmz-inner-1"]) == 1
    assert "The platform is not up, so no VM runs" in capsys.readouterr().err


def test_a_vm_that_has_gone_is_not_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its pid may belong to another process by now: only one that started when the VM's did is the VM's."""
    layout = Layout(tmp_path / "state", tmp_path)
    layout.prepare()
    a_platform(tmp_path).write(layout.platform)
    me = process(os.getpid())
    assert me
    entered: list[tuple[str, ...]] = []

    def hand_over(_: str, words: tuple[str, ...]) -> None:
        entered.append(words)
        raise SystemExit(0)

    monkeypatch.setattr("os.execv", hand_over)

    def vm(name: str, started: int) -> None:
        directory = layout.machines / "vms" / name
        directory.mkdir(parents=True)
        (directory / "pid").write_text(f"{me.pid}\n")
        (directory / "record.json").write_text(json.dumps({"processes": [[me.pid, started]]}))

    assert cli.main(["enter"]) == 1
    assert capsys.readouterr().err == "dmz: No VM runs; start one with ./dmz run --keep.\n"
    vm("dmz-inner-1", me.started - 1)
    assert cli.main(["enter", "dmz-inner-1"]) == 1
    assert "There is no VM 'dmz-inner-1'; running are: none." in capsys.readouterr().err
    assert not entered
    vm("dmz-inner-2", me.started)
    with pytest.raises(SystemExit):
        cli.main(["enter"])
    assert entered[0][-1] == str(me.pid)
    vm("dmz-inner-3", me.started)
    assert cli.main(["enter"]) == 1
    assert "Several VMs run; name one of them: dmz-inner-2, dmz-inner-3." in capsys.readouterr().err


def test_entering_a_process_that_has_gone_is_one_sentence() -> None:
    with subprocess.Popen(("true",)) as ended:
        pass
    command = (sys.executable, "-P", "-m", "shared.emulators.vm.enter", str(ended.pid), "true")
    environment = os.environ | {"PYTHONPATH": os.fspath(CHECKOUT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"The VM cannot be entered: its process {ended.pid} is gone." in done.stderr


def test_a_defect_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("functions.ctl.commands.down", lambda _: 1 / 0)
    assert cli.main(["down"]) == 1
    assert capsys.readouterr().err == (
        "dmz: a defect of dmz itself, ZeroDivisionError: division by zero; DMZ_DEBUG=1 shows where.\n"
    )


def test_a_full_disk_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: Layout) -> int:
        raise OSError(28, "No space left on device", "/var/dmz/x")

    monkeypatch.setattr("functions.ctl.commands.down", full)
    assert cli.main(["down"]) == 1
    assert capsys.readouterr().err.startswith("dmz: The disk is full (/var/dmz/x): free some space, or name")


def a_platform(tmp_path: Path) -> Platform:
    me = process(os.getpid())
    assert me
    return Platform(
        pid=me.pid,
        started=me.started,
        name="emulators (SDK)",
        project="dmz-local",
        seconds=3.0,
        addresses={},
        pids={},
        environment={},
        gcloud={"CLOUDSDK_CONFIG": f"{tmp_path}/a b"},
        policy="offline",
        advisories="/snapshot",
        advisories_name="snapshot carried by the project",
    )


def test_another_policy_on_a_platform_that_is_up_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "state", tmp_path)
    layout.prepare()
    a_platform(tmp_path).write(layout.platform)
    request = Request(str(workload(tmp_path)), layout, {}, policy="default")
    with pytest.raises(
        Permanent, match="judges by the policy offline on snapshot carried by the project; end it with"
    ):
        run(request, Console(file=io.StringIO()))


def test_a_platform_of_a_process_that_has_gone_is_not_up(tmp_path: Path) -> None:
    path = tmp_path / "platform.json"
    a_platform(tmp_path).write(path)
    assert path.stat().st_mode & 0o077 == 0
    assert read(path) == a_platform(tmp_path)
    path.write_text(path.read_text().replace('"started": ', '"started": 1'))
    assert read(path) is None
    path.write_text("{")
    with pytest.raises(Permanent, match=r"cannot be read .* delete it"):
        read(path)


def test_what_is_printed_for_gcloud_can_be_pasted(tmp_path: Path) -> None:
    (line,) = [line for line in kept(a_platform(tmp_path), "").splitlines() if "export" in line]
    script = f'{line[line.index("export") :]}; printf %s "$CLOUDSDK_CONFIG"'
    done = subprocess.run(("sh", "-c", script), capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path}/a b"


def test_an_interrupt_during_the_start_leaves_no_traceback() -> None:
    import signal
    import time

    environment = os.environ | {"PYTHONPATH": os.fspath(CHECKOUT)}
    for delay in (0.1, 0.2, 0.4):
        command = (sys.executable, "-P", "-m", "functions.ctl", "status")
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as started:
            time.sleep(delay)
            started.send_signal(signal.SIGINT)
            assert started.stderr
            assert b"functions" not in started.stderr.read()


def test_a_charset_without_a_letter_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run must not fail at its summary because the locale's charset has no bars."""
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="iso8859-9"))
    monkeypatch.setattr(cli, "dispatch", lambda _: print("time █ 1 s", flush=True) or 0)
    assert cli.main(["status"]) == 0
    assert shown.getvalue() == b"time \\u2588 1 s\n"


def test_every_command_that_is_offered_can_be_done() -> None:
    """The table of functions is text: a name that is spelled wrongly would only show when it is typed."""
    (offered,) = [action.choices for action in cli.parser()._subparsers._group_actions]
    commands = set(offered or ()) - {"help", "test"}
    assert commands == set(dispatch._PLAIN) | set(dispatch._ADAPTED)
    assert all(callable(dispatch._plain(place)) for place in dispatch._PLAIN.values())
