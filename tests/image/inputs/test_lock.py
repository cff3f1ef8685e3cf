"""Resolving a spec from signed indexes, a Python index and a Maven repository on loopback."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Permanent
from shared.image import debian, lock
from shared.image import spec as specs
from shared.model.image import ImageLock, ImageSpec
from tests.image.inputs import debs
from tests.image.inputs.conftest import World, of
from tests.image.inputs.debs import content, link
from tests.upstream import support
from tests.upstream.package_index import PackageIndex
from tests.upstream.support import Reply

JAR = support.zipped({"META-INF/MANIFEST.MF": b""})


def java(*dependencies: dict[str, str], **more: Any) -> ImageSpec:
    document: dict[str, Any] = {
        "name": "mine",
        "kind": "java",
        "source": "src",
        "base": {"packages": ["base-files", "jre"]},
        "java": {"main_class": "a.B", "jdk": ["jdk"], "dependencies": dependencies},
    }
    return ImageSpec.check({**document, **more}, "The spec")


def jni() -> ImageSpec:
    native = {"library": "x", "compiler": ["clang"], "runtime": ["libc++", "libc6"]}
    return java(kind="java-jni", native=native)


def python(*requirements: str) -> ImageSpec:
    return ImageSpec.check(
        {
            "name": "mine",
            "kind": "python",
            "source": "src",
            "base": {"packages": ["base-files"]},
            "python": {"requirements": requirements, "interpreter": ["python3.11-minimal", "libpython3.11"]},
        },
        "The spec",
    )


@pytest.fixture
def stocked(world: World) -> World:
    world.package("base-files", "12.4", ("./usr/lib/os-release", b"ID=debian\n"))
    world.package("libc6", "2.36-9", ("./lib/libc.so", b"libc"))
    world.package("libc6", "2.36-9+deb12u1", ("./lib/libc.so", b"new"), suite="security")
    world.package("jre", "17", ("./usr/bin/x", b"x"), Depends="libc6 (>= 2.34), tz | tz-other")
    world.package("tz", "1", Recommends="doc")
    world.package("tz-other", "1")
    world.package("doc", "1")
    world.package("jdk", "17", Depends="jre (= 17)")
    world.package("clang", "16", Depends="libc6")
    world.package("libunwind", "16")
    world.package("libc++", "16", Depends="libc6, libunwind")
    world.package("python3.11-minimal", "3.11.2-6+deb12u6", Depends="libpython3.11, libexpat")
    world.package("libpython3.11", "3.11.2-6+deb12u6", Depends="libc6, zlib1g")
    world.package("libexpat", "2")
    world.package("zlib1g", "1:1.2")
    return world


def names(lock: ImageLock, role: str) -> list[str]:
    return [each.name for each in lock.inputs if each.role == role]


def test_a_java_lock(stocked: World) -> None:
    said: list[str] = []
    made = lock.resolve(java(), stocked.sources(), said.append)
    assert names(made, "base") == ["base-files", "jre", "libc6", "tz"]
    assert names(made, "jdk") == ["jdk", "jre", "libc6", "tz"]
    libc = of(made.inputs, "base")["libc6"]
    assert (libc.version, libc.debian) == ("2.36-9+deb12u1", "2.36-9+deb12u1")
    assert libc.url.startswith(f"{stocked.web.url}/debian-security/pool/")
    body = debs.deb("libc6", [("./lib/libc.so", b"new")])
    assert libc.sha256 == "sha256:" + hashlib.sha256(body).hexdigest()
    assert libc.sha1 == hashlib.sha1(body, usedforsecurity=False).hexdigest()
    assert libc.size == len(body)
    assert made.resolved_from == specs.resolved_from(java(), Path())
    assert said[-1].startswith("mine: 8 inputs, ")
    assert lock.resolve(java(), stocked.sources("other cache")) == made


def test_a_jni_lock_shares_its_base(stocked: World) -> None:
    sources = stocked.sources()
    made = lock.resolve(jni(), sources)
    # libunwind is what only the native packages need; libc6 is the base's as well as a layer of its own.
    assert names(made, "native") == ["libc++", "libc6"]
    assert names(made, "base") == ["base-files", "jre", "libc6", "libunwind", "tz"]
    assert names(made, "compiler") == ["clang", "libc6"]


def test_a_python_lock(stocked: World, index: PackageIndex) -> None:
    index.wheel("app", "1.0", "leaf", tag="cp311-cp311-manylinux_2_28_x86_64")
    index.wheel("app", "1.0", "leaf", tag="cp312-cp312-manylinux_2_28_x86_64")
    index.wheel("leaf", "2.0")
    made = lock.resolve(python("app"), stocked.sources())
    assert names(made, "interpreter") == ["libpython3.11", "python3.11-minimal"]
    assert names(made, "base") == ["base-files", "libc6", "libexpat", "zlib1g"]
    wheels = of(made.inputs, "wheel")
    assert [each.filename for each in wheels.values()] == [
        "app-1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        "leaf-2.0-py3-none-any.whl",
    ]
    body = stocked.web.routes["/files/leaf-2.0-py3-none-any.whl"]
    assert isinstance(body, Reply)
    assert (wheels["leaf"].size, wheels["leaf"].version) == (len(body.body), "2.0")


def test_what_has_no_wheel_is_refused(stocked: World, index: PackageIndex) -> None:
    index.wheel("app", "1.0", tag="cp311-cp311-manylinux_2_39_x86_64")
    with pytest.raises(Permanent, match="app"):
        lock.resolve(python("app"), stocked.sources())
    with pytest.raises(Permanent, match="nothing"):
        lock.resolve(python("nothing"), stocked.sources())


def test_after_locking_a_build_asks_nobody(stocked: World, index: PackageIndex) -> None:
    index.wheel("leaf", "2.0")
    sources = stocked.sources()
    made = lock.resolve(python("leaf"), sources)
    stocked.web.routes.clear()
    asked = len(stocked.web.requests)
    sources.cache.prefetch(made.inputs)
    tree = debian.base_layer(python("leaf"), made, sources.cache.path).tree()
    assert content(tree, "usr/lib/os-release") == b"ID=debian\n"
    assert len(stocked.web.requests) == asked


def test_the_bases_key_follows_from_what_it_holds(stocked: World) -> None:
    spec, sources = jni(), stocked.sources()
    made = lock.resolve(spec, sources)
    shuffled = made.model_copy(update={"inputs": made.inputs[::-1]})
    key = debian.base_layer(spec, made, sources.cache.path).key
    assert debian.base_layer(spec, shuffled, sources.cache.path).key == key
    fewer = made.model_copy(update={"inputs": tuple(each for each in made.inputs if each.name != "tz")})
    assert debian.base_layer(spec, fewer, sources.cache.path).key != key
    other = spec.model_copy(update={"exclude": ("usr/*",)})
    assert debian.base_layer(other, made, sources.cache.path).key != key
    native = of(made.inputs, "native")
    layers = [debian.package_layer(each, sources.cache.path, spec.exclude) for each in native.values()]
    assert len({layer.key for layer in layers}) == 2
    assert content(layers[1].tree(), "usr/lib/libc.so") == b"new"
    assert layers[1].tree().get("lib") is None


def test_jars_of_three_kinds(stocked: World) -> None:
    web = stocked.web
    web.routes["/maven/org/x/y/1/y-1.jar"] = Reply(JAR)
    web.routes["/maven/org/x/y/1/y-1.jar.sha1"] = Reply(
        hashlib.sha1(JAR, usedforsecurity=False).hexdigest().encode()
    )
    web.routes["/own.jar"] = Reply(JAR + b"own")
    digest = "sha256:" + hashlib.sha256(JAR + b"own").hexdigest()
    files: list[debs.Entry] = [
        ("./usr/share/java/gson-2.jar", JAR),
        link("./usr/share/java/gson.jar", "gson-2.jar"),
    ]
    stocked.package("libgson-java", "2", *files)
    spec = java(
        {"maven": "org.x:y:1"},
        {"url": f"{web.url}/own.jar", "sha256": digest},
        {"debian": "libgson-java:/usr/share/java/gson.jar", "sha256": support.digest(JAR)},
    )
    assert spec.java is not None
    spec = spec.model_copy(
        update={"java": spec.java.model_copy(update={"maven_repository": f"{web.url}/maven"})}
    )
    sources = stocked.sources()
    made = lock.resolve(spec, sources)
    jars = of(made.inputs, "jar")
    assert set(jars) == {"org.x:y", "own.jar", "libgson-java"}
    assert (jars["org.x:y"].sha256, jars["org.x:y"].version) == (support.digest(JAR), "1")
    assert (jars["own.jar"].sha256, jars["own.jar"].size) == (digest, len(JAR) + 3)
    package = jars["libgson-java"]
    assert package.path == "/usr/share/java/gson.jar"
    assert package.sha256 != support.digest(JAR)
    web.routes.clear()
    assert sources.cache.path(jars["org.x:y"]).read_bytes() == JAR


def test_jars_that_are_not_what_the_spec_says(stocked: World) -> None:
    stocked.package("libgson-java", "2", ("./usr/share/java/gson.jar", JAR))
    wrong = "sha256:" + "0" * 64
    of_package = "libgson-java:/usr/share/java/gson.jar"
    for dependency, words in (
        ({"debian": of_package, "sha256": wrong}, "which the spec asks for"),
        ({"debian": "libgson-java:/usr/share/java/other.jar"}, "has no file /usr/share/java/other.jar"),
        ({"debian": "libnone-java:/usr/share/java/x.jar"}, "There is no package libnone-java"),
        ({"url": f"{stocked.web.url}/page", "sha256": support.digest(b"<html>")}, "is no jar"),
        ({"url": f"{stocked.web.url}/page", "sha256": wrong}, "not the expected"),
    ):
        stocked.web.routes["/page"] = Reply(b"<html>")
        with pytest.raises(Permanent, match=words):
            lock.resolve(java(dependency), stocked.sources())


def test_an_archive_that_is_not_the_index_one_is_refused(stocked: World) -> None:
    sources = stocked.sources()
    stocked.web.routes["/debian/pool/main/t/tz/tz_1_amd64.deb"] = Reply(b"x" * len(debs.deb("tz")))
    with pytest.raises(Permanent, match="not the expected"):
        lock.resolve(java(), sources)


def test_an_unsigned_index_is_refused(stocked: World) -> None:
    sources = stocked.sources()
    reply = stocked.web.routes["/debian/dists/bookworm/InRelease"]
    assert isinstance(reply, Reply)
    stocked.web.routes["/debian/dists/bookworm/InRelease"] = Reply(reply.body.replace(b"Debian", b"Debjan"))
    with pytest.raises(Permanent):
        lock.resolve(java(), sources)


def test_a_written_lock_is_read_back(stocked: World, tmp_path: Path) -> None:
    made = lock.resolve(java(), stocked.sources())
    path = tmp_path / "mine.yaml"
    assert specs.write_lock(made, path) == tmp_path / "mine.lock.json"
    assert specs.read_lock(java(), path) == made
