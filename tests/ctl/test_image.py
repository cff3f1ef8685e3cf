"""`./dmz image` as its user has it: words in; lines, files and exit codes out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.ctl import cli, image
from functions.local.layout import Layout
from functions.local.platform import Platform
from functions.local.processes import process
from shared.errors import Transient
from shared.image import make
from shared.image.spec import data_services
from shared.model.image import BuiltImage, BuiltLayer
from tests.image.kit.world import World, make_world
from tests.image.registry.support import Target, digest_of, docker_registry
from tests.upstream.support import Web

LINE = re.compile(r"demo_service (sha256:[0-9a-f]{64}) (sha256:[0-9a-f]{64})\n")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    web = Web()
    yield make_world(tmp_path_factory.mktemp("image") / "world", web)
    web.close()


@pytest.fixture(autouse=True)
def at_home(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """State and caches of its own; the inputs are there already. Returns the state directory."""
    cache = tmp_path / "cache" / "package-dmz"
    cache.mkdir(parents=True)
    (cache / "inputs").symlink_to(world.inputs)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DMZ_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    return tmp_path / "state"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Target]:
    (tmp_path / "registry").mkdir()
    with docker_registry(tmp_path / "registry") as target:
        yield target


def dmz(*words: object) -> int:
    return cli.main(["image", *map(str, words)])


def built(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Image digest and configuration digest of the one line that was printed."""
    line = LINE.fullmatch(capsys.readouterr().out)
    assert line
    return line[1], line[2]


