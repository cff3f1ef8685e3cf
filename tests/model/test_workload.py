"""A workload file is written by hand: whatever is wrong with it is one sentence with the place."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from shared.errors import Permanent
from shared.model import workload

GOOD = """\
name: mine
runtime_version: v2-alpha-tpuv5-lite
accelerator_type: v5litepod-1
install: |
  pip install six
smoke: |
  python -c 'import six'
"""


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_good_file_is_a_workload(tmp_path: Path) -> None:
    found = workload.read(written(tmp_path, GOOD))
    assert (found.name, found.after, found.install) == ("mine", "keep", "pip install six\n")
    assert workload.find(str(tmp_path / "mine.yaml")) == found


def test_requirements_as_pip_and_uv_take_them(tmp_path: Path) -> None:
    more = """constraints: [jinja2==3.1.4, 'six >= 1 ; python_version < "4"']\noverrides: ['a[b]>=1']\n"""
    found = workload.read(written(tmp_path, GOOD + more))
    assert (len(found.constraints), found.overrides) == (2, ("a[b]>=1",))


@pytest.mark.parametrize("name", workload.built_in())
def test_what_comes_with_the_project_is_good(name: str) -> None:
    assert workload.find(name).name == name


BAD: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "must be a mapping"),
    "a list": ("- a\n- b\n", "must be a mapping"),
    "not YAML": ("name: [unclosed\n", "is not YAML"),
    "a tab": ("name:\tmine\n\t- x\n", "is not YAML"),
    "a missing field": (GOOD.replace("name: mine\n", ""), "not valid: the field name is missing."),
    "missing fields": (
        "name: mine\ninstall: x\n",
        "the field runtime_version is missing (and accelerator_type, smoke).",
    ),
    "missing and wrong": (
        "name: Mine\ninstall: x\nsmoke: x\nruntime_version: v2\n",
        "accelerator_type is missing; 1 more to correct: name.",
    ),
    "a field too many": (
        GOOD + "colour: red\n",
        "not valid at colour (line 8): there is no such field; remove it",
    ),
    "a wheel without its hash": (
        GOOD + "wheels:\n  - path: a.whl\n    sha256: 'md5:0'\n",
        "at wheels.0.sha256 (line 10): a digest is 'sha256:' and 64 lower-case hexadecimal digits, found 'md5:0'.",
    ),
    "one equals sign": (
        GOOD + "constraints:\n  - six==1.17.0\n  - jinja2=3.1.4\n",
        "not valid at constraints.1 (line 10): this is no requirement as PEP 508 has it",
    ),
    "an option for a constraint": (
        GOOD + "constraints: [--pre]\n",
        "not valid at constraints.0 (line 8): this is no",
    ),
    "a constraint with extras": (
        GOOD + "constraints: ['six[x]==1']\n",
        "pip takes no extras in a constraint",
    ),
    "an override that is none": (GOOD + "overrides: ['pytype; 3.13']\n", "not valid at overrides.0 (line 8)"),
    "a mapping for text": (
        GOOD + "description: {a: b}\n",
        "(line 8): Input should be a valid string, found a mapping.",
    ),
    "a capital name": (GOOD.replace("mine", "Mine"), "not valid at name"),
    "a number for text": (GOOD.replace("name: mine", "name: 5"), "not valid at name"),
    "a key twice": (GOOD + "name: other\n", "the key 'name' stands twice"),
    "an alias": (GOOD + "apt: &a [curl]\nconstraints: *a\n", "an alias is not read"),
    "aliases without bound": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(
            f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        "an alias is not read",
    ),
    "a Python object": ("name: !!python/object/apply:os.system ['true']\n", "is not YAML"),
    "a date": (GOOD.replace("name: mine", "name: 2026-11-21"), "not valid at name (line 1)"),
    "not a number": (GOOD + "install_minutes: .nan\n", "something that JSON cannot"),
    "deep nesting": ("[" * 100_000, "nested too deeply"),
    "deep but shallow enough to read": (GOOD + "apt: " + "[" * 60 + "]" * 60, "not valid at apt"),
    "invalid UTF-8": (b"name: \xff\xfe\xfa\n", "is not YAML"),
    "a NUL": (GOOD + "description: \x00\n", "is not YAML"),
    "a NUL in a script": (GOOD.replace("smoke: |\n  python", 'smoke: "\\0'), "is not YAML"),
    "half a surrogate pair": (GOOD + 'description: "\\ud800"\n', "not valid"),
    "too large": (GOOD + "# " + "x" * 300_000, "is too large"),
}


@pytest.mark.parametrize(("text", "words"), BAD.values(), ids=BAD.keys())
def test_a_mistake_is_one_sentence(text: str | bytes, words: str, tmp_path: Path) -> None:
    started = time.thread_time()
    with pytest.raises(Permanent) as caught:
        workload.read(written(tmp_path, text))
    assert words in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 900
    assert time.thread_time() - started < 5


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.yaml", tmp_path, Path("nul\x00.yaml"), Path("/dev/zero")):
        with pytest.raises(Permanent):
            workload.read(path)
    with pytest.raises(Permanent, match="There is no workload 'unheard-of'"):
        workload.find("unheard-of")
    with pytest.raises(Permanent) as caught:
        workload.find("\x1b[31m")
    assert str(caught.value).isprintable()
