"""The loader of nested jars: what an application finds from inside one, as from any class path."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from shared.errors import Permanent
from shared.image import javac, sandbox, sources
from shared.image.scratch import Scratch
from shared.model.image import ImageLock, ImageSpec, Java, LockedInput
from tests.image.java.conftest import Workshop

pytestmark = pytest.mark.network
_LIBRARY = {
    "lib/Greeting.java": "package lib; public interface Greeting { String text(); }",
    "lib/Hello.java": (
        'package lib; public class Hello implements Greeting { public String text() { return "hello"; } }'
    ),
    "lib/Version.java": 'package lib; public class Version { public static String get() { return "base"; } }',
}
_NEWER = {
    "lib/Version.java": 'package lib; public class Version { public static String get() { return "newer"; } }'
}
_MAIN = """
package app;

import java.io.InputStream;
import java.net.URL;
import java.util.Collections;
import java.util.ServiceLoader;

public class Main {
    static String text(URL url) throws Exception {
        try (InputStream stream = url.openStream()) {
            return new String(stream.readAllBytes(), "UTF-8").trim();
        }
    }

    public static void main(String[] arguments) throws Exception {
        try {
            look(arguments);
        } catch (IllegalStateException error) {
            System.out.println("thrown " + error.getMessage());
        }
    }

