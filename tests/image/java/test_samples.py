"""The samples, built of what Debian has, started and asked."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Permanent
from shared.image import java, sandbox
from shared.image.make import make
from shared.image.run import described
from shared.image.unpack import unpack
from shared.model.image import ImageLock, ImageSpec
from tests.image.java.conftest import Workshop
from tests.image.java.support import without

pytestmark = pytest.mark.network
_ASK = """
import sys, urllib.error, urllib.request
data = sys.argv[2].encode() or None
try:
    with urllib.request.urlopen(urllib.request.Request(sys.argv[1], data), timeout=10) as answer:
        print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""


class Running:
    """A service in a network of its own, asked from within it."""

    def __init__(self, process: subprocess.Popen[bytes], inside: int) -> None:
        self.process = process
        self._enter = ("nsenter", f"--target={inside}", "--user", "--net", "--preserve-credentials")

    def ask(self, url: str, data: object = None) -> tuple[int, Any]:
        body = "" if data is None else data if isinstance(data, str) else json.dumps(data)
        done = subprocess.run(
            [*self._enter, sys.executable, "-c", _ASK, url, body], capture_output=True, text=True, check=True
        )
        status, _, answer = done.stdout.partition(" ")
        return int(status), json.loads(answer)

    def wait(self, url: str) -> tuple[int, Any]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(subprocess.CalledProcessError):
                return self.ask(url)
            time.sleep(0.1)
        pytest.fail(f"the service does not answer; its status is {self.process.poll()}")


@contextlib.contextmanager
def running(name: str, workshop: Workshop, tmp_path: Path, env: Mapping[str, str]) -> Iterator[Running]:
    """The sample's whole image, built, unpacked and started as its configuration says."""
    made = make(name, tmp_path / "layout", workshop.layers, inputs=workshop.cache)
    layout = unpack(made.layout, tmp_path / "root")
    process = described(layout.config, env, None)
    reading, writing = os.pipe()
    with subprocess.Popen(
        [
            *(
                "bwrap",
                "--info-fd",
                str(writing),
                "--unshare-user",
                "--unshare-pid",
                "--unshare-net",
                "--clearenv",
            ),
            *(
                "--uid",
                str(process.user[0]),
                "--gid",
                str(process.user[1]),
                "--die-with-parent",
                "--cap-drop",
                "ALL",
            ),
            *(
                "--ro-bind",
                str(tmp_path / "root"),
                "/",
                "--proc",
                "/proc",
                "--dev",
                "/dev",
                "--tmpfs",
                "/tmp",
            ),
            *(part for variable, value in process.env.items() for part in ("--setenv", variable, value)),
            *("--chdir", process.workdir, "--", *process.argv),
        ],
        pass_fds=(writing,),
    ) as started:
        os.close(writing)
        try:
            with os.fdopen(reading) as info:
                yield Running(started, json.load(info)["child-pid"])
        finally:
            started.kill()


def test_the_java_sample_answers(workshop: Workshop, tmp_path: Path) -> None:
    with running("sample_java", workshop, tmp_path, {}) as service:
        assert service.wait("http://127.0.0.1:8080/healthz") == (200, {"status": "ok"})
        at = "http://127.0.0.1:8080/aggregate"
        assert service.ask(at, {"values": [1, 1e100, 1, -1e100]}) == (
            200,
            {"count": 4, "sum": 2.0, "mean": 0.5},
        )
        assert service.ask(at, {"values": [4]}) == (200, {"count": 5, "sum": 6.0, "mean": 1.2})
        assert service.ask(at)[1]["count"] == 5
        for wrong in ("[", "{}", '{"values":"x"}', '{"values":[1e999]}', "[1]", "null"):
            assert service.ask(at, wrong)[0] == 400
        assert service.ask("http://127.0.0.1:8080/other")[0] == 404


def test_the_jni_sample_answers(workshop: Workshop, tmp_path: Path) -> None:
    options = {"FCP_OPTS": "--port 8081 --environment 'a b'"}
    with running("sample_jni", workshop, tmp_path, options) as service:
        health = service.wait("http://127.0.0.1:8081/healthz")
        assert health == (200, {"status": "ok", "environment": "a b"})
        at = "http://127.0.0.1:8081/aggregate"
        assert service.ask(at, {"updates": [[1, 2], [1e100, 4], [-1e100, 1]]}) == (
            200,
            {"count": 3, "sum": [1.0, 7.0]},
        )
        assert service.ask(at, {"updates": [[1], [2, 3]]}) == (
            400,
            {"error": "Vector 2 has 2 places, the first has 1."},
        )
        for wrong in ("[", "{}", '{"updates":[]}', '{"updates":[null]}', '{"updates":[[1e308],[1e308]]}'):
            assert service.ask(at, wrong)[0] == 400
    assert (tmp_path / "root/libaggregate.so").is_file()


