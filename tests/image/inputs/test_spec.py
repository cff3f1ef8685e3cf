"""Specs from YAML, with mistakes named by line, and the lock that belongs to a spec."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Permanent
from shared.image import spec as specs
from shared.model.image import ImageLock, LockedInput

SOUND = """\
name: mine
kind: java
source: src
base:
  packages: [base-files]
java:
  main_class: a.B
"""


def written(folder: Path, text: str = SOUND) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_a_spec_is_read_with_its_defaults(tmp_path: Path) -> None:
    spec = specs.read(written(tmp_path))
    assert (spec.name, spec.kind, spec.base.release) == ("mine", "java", "bookworm")
    assert spec.launch_policy.log_redirect == "always"


MISTAKES = {
    "release": (
        "  packages: [base-files]",
        "  release: sid\n  packages: [base-files]",
        r"base\.debian\.release \(line 5\)",
    ),
    "package": ("[base-files]", "[Base]", r"base\.debian\.packages\.0 \(line 5\)"),
    "image": ("packages: [base-files]", "image: debian", r"base\.image\.image \(line 5\)"),
    "unknown": ("source: src", "source: src\nsauce: x", r"sauce \(line 4\).*no such field"),
    "kind": ("kind: java", "kind: rust", r"kind \(line 2\)"),
    "missing part": ("java:\n  main_class: a.B\n", "", "a java image needs java:"),
    "missing field": ("name: mine\n", "", "the field name is missing"),
    "twice": ("source: src", "source: src\nsource: src", "stands twice"),
    "alias": ("source: src", "source: &a src\nlabels: {x: *a}", "an alias is not read"),
    "label": ("source: src", "source: src\nlabels: {tee.launch_policy.log_redirect: never}", "launch_policy"),
    "override": (
        "source: src",
        "source: src\nlaunch_policy:\n  allow_env_override: [GOOD, LD_PRELOAD]",
        r"allow_env_override \(line 5\): LD_PRELOAD runs code",
    ),
    "jar": (
        "  main_class: a.B",
        "  main_class: a.B\n  dependencies: [{url: 'https://x.org/a.jar'}]",
        "needs its sha256",
    ),
    "two ways": (
        "  main_class: a.B",
        "  main_class: a.B\n  dependencies: [{maven: 'a:b:1', debian: 'ab:/usr/share/java/a.jar'}]",
        "give one of maven, url and debian",
    ),
    "no yaml": ("name: mine", "name: [", "not YAML"),
    "list": (SOUND, "- a", "must be a mapping with at least name, kind, source and base"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named_with_their_line(case: str, tmp_path: Path) -> None:
    before, after, words = MISTAKES[case]
    assert before in SOUND
    with pytest.raises(Permanent, match=words) as refused:
        specs.read(written(tmp_path, SOUND.replace(before, after)))
    assert "\n" not in str(refused.value)


def test_specs_by_name_and_by_path(tmp_path: Path) -> None:
    assert {"sample_java", "sample_jni", "quickstart_data", "aggregator"} <= set(specs.built_in())
    assert specs.find("sample_java") == specs.BUILT_IN / "sample_java.yaml"
    path = written(tmp_path)
    assert specs.find(str(path)) == path
    with pytest.raises(Permanent, match="There is no image 'nothing': give one of aggregator, "):
        specs.find("nothing")
    assert specs.lock_path(path) == tmp_path / "mine.lock.json"


def one(**more: Any) -> LockedInput:
    fields: dict[str, Any] = {
        "role": "base",
        "name": "a",
        "url": "https://x.org/a.deb",
        "sha256": "sha256:" + "0" * 64,
        "size": 1,
    }
    return LockedInput(**{**fields, **more})


def lock_for(path: Path, *inputs: LockedInput) -> ImageLock:
    spec = specs.read(path)
    return ImageLock(
        image=spec.name, resolved_from=specs.resolved_from(spec, Path()), inputs=inputs or (one(),)
    )


def test_a_lock_comes_back_the_same_whatever_its_order(tmp_path: Path) -> None:
    path = written(tmp_path)
    inputs = [one(name=name, role=role) for name in ("b", "a") for role in ("jdk", "base")]
    written_as = set()
    for order in itertools.permutations(inputs):
        specs.write_lock(lock_for(path, *order), path)
        written_as.add(specs.lock_path(path).read_bytes())
    assert len(written_as) == 1
    lock = specs.read_lock(specs.read(path), path)
    assert [(each.role, each.name) for each in lock.inputs] == [
        ("base", "a"),
        ("base", "b"),
        ("jdk", "a"),
        ("jdk", "b"),
    ]
    assert specs.lock_path(path).stat().st_mode & 0o777 == 0o644
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("change", "is_stale"),
    [
        (("[base-files]", "[base-files, tzdata]"), True),
        (("  packages:", "  release: trixie\n  packages:"), True),
        (("name: mine", "name: other"), True),
        (("  main_class: a.B", "  main_class: a.B\n  jdk: [default-jdk]"), True),
        (("source: src", "source: elsewhere"), False),
        (("a.B", "a.C"), False),
        (("source: src", "source: src\nenv: {A: b}\nports: [80]"), False),
    ],
)
def test_a_lock_of_another_spec_is_refused(change: tuple[str, str], is_stale: bool, tmp_path: Path) -> None:
    path = written(tmp_path)
    specs.write_lock(lock_for(path), path)
    path.write_text(SOUND.replace(*change))
    if not is_stale:
        specs.read_lock(specs.read(path), path)
        return
    with pytest.raises(
        Permanent, match=r"was resolved from another spec; run `\./dmz image lock .*mine\.yaml`"
    ):
        specs.read_lock(specs.read(path), path)


def test_locks_that_cannot_be_used(tmp_path: Path) -> None:
    path = written(tmp_path)
    spec, place = specs.read(path), specs.lock_path(path)
    with pytest.raises(Permanent, match=r"has no lock .*; run `\./dmz image lock"):
        specs.read_lock(spec, path)
    place.write_bytes(b"{")
    with pytest.raises(Permanent, match="The image lock"):
        specs.read_lock(spec, path)
    document = json.loads(specs.lock_bytes(lock_for(path)))
    place.write_text(json.dumps(document | {"inputs": document["inputs"] * 2}))
    with pytest.raises(Permanent, match="names an input twice"):
        specs.read_lock(spec, path)
    place.write_text(json.dumps(document | {"more": 1}))
    with pytest.raises(Permanent, match="no such field"):
        specs.read_lock(spec, path)
    place.write_bytes(b" " * (17 * 1024**2))
    with pytest.raises(Permanent, match="larger than"):
        specs.read_lock(spec, path)


@pytest.mark.parametrize("name", specs.built_in())
def test_the_projects_own_specs_have_their_locks(name: str) -> None:
    path = specs.find(name)
    spec = specs.read(path)
    lock = specs.read_lock(spec, path)
    assert spec.name == name
    assert specs.lock_path(path).read_bytes() == specs.lock_bytes(lock)
    assert all(each.sha1 for each in lock.inputs if each.debian)
    hosts = {each.url.split("/")[2] for each in lock.inputs}
    assert hosts <= {"deb.debian.org", "files.pythonhosted.org"}
