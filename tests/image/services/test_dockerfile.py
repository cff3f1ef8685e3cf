"""functions/Dockerfile: linted, the same sources as the spec's, and built for real, by buildah."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from functions.ctl import smoke
from shared.image import build as building
from shared.image import debian, lock, sources
from shared.image import spec as specs
from shared.image.inputs import Cache
from shared.image.make import Made
from shared.image.oci import read_layout
from shared.image.plan import Config, Plan
from shared.model.image import ImageSpec
from tests.emulators.registry.support import need
from tests.image.services.conftest import CHECKOUT

FILE = CHECKOUT / "functions" / "Dockerfile"
TEXT = FILE.read_text(encoding="utf-8")
INSTRUCTIONS = [
    line.split(None, 1)
    for line in re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    if line.strip()
]
BASE = {
    "name": "docker_base",
    "kind": "python",
    "source": "src",
    "base": {"packages": ["base-files", "ca-certificates", "dpkg", "gpgv", "python3", "python3-pip", "libstdc++6"]},
    "python": {},
}  # fmt: skip


def lint(text: str) -> list[str]:
    """Codes of what hadolint finds."""
    hadolint = Path(sys.executable).parent / "hadolint"
    command = [hadolint, "--format", "json", "--no-color", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return [each["code"] for each in json.loads(done.stdout)]


def test_it_is_linted() -> None:
    assert lint(TEXT) == []
    assert lint(TEXT.replace("USER 65532:65532", "USER root")) == ["DL3002", "DL3066"]
    assert "DL3025" in lint(
        TEXT.replace('ENTRYPOINT ["python3", "-m", "functions.serve"]', "ENTRYPOINT python3")
    )


def test_it_is_as_it_should_be() -> None:
    """What a linter does not ask: no shell, no name of a base, hashes, a number for the user."""
    given = {}
    for word, rest in INSTRUCTIONS:
        given.setdefault(word, []).append(rest)
        if word in ("RUN", "ENTRYPOINT", "CMD"):
            assert isinstance(json.loads(rest), list), (
                "no shell form: a shell may not be there, and hides signals"
            )
    assert {each.split()[0] for each in given["FROM"]} == {"${BASE}"}
    assert given["ARG"] == ["BASE"], "no default: a base that nobody named by its digest is none"
    assert "--require-hashes" in given["RUN"][0]
    assert given["USER"] == ["65532:65532"]
    assert given["EXPOSE"] == ["8080"]
    assert json.loads(given["ENTRYPOINT"][0]) == ["python3", "-m", "functions.serve"]
    assert not any(word == "ADD" for word, _ in INSTRUCTIONS)


def test_its_sources_are_those_of_the_spec() -> None:
    lines = (FILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    chosen = {
        str(path.relative_to(CHECKOUT))
        for top in ("functions", "shared")
        for path in (CHECKOUT / top).rglob("*")
        if path.is_file() and not ignored(str(path.relative_to(CHECKOUT)), rules)
    }
    spec = specs.read(specs.find(specs.SERVICES))
    assert chosen == {each.place for each in sources.of(spec, CHECKOUT)}
    assert not ignored("requirements.txt", rules)


def ignored(place: str, rules: list[str]) -> bool:
    """The last rule that fits a file or a directory above it counts
    (https://docs.docker.com/build/concepts/context/#dockerignore-files)."""
    parts = place.split("/")
    above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    found = False
    for rule in rules:
        bare = rule.removeprefix("!")
        if any(fits(each, bare) for each in above):
            found = not rule.startswith("!")
    return found


def fits(place: str, rule: str) -> bool:
    if rule.startswith("**/"):
        return fnmatch.fnmatchcase(place.rpartition("/")[2], rule[3:])
    return place.count("/") == rule.count("/") and fnmatch.fnmatchcase(place, rule)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Debian with Python, as an OCI layout by this project's builder: no registry is asked for one."""
    place = tmp_path_factory.mktemp("docker-base")
    spec = ImageSpec.check(BASE, "The base")
    cache = Cache()
    locked = lock.resolve(spec, lock.Sources(cache))
    interpreter = [each for each in locked.inputs if each.role == "interpreter"]
    layers = (
        debian.base_layer(spec, locked, cache.path),
        debian.packages_layer("interpreter", interpreter, cache.path, spec.exclude),
    )
    config = Config(entrypoint=("/usr/bin/python3",), env={"PATH": "/usr/bin:/bin"})
    building.build(Plan(layers, config), spec, locked, place / "base", "gzip", place / "layers")
    return place / "base"


@pytest.mark.network
def test_it_is_built_and_every_stage_answers(base: Path, image: Made, tmp_path: Path) -> None:
    """With the wheels of the image's lock instead of a package index: each has one of the hashes that pip asks for."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for each in image.lock.inputs:
        if each.role == "wheel":
            shutil.copy(Cache().path(each), wheels / each.filename)
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    store = ["--root", str(tmp_path / "root"), "--runroot", str(tmp_path / "run"), "--storage-driver", "vfs"]
    buildah = [need("buildah", "buildah"), *store]
    build = [
        *(*buildah, "build", "--isolation", "chroot", "--build-arg", f"BASE=oci:{base}"),
        *("--ignorefile", f"{FILE}.dockerignore", "--file", str(FILE), "--tag", "services"),
        *("--volume", f"{wheels}:/wheels:ro", "--volume", f"{config}:/etc/pip.conf:ro", str(CHECKOUT)),
    ]
    done = subprocess.run(build, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    layout = tmp_path / "layout"
    subprocess.run(
        [*buildah, "push", "--quiet", "services", f"oci:{layout}:services"], check=True, timeout=580
    )
    said: list[str] = []
    assert smoke.smoke(layout, said.append) == 0
    assert len(said) == 6
    inner = read_layout(layout).config.fields["config"]
    ours = read_layout(image.layout).config.fields["config"]
    assert (inner["User"], inner["ExposedPorts"]) == (ours["User"], ours["ExposedPorts"])