def test_an_option_that_the_service_does_not_know(workshop: Workshop, tmp_path: Path) -> None:
    with running("sample_jni", workshop, tmp_path, {"FCP_OPTS": "--debug 1"}) as service:
        assert service.process.wait(60) == 2


def test_layout_of_the_jar(workshop: Workshop) -> None:
    _, files = workshop.sample_workload("sample_java")
    assert set(files) == {"sample_java_application.jar"}
    archive = zipfile.ZipFile(io.BytesIO(files["sample_java_application.jar"]))
    assert archive.testzip() is None
    names = archive.namelist()
    assert {"BOOT-INF/classes/dmz/sample/Service.class", "build-data.properties"} <= set(names)
    assert "dmz/loader/Launcher.class" in names
    nested = archive.getinfo("BOOT-INF/lib/gson.jar")
    assert nested.compress_type == zipfile.ZIP_STORED
    with zipfile.ZipFile(io.BytesIO(archive.read(nested))) as gson:
        assert "com/google/gson/Gson.class" in gson.namelist()
    manifest = archive.read("META-INF/MANIFEST.MF").decode().split("\r\n")
    assert "Main-Class: dmz.loader.Launcher" in manifest
    assert "Start-Class: dmz.sample.Service" in manifest
    assert archive.read("dmz/loader/Launcher.class")[4:8] == b"\0\0\0\x3d"  # class files of release 17


def _elsewhere(source: Path, to: Path) -> Path:
    """The same sources in another place, made in another order, with other times and permissions."""
    for number, path in enumerate(sorted(source.rglob("*"), reverse=True)):
        if path.is_file():
            place = to / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
            place.chmod(0o600)
            os.utime(place, (number, number * 1000))
    return to


