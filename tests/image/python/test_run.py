"""`image run`: what the process sees, how it ends, what stays behind. The image is this machine's sh and sleep."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.errors import Permanent
from shared.image.plan import Config, Plan
from shared.image.run import described, run
from shared.image.tree import Directory, File, Node
from tests.image.core.support import content, file, layer, made

CONFIG = Config(entrypoint=("/app/start",), cmd=("default",), env={"GREETING": "hello"}, workdir="/app")
REPO = Path(__file__).parents[3]


def _system() -> dict[str, Node]:
    """sh, sleep and cat of this machine with the libraries that they load."""
    nodes: dict[str, Node] = {
        "tmp": Directory(0o1777),
        "proc": Directory(),
        "dev": Directory(),
        "etc": Directory(),
    }
    for name in ("sh", "sleep", "cat", "id"):
        program = Path(shutil.which(name) or "")
        nodes[f"bin/{name}"] = File(content(program.read_bytes()), 0o755)
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+)", listed):
            nodes[library.lstrip("/")] = File(content(Path(library).read_bytes()), 0o755)
    return nodes


def image(tmp: Path, script: str, config: Config = CONFIG) -> Path:
    start = file(f"#!/bin/sh\n{script}\n".encode(), 0o755)
    made(tmp, plan=Plan((layer("base", _system()), layer("app", {"app/start": start}, script)), config))
    return tmp / "out"


def test_environment_arguments_and_exit_status(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMZ_TEST_OF_THE_HOST", "secret")
    layout = image(tmp_path, 'echo "$GREETING $MORE $1 $PWD [$DMZ_TEST_OF_THE_HOST] $PATH $$"; exit 7')
    assert run(layout, env={"MORE": "world"}) == 7
    default = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert capfd.readouterr().out == f"hello world default /app [] {default} 1\n"
    assert run(layout, env={"GREETING": "bye", "PATH": "/bin"}, args=["given"]) == 7
    assert capfd.readouterr().out == "bye  given /app [] /bin 1\n"


def test_the_user_of_the_image_and_nothing_of_the_host(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = dataclasses.replace(CONFIG, user="65532:65533")
    layout = image(
        tmp_path, "id -u; id -g; echo x > /tmp/x && cat /tmp/x; cd /; echo *; cat /proc/net/dev", config
    )
    assert run(layout, network="own") == 0
    out = capfd.readouterr().out.splitlines()
    assert out[:3] == ["65532", "65533", "x"]
    assert set(out[3].split()) <= {"app", "bin", "dev", "etc", "lib", "lib64", "proc", "tmp", "usr"}
    assert [line.split(":")[0].strip() for line in out[6:]] == ["lo"]


def test_a_signal_ends_it_and_nothing_stays(tmp_path: Path) -> None:
    layout = image(tmp_path, "trap 'echo stopping; exit 5' TERM; echo ready; while :; do sleep 0.05; done")
    for number in (signal.SIGTERM, signal.SIGINT):
        process = _started(layout, tmp_path)
        process.send_signal(number)
        out, _ = process.communicate(timeout=30)
        assert (out, process.returncode) == ("stopping\n", 5)
        assert [*(tmp_path / "scratch").iterdir()] == []


def test_what_does_not_listen_is_killed(tmp_path: Path) -> None:
    layout = image(tmp_path, "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    process = _started(layout, tmp_path, "run.GRACE = 0.2;")
    process.terminate()
    assert process.wait(30) == 128 + signal.SIGKILL
    assert [*(tmp_path / "scratch").iterdir()] == []


def test_it_ends_with_whoever_runs_it(tmp_path: Path) -> None:
    layout = image(tmp_path, "echo ready; echo $$ > /app/here; while :; do sleep 0.05; done")
    process = _started(layout, tmp_path)
    [root] = (tmp_path / "scratch").glob("*/root")
    process.kill()
    process.wait(30)
    deadline = time.monotonic() + 20
    while _inside(root):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_environment_is_nobody_elses(tmp_path: Path) -> None:
    layout = image(tmp_path, "echo ready; while :; do sleep 0.05; done")
    process = _started(layout, tmp_path, env="{'PASSWORD': 'hunter' + '2'}")
    shown = [arguments for each in Path("/proc").glob("[0-9]*/cmdline") if (arguments := _read(each))]
    process.terminate()
    process.wait(30)
    assert any(b"bwrap" in arguments and b"/app/start" in arguments for arguments in shown)
    assert not any(b"hunter2" in arguments for arguments in shown)


def test_images_that_say_nothing_sound(tmp_path: Path) -> None:
    layout = image(tmp_path, "true", dataclasses.replace(CONFIG, entrypoint=(), cmd=()))
    with pytest.raises(Permanent, match="has no entry point"):
        run(layout)
    layout = image(tmp_path, "true")
    with pytest.raises(Permanent, match="The variable 'A=B' cannot be set"):
        run(layout, env={"A=B": "x"})
    largest = max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    largest.chmod(0o644)
    largest.write_bytes(b"\0" * largest.stat().st_size)
    with pytest.raises(Permanent, match="was changed"):
        run(layout)


def test_a_named_user_is_refused() -> None:
    from shared.image.oci import Document

    fields = {"config": {"Entrypoint": ["/x"], "User": "nobody"}}
    with pytest.raises(Permanent, match="The image's user nobody is no number"):
        described(Document(b"", "", fields), {}, None)


def test_without_bubblewrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Permanent, match="apt-get install bubblewrap"):
        run(tmp_path)


def _started(layout: Path, tmp: Path, before: str = "", env: str = "{}") -> subprocess.Popen[str]:
    (tmp / "scratch").mkdir(exist_ok=True)
    program = f"import sys; from pathlib import Path; from shared.image import run; {before} "
    program += f"sys.exit(run.run(Path({str(layout)!r}), env={env}))"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPO,
        env={**os.environ, "TMPDIR": str(tmp / "scratch")},
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def _inside(root: Path) -> bool:
    """Whether a process still has this root."""
    return any(str(root).encode() in _read(entry) for entry in Path("/proc").glob("[0-9]*/mountinfo"))


def _read(path: Path) -> bytes:
    """Nothing if the process has ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
