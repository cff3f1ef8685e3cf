"""The Spring Boot layout, and whose loader starts it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from shared.errors import Permanent
from shared.image import spring
from shared.image.spool import constant


def _jar(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return path


def test_entries_say_nothing_of_when_and_where() -> None:
    made = spring.entries(
        "sample",
        "a.Main",
        {"a/Main.class": constant(b"1")},
        {"x.jar": constant(b"2")},
        {"l/L.class": constant(b"3")},
    )
    assert set(made) == {
        "build-data.properties",
        "BOOT-INF/classes/a/Main.class",
        "BOOT-INF/lib/x.jar",
        "l/L.class",
    }
    with made["build-data.properties"].open() as stream:
        assert stream.read() == b"build.target=sample_application\nmain.class=a.Main\nname=sample\n"


def test_manifest_attributes() -> None:
    assert spring.attributes("l.L", "a.Main") == {
        "Manifest-Version": "1.0",
        "Main-Class": "l.L",
        "Start-Class": "a.Main",
        "Spring-Boot-Classes": "BOOT-INF/classes/",
        "Spring-Boot-Lib": "BOOT-INF/lib/",
    }


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("spring-boot-loader-3.2.5.jar", True),
        ("spring-boot-loader.jar", True),
        ("spring-boot-loader-4.0.0-M1.jar", True),
        ("spring-boot-loader-tools-3.2.5.jar", False),
        ("my-spring-boot-loader-1.jar", False),
    ],
)
def test_which_dependency_is_springs_loader(name: str, found: bool) -> None:
    assert spring.springs_loader({"a.jar": Path("a"), name: Path("b")}) == (name if found else "")


def test_two_loaders() -> None:
    jars = {"spring-boot-loader-3.2.5.jar": Path("a"), "spring-boot-loader-3.1.0.jar": Path("b")}
    with pytest.raises(Permanent, match="hold two loaders"):
        spring.springs_loader(jars)


@pytest.mark.parametrize(
    "package", ["org/springframework/boot/loader/launch", "org/springframework/boot/loader"]
)
def test_springs_loader_is_taken_apart(tmp_path: Path, package: str) -> None:
    service = "META-INF/services/java.nio.file.spi.FileSystemProvider"
    names = (
        f"{package}/JarLauncher.class",
        "org/x/Y.class",
        service,
        "META-INF/MANIFEST.MF",
        "META-INF/LICENSE.txt",
    )
    launcher, taken = spring.loader(_jar(tmp_path / "spring-boot-loader.jar", *names))
    assert launcher == f"{package}/JarLauncher".replace("/", ".")
    assert set(taken) == {f"{package}/JarLauncher.class", "org/x/Y.class", service}


def test_a_loader_without_its_launcher(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="holds no JarLauncher"):
        spring.loader(_jar(tmp_path / "spring-boot-loader.jar", "org/x/Y.class"))


def test_a_hostile_loader(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="leads out of it"):
        spring.loader(_jar(tmp_path / "spring-boot-loader.jar", "../x.class"))
