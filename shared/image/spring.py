"""A service's jar in the Spring Boot layout (https://docs.spring.io/spring-boot/specification/executable-jar/nested-jars.html).

    META-INF/MANIFEST.MF     Main-Class: the loader, Start-Class: the service's
    BOOT-INF/classes/…       the service
    BOOT-INF/lib/NAME.jar    what it needs, stored
    …                        the loader's classes

The loader is the project's own (`shared/data/images/loader`), or Spring's if it is among the dependencies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from shared.errors import Permanent
from shared.image import jar
from shared.image.spool import constant
from shared.image.tree import Content

CLASSES = "BOOT-INF/classes/"
LIBRARIES = "BOOT-INF/lib/"
LAUNCHER = "dmz.loader.Launcher"
_SPRING = re.compile(r"spring-boot-loader(-[0-9][\w.-]*)?\.jar")
_LAUNCHERS = (
    "org/springframework/boot/loader/launch/JarLauncher.class",  # since Spring Boot 3.2
    "org/springframework/boot/loader/JarLauncher.class",
)


def springs_loader(jars: Mapping[str, Path]) -> str:
    """Which of the dependencies, file name to path, is Spring Boot's loader; empty if none is."""
    found = sorted(name for name in jars if _SPRING.fullmatch(name))
    if len(found) > 1:
        raise Permanent(f"The dependencies hold two loaders, {' and '.join(found)}; leave one out.")
    return found[0] if found else ""


def loader(path: Path) -> tuple[str, dict[str, Content]]:
    """The launcher's class name, and what of Spring Boot's loader stands at the root of the service's jar."""
    what = f"The jar {path.name}"
    taken = {
        name: constant(data)
        for name, data in jar.entries(path, what)
        if (name.endswith(".class") and not name.startswith("META-INF/") and name != "module-info.class")
        or name.startswith("META-INF/services/")
    }
    for launcher in _LAUNCHERS:
        if launcher in taken:
            return launcher.removesuffix(".class").replace("/", "."), taken
    raise Permanent(f"{what} holds no JarLauncher, so it is not Spring Boot's loader; name another version.")


def entries(
    name: str,
    main_class: str,
    classes: Mapping[str, Content],
    libraries: Mapping[str, Content],
    launcher: Mapping[str, Content],
) -> dict[str, Content]:
    """What stands in the jar, but for its manifest. Nothing in it says when or where it was built."""
    data = f"build.target={name}_application\nmain.class={main_class}\nname={name}\n"
    return jar.merge(
        (
            {"build-data.properties": constant(data.encode())},
            launcher,
            {CLASSES + place: content for place, content in classes.items()},
            {LIBRARIES + place: content for place, content in libraries.items()},
        )
    )


def attributes(launcher: str, main_class: str) -> dict[str, str]:
    """Of the manifest."""
    return {
        "Manifest-Version": "1.0",
        "Main-Class": launcher,
        "Start-Class": main_class,
        "Spring-Boot-Classes": CLASSES,
        "Spring-Boot-Lib": LIBRARIES,
    }