def test_the_same_bytes_from_another_place_and_time(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, source, lock = workshop.sample("sample_jni")
    first = workshop.sample_workload("sample_jni")
    monkeypatch.setenv("TZ", "America/St_Johns")
    monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Duser.language=tr")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    shuffled = lock.model_copy(update={"inputs": tuple(reversed(lock.inputs))})
    before = os.umask(0o077)
    try:
        again = workshop.workload(spec, _elsewhere(source, tmp_path / "a/b/c"), shuffled)
    finally:
        os.umask(before)
    assert again == first
    assert set(first[1]) == {"sample_jni_application.jar", "libaggregate.so"}
    for data in first[1].values():
        for trace in (b"/src/", b"/out/", b"/tmp/", os.fsencode(source)):
            assert trace not in data


def test_what_the_preprocessor_says_of_time_and_place_is_fixed(workshop: Workshop, tmp_path: Path) -> None:
    spec, source, lock = workshop.sample("sample_jni")
    copy = _elsewhere(source, tmp_path / "src")
    (copy / "when.cc").write_text(
        '__attribute__((visibility("default"))) extern const char when[] =\n'
        '    "<" __DATE__ "|" __TIME__ "|" __TIMESTAMP__ "|" __FILE__ ">";\n'
    )
    assert spec.native
    own = spec.model_copy(update={"native": spec.native.model_copy(update={"flags": ("-g",)})})
    _, files = workshop.workload(own, copy, lock)
    assert b".debug_info" in files["libaggregate.so"]
    assert b"/src" not in files["libaggregate.so"]
    assert b"<Jan  1 1980|00:00:00|Tue Jan  1 00:00:00 1980|when.cc>" in files["libaggregate.so"]


def test_a_flag_that_makes_code_for_this_machine(workshop: Workshop) -> None:
    spec, source, lock = workshop.sample("sample_jni")
    assert spec.native
    flags = ("-O3", "-march=native")
    own = spec.model_copy(update={"native": spec.native.model_copy(update={"flags": flags})})
    with pytest.raises(
        Permanent, match=r"The flag -march=native of native\.flags makes code for the machine"
    ):
        workshop.workload(own, source, lock)


def test_a_changed_source_changes_the_key_and_the_bytes(workshop: Workshop, tmp_path: Path) -> None:
    spec, source, lock = workshop.sample("sample_java")
    copy = _elsewhere(source, tmp_path / "src")
    key, files = workshop.sample_workload("sample_java")
    (copy / "README").write_text("not compiled")
    assert java.layers(spec, copy, lock, workshop.path)[-1].key == key
    totals = copy / "src/main/java/dmz/sample/Totals.java"
    totals.write_text(
        totals.read_text().replace("double next", "double following").replace("next", "following")
    )
    changed, others = workshop.workload(spec, copy, lock)
    assert changed != key
    assert others != files


def _broken(workshop: Workshop, sample: str, tmp_path: Path, place: str, text: str) -> str:
    spec, source, lock = workshop.sample(sample)
    copy = _elsewhere(source, tmp_path / "src")
    (copy / place).parent.mkdir(parents=True, exist_ok=True)
    (copy / place).write_text(text)
    with pytest.raises(Permanent) as caught:
        workshop.workload(spec, copy, lock)
    return str(caught.value)


def test_an_error_of_javac_names_file_and_line(workshop: Workshop, tmp_path: Path) -> None:
    said = _broken(
        workshop, "sample_java", tmp_path, "a/Bad.java", "package a;\nclass Bad {\n  int x = y;\n}\n"
    )
    assert said == "Compiling Java failed: a/Bad.java:3: error: cannot find symbol."


def test_an_error_of_clang_names_file_and_line(workshop: Workshop, tmp_path: Path) -> None:
    said = _broken(workshop, "sample_jni", tmp_path, "src/main/cpp/bad.cc", "int f() {\n  return y;\n}\n")
    assert said == (
        "Compiling src/main/cpp/bad.cc failed: src/main/cpp/bad.cc:2:10: error: use of undeclared identifier 'y'."
    )


def test_an_undefined_symbol_is_found_when_linking(workshop: Workshop, tmp_path: Path) -> None:
    text = 'extern "C" int nowhere();\n__attribute__((visibility("default"))) int f() { return nowhere(); }\n'
    said = _broken(workshop, "sample_jni", tmp_path, "src/main/cpp/bad.cc", text)
    assert said.startswith("Linking libaggregate.so failed: ")
    assert "undefined symbol: nowhere" in said


def test_annotation_processors_of_dependencies_do_not_run(workshop: Workshop, tmp_path: Path) -> None:
    """A processor that is found and cannot be loaded would fail the build: with -proc:none nobody looks."""
    spec, source, lock = workshop.sample("sample_java")
    hostile = io.BytesIO()
    with zipfile.ZipFile(hostile, "w") as archive:
        archive.writestr("META-INF/services/javax.annotation.processing.Processor", "evil.Processor\n")
    jar = workshop.add_jar("evil:processor", hostile.getvalue(), "processor-1.jar")
    _, files = workshop.workload(spec, source, lock.model_copy(update={"inputs": (*lock.inputs, jar)}))
    assert b"BOOT-INF/lib/processor-1.jar" in files["sample_java_application.jar"]


def test_a_main_class_that_is_nowhere(workshop: Workshop) -> None:
    spec, source, lock = workshop.sample("sample_java")
    assert spec.java
    other = spec.model_copy(update={"java": spec.java.model_copy(update={"main_class": "a.Missing"})})
    with pytest.raises(Permanent, match=r"holds the class a\.Missing; correct java\.main_class"):
        workshop.workload(other, source, lock)


def _layers(workshop: Workshop, spec: ImageSpec, source: Path, lock: ImageLock) -> list[str]:
    return [layer.name for layer in java.layers(spec, source, lock, workshop.path)]


def test_layers_and_configuration_of_jni(workshop: Workshop) -> None:
    spec, source, lock = workshop.sample("sample_jni")
    runtime = ["libc++1-16", "libc++abi1-16", "libc6", "libunwind-16", "libgcc-s1", "gcc-12-base"]
    assert _layers(workshop, spec, source, lock) == [*runtime, "binary_tar"]
    config = java.config(spec)
    assert config.entrypoint == ("java", "-Djava.library.path=.", "-jar", "sample_jni_application.jar")
    assert config.labels["tee.launch_policy.allow_env_override"] == "FCP_OPTS"
    assert config.labels["tee.launch_policy.log_redirect"] == "always"
    assert config.workdir == "/"


def test_what_a_lock_or_the_sources_lack(workshop: Workshop, tmp_path: Path) -> None:
    spec, source, lock = workshop.sample("sample_jni")
    for role, said in (
        ("native", r"lacks the package libc\+\+1-16"),
        ("jdk", "no compiler"),
        ("compiler", "no compiler"),
    ):
        cut = lock.model_copy(update={"inputs": without(lock.inputs, role)})  # type: ignore[arg-type]
        with pytest.raises(Permanent, match=said):
            _layers(workshop, spec, source, cut)
    with pytest.raises(Permanent, match="lacks a dependency's jar"):
        _layers(workshop, spec, source, lock.model_copy(update={"inputs": without(lock.inputs, "jar")}))
    (tmp_path / "README").write_text("")
    with pytest.raises(Permanent, match=r"There is no \*\.java"):
        _layers(workshop, spec, tmp_path, lock)


def test_the_launch_fails_where_a_byte_of_a_nested_jar_changed(workshop: Workshop, tmp_path: Path) -> None:
    _, files = workshop.sample_workload("sample_java")
    data = bytearray(files["sample_java_application.jar"])
    start = data.index(b"com/google/gson/Gson.class") + 400
    data[start] ^= 1
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.jar").write_bytes(data)
    (tmp_path / "out").mkdir()
    with pytest.raises(Permanent, match=r"Archive\.read"):
        sandbox.run(
            workshop.jdk(),
            ["java", "-jar", "a.jar"],
            out=tmp_path / "out",
            sources=tmp_path / "src",
            timeout=60,
        )