    static void look(String[] arguments) throws Exception {
        ClassLoader loader = Main.class.getClassLoader();
        System.out.println("arguments " + String.join(",", arguments));
        for (lib.Greeting greeting : ServiceLoader.load(lib.Greeting.class)) {
            System.out.println("service " + greeting.text());
        }
        System.out.println("multi-release " + lib.Version.get());
        System.out.println("own resource " + text(Main.class.getResource("/own file.txt")));
        System.out.println("nested resource " + text(loader.getResource("lib/a#b?c%d \u00e4.txt")));
        URL url = loader.getResource("own file.txt");
        System.out.println("from text " + text(new URL(url.toString())));
        System.out.println("length " + url.openConnection().getContentLength());
        System.out.println("everywhere " + Collections.list(loader.getResources("both.txt")).size());
        System.out.println("nowhere " + loader.getResource("lib/") + " " + loader.getResource("x"));
        System.out.println("package " + lib.Hello.class.getPackage().getImplementationVersion());
        System.out.println("context " + (Thread.currentThread().getContextClassLoader() == loader));
        System.out.println("source " + lib.Hello.class.getProtectionDomain().getCodeSource().getLocation());
        Thread.currentThread().interrupt();
        System.out.println("interrupted " + new app.Late().say());
        Thread.interrupted();
        throw new IllegalStateException("as the application says");
    }
}
"""
_LATE = 'package app; class Late { String say() { return "loads"; } }'


def _compile(workshop: Workshop, files: Mapping[str, str], where: Path) -> dict[str, bytes]:
    for place, text in files.items():
        path = where / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    scratch = Scratch()
    given = sources.read(where)
    made = javac.compiled(workshop.jdk(), given, scratch.copy(given, "src"), {}, 17, scratch, "out")
    found = {}
    for name, content in made.classes.items():
        with content.open() as stream:
            found[name] = stream.read()
    return found


def _zip(entries: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _service(
    workshop: Workshop, tmp_path: Path, files: Mapping[str, str], jars: list[LockedInput]
) -> dict[str, bytes]:
    source = tmp_path / "source"
    for place, text in files.items():
        (source / place).parent.mkdir(parents=True, exist_ok=True)
        (source / place).write_text(text, encoding="utf-8")
    spec, _, lock = workshop.sample("sample_java")
    own: ImageSpec = spec.model_copy(update={"name": "app", "java": Java(main_class="app.Main")})
    tools = tuple(each for each in lock.inputs if each.role == "jdk")
    both: ImageLock = lock.model_copy(update={"image": "app", "inputs": (*tools, *jars)})
    return workshop.workload(own, source, both)[1]


def _run(workshop: Workshop, tmp_path: Path, files: Mapping[str, bytes], *arguments: str) -> str:
    place, out = tmp_path / "run", tmp_path / "out"
    place.mkdir()
    out.mkdir()
    for name, data in files.items():
        (place / name).write_bytes(data)
    return sandbox.run(
        workshop.jdk(),
        ["java", "-jar", "app_application.jar", *arguments],
        out=out,
        sources=place,
        timeout=120,
    )


def test_everything_is_found_in_nested_jars(workshop: Workshop, tmp_path: Path) -> None:
    newer = _compile(workshop, _NEWER, tmp_path / "newer")
    library = _zip(
        {
            "META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\nMulti-Release: true\nImplementation-Version: 7.1\n",
            **_compile(workshop, _LIBRARY, tmp_path / "library"),
            **{f"META-INF/versions/11/{name}": data for name, data in newer.items()},
            "META-INF/versions/99/lib/Version.class": b"not for this JVM",
            "META-INF/services/lib.Greeting": b"lib.Hello\n",
            "lib/a#b?c%d \u00e4.txt": b"odd name\n",
            "both.txt": b"library",
        }
    )
    jar = workshop.add_jar("org.lib:lib", library, "lib-1.0.jar")
    files = _service(
        workshop,
        tmp_path,
        {
            "src/main/java/app/Main.java": _MAIN,
            "src/main/java/app/Late.java": _LATE,
            "src/main/resources/own file.txt": "mine\n",
            "src/main/resources/both.txt": "own",
            "src/test/java/app/Broken.java": "not compiled",
        },
        [jar],
    )
    told = _run(workshop, tmp_path, files, "a", "b c")
    assert told.splitlines() == [
        "arguments a,b c",
        "service hello",
        "multi-release newer",
        "own resource mine",
        "nested resource odd name",
        "from text mine",
        "length 5",
        "everywhere 2",
        "nowhere null null",
        "package 7.1",
        "context true",
        "source nested:/src/app_application.jar!/BOOT-INF/lib/lib-1.0.jar!/",
        "interrupted loads",
        "thrown as the application says",
    ]


def test_springs_loader_takes_the_place_of_ours(workshop: Workshop, tmp_path: Path) -> None:
    stand_in = _compile(
        workshop,
        {
            "org/springframework/boot/loader/launch/JarLauncher.java": (
                "package org.springframework.boot.loader.launch; public class JarLauncher { "
                'public static void main(String[] a) { System.out.println("Spring\'s loader"); } }'
            )
        },
        tmp_path / "loader",
    )
    jar = workshop.add_jar(
        "org.springframework.boot:spring-boot-loader", _zip(stand_in), "spring-boot-loader-3.4.1.jar"
    )
    main = {"app/Main.java": "package app; public class Main { public static void main(String[] a) { } }"}
    files = _service(workshop, tmp_path, main, [jar])
    archive = zipfile.ZipFile(io.BytesIO(files["app_application.jar"]))
    assert "Main-Class: org.springframework.boot.loader.launch.JarLauncher" in archive.read(
        "META-INF/MANIFEST.MF"
    ).decode().split("\r\n")
    assert not [name for name in archive.namelist() if name.startswith(("dmz/", "BOOT-INF/lib/"))]
    assert _run(workshop, tmp_path, files) == "Spring's loader\n"


def test_two_jars_of_one_name_get_their_groups(workshop: Workshop, tmp_path: Path) -> None:
    jars = [
        workshop.add_jar(f"{group}:x", _zip({f"{group}.txt": b""}), "x-1.jar") for group in ("org.a", "org.b")
    ]
    main = {"app/Main.java": "package app; public class Main { public static void main(String[] a) { } }"}
    files = _service(workshop, tmp_path, main, jars)
    names = zipfile.ZipFile(io.BytesIO(files["app_application.jar"])).namelist()
    assert [name for name in names if name.startswith("BOOT-INF/lib/")] == [
        *("BOOT-INF/lib/", "BOOT-INF/lib/org.a-x-1.jar", "BOOT-INF/lib/org.b-x-1.jar")
    ]


def test_a_hostile_dependency_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    jar = workshop.add_jar("org.a:x", _zip({"../../evil.class": b""}), "x-1.jar")
    main = {"app/Main.java": "package app; public class Main { public static void main(String[] a) { } }"}
    with pytest.raises(Permanent, match=r"The jar x-1\.jar has an entry that leads out of it"):
        _service(workshop, tmp_path, main, [jar])


def test_a_jar_out_of_a_package_by_its_link(workshop: Workshop, tmp_path: Path) -> None:
    _, _, lock = workshop.sample("sample_java")
    package = next(each for each in lock.inputs if each.role == "jar")
    linked = package.model_copy(update={"path": "/usr/share/java/gson-2.10.jar"})
    scratch = Scratch()
    found = javac.jars([linked], workshop.path, scratch)
    assert list(found) == ["gson-2.10.jar"]
    assert (
        zipfile.ZipFile(found["gson-2.10.jar"]).read("com/google/gson/Gson.class")[:4] == b"\xca\xfe\xba\xbe"
    )
    missing = package.model_copy(update={"path": "/usr/share/java/jackson.jar"})
    with pytest.raises(
        Permanent, match=r"has no jar /usr/share/java/jackson\.jar; it has /usr/share/java/gson"
    ):
        javac.jars([missing], workshop.path, scratch)