def test_built_to_its_place(world: World, at_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dmz("build", world.spec) == 0
    shown = capsys.readouterr()
    line = LINE.fullmatch(shown.out)
    assert line
    layout = at_home / "images" / "demo_service"
    assert (layout / "blobs" / "sha256" / line[1][7:]).is_file()
    assert "demo_service done in" in shown.err
    assert str(layout) in shown.err


def test_out_and_codec(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {}
    for codec in ("gzip", "zstd", "stored"):
        assert dmz("build", world.spec, "--out", tmp_path / codec, "--codec", codec) == 0
        found[codec] = built(capsys)
    assert len({image for image, _ in found.values()}) == 3
    assert len({config for _, config in found.values()}) == 1


def test_pushed_as_a_layout_and_as_a_spec(
    world: World, tmp_path: Path, registry: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dmz("build", world.spec, "--out", tmp_path / "out") == 0
    digest, _ = built(capsys)
    place = f"{registry.host}/team/demo"
    for what in (tmp_path / "out", world.spec):
        assert dmz("push", what, f"{place}:v1") == 0
        shown = capsys.readouterr()
        assert shown.out == f"{place}@{digest}\n"
    assert "0.0 kB sent, 5 blobs were there" in shown.err


def test_verify(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = world.copy(tmp_path / "other")
    (other.spec.parent / "src" / "main.py").write_text("print('changed')\n")
    digests = []
    for name, spec in (("a", world.spec), ("b", world.spec), ("c", other.spec)):
        assert dmz("build", spec, "--out", tmp_path / name) == 0
        digests.append(built(capsys)[0])
    a, b, c = (tmp_path / name for name in "abc")
    assert dmz("verify", a, b) == 0
    assert capsys.readouterr().out == f"same {digests[0]}\n"
    assert dmz("verify", a, c) == 1
    assert capsys.readouterr().out == f"different {digests[0]} {digests[2]}\n"
    assert dmz("verify", a, c, "--explain") == 1
    assert "main.py" in capsys.readouterr().out.splitlines()[1]


def test_a_damaged_copy_is_not_the_same(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        dmz("build", world.spec, "--out", tmp_path / name)
    largest = max((tmp_path / "b" / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[-1] ^= 1
    largest.write_bytes(data)
    capsys.readouterr()
    assert dmz("verify", tmp_path / "a", tmp_path / "b", "--explain") == 1
    assert largest.name[:12] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["build"], "Name one SPEC to build, or build --all"),
        (["build", "SPEC", "--check"], "--check goes with --all"),
        (["build", "absent"], "There is no image 'absent': give one of"),
        (["build", "/absent.yaml"], "/absent.yaml"),
        (["build", "--all", "--out", "x"], "it takes no SPEC or --out"),
        (["build", "--all", "SPEC"], "it takes no SPEC or --out"),
        (["build", "--all", "--check", "--codec", "zstd"], "--check takes no other codec"),
        (["lock", "absent"], "There is no image 'absent'"),
        (["push", "absent", "localhost:1/x:y"], "There is no image 'absent'"),
        (["push", "SPEC", "no-host/x"], "The host of the image reference 'no-host/x' cannot be read"),
        (["push", "SPEC", "localhost:1/X"], "The repository of the image reference"),
        (["publish", "absent"], "There is no image 'absent'"),
        (["publish", "SPEC"], "It is not said where to publish: name a project"),
        (["publish", "SPEC", "--to", "local"], "The local platform is not up"),
        (["verify", "/nowhere", "/nowhere"], "/nowhere holds no whole image"),
        (["run", "/nowhere"], "/nowhere is no image layout: build one"),
        (["run", "/nowhere", "--env", "X"], "--env takes NAME=VALUE, not 'X'"),
    ],
)
def test_bad_input_is_one_sentence(
    world: World, words: list[str], said: str, at_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dmz(*(world.spec if word == "SPEC" else word for word in words)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert shown.err.startswith("dmz: ")
    assert shown.err.count("\n") == 1
    assert not (at_home / "images").exists()


@pytest.mark.parametrize("words", [["build", "SPEC", "--codec", "bzip2"], ["run"], [], ["nonsense"]])
def test_words_that_argparse_refuses(
    world: World, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        dmz(*words)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_lock_of_another_spec_and_missing_sources(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = world.copy(tmp_path / "other")
    other.spec.write_text(other.spec.read_text().replace("libc6", "libc6, zlib1g"))
    assert dmz("build", other.spec) == 2
    assert "was resolved from another spec; run `./dmz image lock" in capsys.readouterr().err
    other.spec.write_text(world.spec.read_text().replace("source: src", "source: nowhere"))
    assert dmz("build", other.spec) == 2
    assert "are no directory: correct source: in" in capsys.readouterr().err


def test_what_passes_and_what_does_not_exits_1(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise Transient("The index cannot be reached.")

    monkeypatch.setattr(image, "make", fail)
    assert dmz("build", world.spec) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "demo_service failed" in shown.err
    assert shown.err.endswith("dmz: The index cannot be reached.\n")


def test_arguments_of_run(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("shared.image.run.run", lambda layout, **given: seen.append((layout, given)) or 7)
    assert dmz("build", world.spec, "--out", tmp_path / "out") == 0
    out = tmp_path / "out"
    assert dmz("run", out) == 7
    assert dmz("run", out, "--env", "A=b=c", "--env", "D=", "--", "--port", "1", "--") == 7
    assert dmz("run", "--read-only", "--env", "E=f", out) == 7
    assert seen == [
        (out, {"env": {}, "args": None, "read_only": False}),
        (out, {"env": {"A": "b=c", "D": ""}, "args": ["--port", "1", "--"], "read_only": False}),
        (out, {"env": {"E": "f"}, "args": None, "read_only": True}),
    ]


def fake_make(monkeypatch: pytest.MonkeyPatch, changed: str = "") -> None:
    """Builds that take no time; `changed` comes out other than the rest."""

    def made(name: str, out: Path, *_: object) -> make.Made:
        layer = BuiltLayer(
            name="x", digest=digest_of(b""), diff_id=digest_of(b""), size=1, media_type="application/x"
        )
        salt = b"changed" if name == changed else b""
        result = BuiltImage(
            name=name,
            manifest=digest_of(name.encode() + salt),
            config=digest_of(b"config"),
            layers=(layer,),
            lock=digest_of(b""),
            codec="gzip",
        )
        return make.Made(result, None, None, out, out)  # type: ignore[arg-type]

    monkeypatch.setattr(image, "make", made)


def test_all_and_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_make(monkeypatch)
    digests = tmp_path / "digests.txt"
    monkeypatch.setattr(image, "DIGESTS", digests)
    assert dmz("build", "--all", "--check") == 2
    assert "write it with ./dmz image build --all >" in capsys.readouterr().err
    assert dmz("build", "--all") == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()] == list(data_services())
    digests.write_text(printed)
    assert dmz("build", "--all", "--check") == 0
    name, other = data_services()[:2]
    fake_make(monkeypatch, changed=name)
    digests.write_text("".join(line for line in printed.splitlines(True) if not line.startswith(f"{other} ")))
    capsys.readouterr()
    assert dmz("build", "--all", "--check") == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dmz: ")]
    assert told[0].startswith(f"dmz: {name} is not as committed, its layers only: {name} sha256:")
    assert told[1] == f"dmz: {other} is not in digests.txt yet."
    assert len(told) == 2


def test_published_to_the_local_platform(
    world: World,
    at_home: Path,
    tmp_path: Path,
    registry: Target,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The reference is the cloud's, the registry is the platform's."""
    at_home.mkdir()
    layout = Layout(at_home, tmp_path / "cache")
    layout.gcloud.mkdir()
    (layout.gcloud / "operator.token").write_text("ya29.token")
    environment = {"GOOGLE_CLOUD_PROJECT": "dmz-local", "DMZ_REGISTRY_ENDPOINT": f"http://{registry.host}"}
    own = process(os.getpid())
    assert own
    Platform(own.pid, own.started, "memory", "dmz-local", 0.1, {}, {}, environment, {}, "", "", "").write(
        layout.platform
    )
    assert dmz("publish", world.spec) == 0
    printed = capsys.readouterr().out
    assert re.fullmatch(
        r"us-central1-docker\.pkg\.dev/dmz-local/dmz-images/demo_service@sha256:[0-9a-f]{64}\n", printed
    )
    assert (tmp_path / "registry" / "data" / "docker" / "registry").is_dir()
