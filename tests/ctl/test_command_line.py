"""The command line: bad input is one sentence and an exit code, and nothing is started for it."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from functions.ctl import cli, lifecycle
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
        (["run", "{tmp}/broken.yaml"], "is not YAML"),
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
    assert cli.main(["run", str(workload(tmp_path)), "--report", str(tmp_path / "no" / "where.json")]) == 1
    assert "The report cannot be written to" in capsys.readouterr().err


def test_a_policy_that_is_not_there_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", str(workload(tmp_path)), "--policy", "lenient"]) == 1
    assert "There is no policy 'lenient'" in capsys.readouterr().err


def test_without_a_platform(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 3
    assert "not up" in capsys.readouterr().out
    assert cli.main(["down"]) == 0
    assert "not up" in capsys.readouterr().out
    assert cli.main(["logs", "outer"]) == 1
    assert "There is no log 'outer'" in capsys.readouterr().err
    assert cli.main(["enter", "dmz-inner-1"]) == 1
    assert "There is no VM 'dmz-inner-1'; running are: none." in capsys.readouterr().err


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
