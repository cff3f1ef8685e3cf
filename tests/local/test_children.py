"""Processes of a platform: restarted, ended with all they started, and never silently lost."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from functions.local.children import Children, Program
from functions.local.layout import CHECKOUT
from functions.local.ports import choose
from functions.local.processes import process
from shared.errors import Permanent


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    made = Children(tmp_path, {"PATH": os.environ["PATH"]})
    yield made
    made.stop()


def program(tmp_path: Path, script: str, **given: object) -> Program:
    """A shell script that is ready when it has made the file `ready`."""
    options: dict[str, object] = {
        "name": "the sample program",
        "log": "sample",
        "ready": (tmp_path / "ready").exists,
    }
    return Program(command=("sh", "-c", f"cd {tmp_path}; {script}"), **(options | given))  # type: ignore[arg-type]


def watch(children: Children) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        children.watch()
        time.sleep(0.01)


def wait_for(path: Path, lines: int = 1) -> list[str]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if path.exists() and len(found := path.read_text().split()) >= lines:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{path} never had {lines} lines")


def test_a_killed_process_is_started_again_at_once(tmp_path: Path, children: Children) -> None:
    children.start([program(tmp_path, "echo $$ >>pids; touch ready; exec sleep 60")])
    children.wait(threading.Event())
    (first,) = wait_for(tmp_path / "pids")
    os.kill(int(first), signal.SIGKILL)
    died = time.monotonic()
    while len((tmp_path / "pids").read_text().split()) < 2:
        children.watch()
        assert time.monotonic() - died < 5
        time.sleep(0.01)
    assert children.pids()["sample"] == int(wait_for(tmp_path / "pids", 2)[1])


def test_the_children_of_a_killed_process_go_before_it_is_started_again(
    tmp_path: Path, children: Children
) -> None:
    script = "echo $$ >>pids; sleep 61 & echo $! >>grandchildren; touch ready; wait"
    children.start([program(tmp_path, script)])
    children.wait(threading.Event())
    (grandchild,) = wait_for(tmp_path / "grandchildren")
    os.kill(children.pids()["sample"], signal.SIGKILL)
    while len(wait_for(tmp_path / "grandchildren")) < 2:
        children.watch()
        time.sleep(0.01)
    assert not alive(int(grandchild))


def test_what_keeps_dying_ends_the_platform_with_its_last_words(tmp_path: Path, children: Children) -> None:
    children.start([program(tmp_path, "touch ready; sleep 0.1; echo out of cheese; exit 7")])
    children.wait(threading.Event())
    with pytest.raises(Permanent, match=r"The sample program ended with exit code 7.*5 times.*out of cheese"):
        watch(children)


def test_what_holds_the_messages_is_not_started_again(tmp_path: Path, children: Children) -> None:
    children.start([program(tmp_path, "touch ready; sleep 60", restart=False)])
    children.wait(threading.Event())
    os.killpg(children.pids()["sample"], signal.SIGKILL)
    with pytest.raises(Permanent, match=r"was ended by signal 9.*held in memory is lost"):
        watch(children)


def test_a_death_before_it_answers_is_told_with_its_last_words(tmp_path: Path, children: Children) -> None:
    children.start([program(tmp_path, "echo Address already in use >&2; exit 1")])
    with pytest.raises(Permanent, match=r"ended with exit code 1.*Address already in use"):
        children.wait(threading.Event())


def test_one_that_never_answers_is_named(tmp_path: Path, children: Children) -> None:
    children.start([program(tmp_path, "echo still thinking; sleep 60", seconds=0.3)])
    with pytest.raises(Permanent, match=r"The sample program did not answer within 0 s.*still thinking"):
        children.wait(threading.Event())


def test_control_characters_of_a_log_do_not_reach_the_terminal(tmp_path: Path, children: Children) -> None:
    children.start([program(tmp_path, r"printf '\033[2Jboo\n'; exit 1")])
    with pytest.raises(Permanent, match=r"\\u001b\[2Jboo"):
        children.wait(threading.Event())


def test_stop_ends_what_ignores_being_asked_and_what_it_started(tmp_path: Path, children: Children) -> None:
    # A child that ignores SIGTERM as well.
    deaf = "sh -c \"trap '' TERM; echo \\$\\$ >>deep; sleep 60\""
    script = f"trap '' TERM; {deaf} & echo $$ >>pids; touch ready; wait; wait"
    children.start([program(tmp_path, script, patience=0.2)])
    children.wait(threading.Event())
    pids = [int(pid) for pid in (*wait_for(tmp_path / "pids"), *wait_for(tmp_path / "deep"))]
    began = time.monotonic()
    children.stop()
    assert time.monotonic() - began < 30
    assert not any(alive(pid) for pid in pids)


def test_a_fork_of_a_console_script_dies_with_its_parent(tmp_path: Path) -> None:
    """gunicorn's worker is a fork, and would let a slow handler end for half a minute after its master was killed."""
    (tmp_path / "main.py").write_text(
        "import pathlib, time\n"
        "def handle(request):\n"
        "    pathlib.Path(__file__).with_name('busy').touch()\n"
        "    time.sleep(30)\n"
    )
    port = choose(["function"], None)["function"]
    framework = (sys.executable, "-m", "functions.local.under", "functions-framework", "--target", "handle")
    arguments = ("--source", os.fspath(tmp_path / "main.py"), "--host", "127.0.0.1", "--port", str(port))
    # functions-framework's test client writes FUNCTION_ variables, which would say what kind of function this is.
    given = {name: value for name, value in os.environ.items() if not name.startswith("FUNCTION_")}
    environment = given | {"PYTHONPATH": os.fspath(CHECKOUT), "XDG_RUNTIME_DIR": os.fspath(tmp_path)}
    with subprocess.Popen((*framework, *arguments), env=environment) as master:
        try:
            deadline = time.monotonic() + 90
            while not (tmp_path / "busy").exists():
                assert time.monotonic() < deadline
                with contextlib.suppress(httpx.HTTPError):
                    httpx.get(f"http://127.0.0.1:{port}/", timeout=0.5)
            workers = [
                int(pid) for pid in Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()
            ]
        finally:
            master.kill()
    assert workers
    deadline = time.monotonic() + 5
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(pid: int) -> bool:
    found = process(pid)
    return bool(found and found.alive)
