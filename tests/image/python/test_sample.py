"""The quickstart's data service as it is: built from its lock, run, asked, and attesting from inside its image."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.image import pyc, python, tar
from shared.image.inputs import Cache
from shared.image.make import Made, make
from shared.image.tree import File
from shared.image.unpack import unpack
from tests.image.python.support import content

pytestmark = pytest.mark.network
REPO = Path(__file__).parents[3]
NUMBERS = b'{"values": [0.5, 7, -3], "low": 0, "high": 1}'


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Made:
    place = tmp_path_factory.mktemp("image")
    return make("quickstart_data", place / "out", place / "layers", "zstd")


@pytest.fixture(scope="module")
def service(image: Made) -> Iterator[str]:
    """The running service's address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    program = "import sys; from pathlib import Path; from shared.image.run import run; "
    program += f"sys.exit(run(Path({str(image.layout)!r}), env={{'PORT': '{port}'}}))"
    process = subprocess.Popen([sys.executable, "-c", program], cwd=REPO, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for line in process.stdout:
        if json.loads(line)["message"].startswith("Listening"):
            break
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    assert process.wait(30) == 0


def post(url: str, body: bytes) -> tuple[int, dict[str, object]]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as answer:  # noqa: S310 - loopback
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_it_answers(service: str) -> None:
    with urllib.request.urlopen(f"{service}/healthz", timeout=30) as answer:  # noqa: S310 - loopback
        assert answer.read() == b"ok\n"
    assert post(f"{service}/v1/sum", NUMBERS) == (200, {"count": 3, "sum": 1.5})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"values": [1], "low": 2, "high": 1}', "low is greater than high"),
        (b'{"values": [NaN], "low": 0, "high": 1}', "malformed"),
        (b'{"values": ["1"], "low": 0, "high": 1}', "Expected `float`"),
        (b'{"values": [1], "low": 0, "high": 1, "more": 1}', "unknown field"),
        (b"", "truncated"),
    ],
)
def test_it_says_what_is_wrong(service: str, body: bytes, words: str) -> None:
    status, answer = post(f"{service}/v1/sum", body)
    assert status == 400
    assert words in str(answer["error"])
    assert post(f"{service}/v1/other", body)[0] == 404


@pytest.mark.parametrize("length", ["-1", "8388609", "00000000000099999999", "1e3", "", "\u0661"])
def test_a_length_that_it_does_not_read(service: str, length: str) -> None:
    host, port = service.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 30) as connection:
        connection.sendall(f"POST /v1/sum HTTP/1.1\r\nContent-Length: {length}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_inside_it_is_the_images_own_interpreter(image: Made, tmp_path: Path) -> None:
    root = tmp_path / "root"
    unpack(image.layout, root)
    runfiles = "/quickstart_data/quickstart_data.runfiles"
    own = f"{runfiles}/python_x86_64-unknown-linux-gnu"
    program = (
        "import json, ssl, sys, _ssl, importlib.metadata as m; sys.path += sys.argv[1:]; import msgspec;"
        "print(json.dumps([sys.prefix, sys.exec_prefix, _ssl.__file__, msgspec.__file__, m.version('msgspec'),"
        "len(ssl.create_default_context().get_ca_certs()) > 100]))"
    )
    sites = [f"{runfiles}/pypi_{name}/site-packages" for name in ("msgspec", "python_json_logger")]
    command = [
        "bwrap",
        "--unshare-all",
        "--ro-bind",
        root,
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--clearenv",
        "--",
    ]
    told = subprocess.run(
        [*command, f"{own}/bin/python3", "-IB", "-c", program, *sites], capture_output=True, check=True
    ).stdout
    assert json.loads(told) == [
        own,
        own,
        f"{own}/lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so",
        f"{sites[0]}/msgspec/__init__.py",
        "0.22.0",
        True,
    ]


def test_the_task_builder_is_another_image_of_the_same_sources(image: Made, tmp_path: Path) -> None:
    other = make("task_builder", tmp_path / "out", image.layout.parent / "layers", "zstd")
    base, _interpreter, _packages, _workload = other.built.layers
    assert base.digest == image.built.layers[0].digest
    assert other.built.manifest != image.built.manifest
    unpack(other.layout, tmp_path / "root")
    assert (tmp_path / "root/task_builder/task_builder.runfiles/_main/main.py").is_file()


def test_byte_code_is_the_same_whatever_the_host_is(
    image: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = image.spec.model_copy(update={"python": image.spec.python.model_copy(update={"bytecode": True})})  # type: ignore[union-attr]
    found = {}
    for seed, variables in (
        ("1", {"TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8"}),
        ("2", {"PYTHONHASHSEED": "77"}),
    ):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        umask = os.umask(0o077)
        lock = image.lock.model_copy(update={"inputs": image.lock.inputs[:: 1 if seed == "1" else -1]})
        try:
            layers = {each.name: each for each in python.layers(spec, image.source, lock, Cache().path)}
            packages = layers["packages"].tree()
            found[seed] = b"".join(tar.blocks(packages)), b"".join(tar.blocks(layers["interpreter"].tree()))
        finally:
            os.umask(umask)
        made = [path for path, _ in packages.entries() if path.endswith(".cpython-311.pyc")]
        assert len(made) >= 20
        for path in made:
            data = content(packages.get(path))
            assert data[4:8] == b"\x01\0\0\0"  # PEP 552: by hash, unchecked
            assert path.encode() not in data
            assert path.replace("__pycache__/", "").replace(".cpython-311.pyc", ".py").encode() in data
    assert found["1"] == found["2"]


def test_byte_code_is_used_and_broken_sources_stay(image: Made, tmp_path: Path) -> None:
    compiler = pyc.Compiler(image.lock, Cache().path)
    from shared.image.spool import constant
    from shared.image.tree import Tree

    tree = Tree()
    tree.add("a/good.py", File(constant(b"x = 41 + 1\n"), 0o644))
    tree.add("a/bad.py", File(constant(b"print 'two'\n"), 0o644))
    tree.add("a/null.py", File(constant(b"x = 1\0"), 0o644))
    made = compiler.compiled(tree)
    assert [path for path, _ in made.entries()] == ["a/__pycache__/good.cpython-311.pyc"]
