"""The compile sandbox: it holds what it is given and nothing of the machine it runs on."""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from shared.errors import Permanent
from shared.image import sandbox
from tests.image.java.support import shell_root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shell_root(tmp_path_factory.mktemp("root"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_environment_is_fixed(root: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/nowhere.so")
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Dx")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    said = dict(
        line.partition("=")[::2]
        for line in sandbox.run(root, ["sh", "-c", "export -p"], out=out).splitlines()
    )
    names = {name.removeprefix("export ") for name in said}
    assert names - {"PWD", "OLDPWD"} == {"HOME", "LC_ALL", "PATH", "SOURCE_DATE_EPOCH", "TZ"}
    assert said["export TZ"] == "'UTC'"
    assert said["export SOURCE_DATE_EPOCH"] == "'315532800'"


def test_own_variables_come_on_top(root: Path, out: Path) -> None:
    assert sandbox.run(root, ["sh", "-c", "echo $TZ $X"], out=out, env={"X": "1"}) == "UTC 1\n"


def test_only_the_roots_programs_are_there(root: Path, out: Path) -> None:
    look = 'echo /* /usr/bin/* "$PATH"; command -v ls java javac c++ || :'
    told = sandbox.run(root, ["sh", "-c", look], out=out)
    assert told.split() == [
        *("/bin", "/dev", "/lib", "/lib64", "/out", "/proc", "/tmp", "/usr", "/usr/bin/sh"),
        "/usr/sbin:/usr/bin:/sbin:/bin",
    ]


def test_user_host_umask_and_place(root: Path, out: Path, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        told = sandbox.run(
            root,
            [
                "sh",
                "-c",
                "read -r host < /proc/sys/kernel/hostname; echo $host $$ $PWD; umask; : > /out/made",
            ],
            out=out,
            sources=tmp_path,
        )
    finally:
        os.umask(before)
    name, pid, place, mask = told.split()
    assert (name, place, mask) == ("sandbox", "/src", "0022")
    assert int(pid) < 10
    assert stat.S_IMODE((out / "made").stat().st_mode) == 0o644
    assert (out / "made").stat().st_uid == os.getuid()
    look = "while read -r name value rest; do case $name in Uid:|CapEff:) echo $value;; esac; done"
    uids = sandbox.run(root, ["sh", "-c", f"{look} < /proc/self/status"], out=out)
    assert uids.split() == ["0", "0000000000000000"]


@pytest.mark.parametrize("place", ["/src/x", "/usr/x", "/x", "/given"])
def test_nothing_but_out_and_tmp_can_be_written(root: Path, out: Path, tmp_path: Path, place: str) -> None:
    given = tmp_path / "given"
    given.write_text("given")
    sources = tmp_path / "src"
    sources.mkdir()
    with pytest.raises(Permanent, match="Read-only file system"):
        sandbox.run(
            root, ["sh", "-c", f"echo 1 > {place}"], out=out, sources=sources, binds={"/given": given}
        )
    assert given.read_text() == "given"


def test_binds_are_read(root: Path, out: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_text("given\n")
    told = sandbox.run(
        root,
        ["sh", "-c", "read -r x < /jars/a.jar; echo $x > /tmp/x; read -r y < /tmp/x; echo $y"],
        out=out,
        binds={"/jars/a.jar": given},
    )
    assert told == "given\n"


def test_no_network(root: Path, out: Path) -> None:
    told = sandbox.run(root, ["sh", "-c", "while read -r line; do echo $line; done < /proc/net/dev"], out=out)
    devices = [line.split(":")[0] for line in told.splitlines() if ":" in line]
    assert devices == ["lo"]
    assert len(socket.if_nameindex()) >= 1


def test_a_failure_is_one_sentence_with_file_and_line(root: Path, out: Path) -> None:
    line = "/src/a/B.java:7: error: no \033[31msuch symbol"
    script = f"echo 'Note: much'; echo '{line}'; echo '  int x'; echo 1 error; exit 3"
    with pytest.raises(Permanent) as caught:
        sandbox.run(root, ["sh", "-c", script], out=out, what="Compiling Java")
    assert str(caught.value) == "Compiling Java failed: a/B.java:7: error: no \\u001b[31msuch symbol."


def test_a_failure_without_an_error_line_is_told_by_its_last_lines(root: Path, out: Path) -> None:
    with pytest.raises(Permanent, match=r"^The compile step failed: b; c; d\.$"):
        sandbox.run(root, ["sh", "-c", "echo a; echo b; echo; echo c; echo d; exit 1"], out=out)
    with pytest.raises(Permanent, match="nothing, with exit status 9"):
        sandbox.run(root, ["sh", "-c", "exit 9"], out=out)


def test_time_out_ends_all_of_it(root: Path, out: Path) -> None:
    fifo = out / "fifo"
    os.mkfifo(fifo)
    ended = threading.Event()

    def wait_for_the_end() -> None:
        with fifo.open("rb") as reading:
            reading.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    with pytest.raises(Permanent, match=r"took longer than 0\.5 seconds and was ended"):
        sandbox.run(
            root,
            ["sh", "-c", "(while :; do :; done) > /out/fifo & while :; do :; done"],
            out=out,
            timeout=0.5,
        )
    assert ended.wait(30)  # the child in the background held the other end


def test_output_is_bounded(root: Path, out: Path) -> None:
    script = (
        f"echo begin; i=0; while [ $i -lt 9000 ]; do echo {'0123456789' * 10}; i=$((i+1)); done; echo end"
    )
    told = sandbox.run(root, ["sh", "-c", script], out=out)
    assert told.startswith("begin\n")
    assert told.endswith("end\n")
    assert len(told) == 2 * 128 * 1024


def test_a_program_that_no_package_brings(root: Path, out: Path) -> None:
    with pytest.raises(Permanent, match="needs javac, which none of the locked packages brings"):
        sandbox.run(root, ["javac"], out=out)


def test_bubblewrap_is_missing(root: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Permanent, match=r"apt-get install bubblewrap\.$"):
        sandbox.run(root, ["sh"], out=out)


def test_user_namespaces_are_forbidden(
    root: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = tmp_path / "bwrap"
    stand_in.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        Permanent, match=r"needs user namespaces.*No permissions.*unprivileged_userns_clone=1"
    ):
        sandbox.run(root, ["sh"], out=out)


def test_something_that_is_to_be_seen_is_not_there(root: Path, out: Path, tmp_path: Path) -> None:
    with pytest.raises(Permanent, match=r"made no sandbox: Can't find source path .*/missing"):
        sandbox.run(root, ["sh"], out=out, binds={"/x": tmp_path / "missing"})
