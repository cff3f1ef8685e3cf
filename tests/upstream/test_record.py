"""The digest that a wheel and its installation share, under the two real installers."""

from __future__ import annotations

import ensurepip
import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import uv
from hypothesis import given
from hypothesis import strategies as st

from shared.guest import record
from shared.upstream import wheel
from tests.upstream.support import record_row, wheel_members, zipped

INFO = "demo-1.0.dist-info"

EVERYTHING = {
    "demo/__init__.py": b"",
    "demo/data, with comma.txt": b"text",
    'demo/quote".txt': b"text",
    "demo/umlaut-\xc3\xbc.txt".encode("latin-1").decode(): b"text",
    "demo/shipped.pyc": b"not really bytecode",
    "demo-1.0.data/purelib/pure/__init__.py": b"y = 2\n",
    "demo-1.0.data/platlib/plat.py": b"z = 3\n",
    "demo-1.0.data/scripts/demo-script": b"#!python\nprint('hello')\n",
    "demo-1.0.data/data/share/demo/readme": b"data",
    "demo-1.0.data/headers/demo.h": b"int x;\n",
    "demo-1.0.dist-info/entry_points.txt": b"[console_scripts]\ndemo-entry = demo:main\n",
    "demo-1.0.dist-info/licenses/LICENSE": b"free\n",
    "demo-1.0.dist-info/top_level.txt": b"demo\n",
}
PLAIN = {"demo/__init__.py": b"x = 1\n", "demo/deep/er/module.py": b"", "demo.py": b"1\n"}
SCRIPTS = {
    "demo.py": b"def main(): ...\n",
    "demo-1.0.dist-info/entry_points.txt": b"[gui_scripts]\nd = demo:main\n",
}

Installer = Callable[[Path, Path], None]


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr


def by_pip(environment: Path, file: Path) -> None:
    """pip from the wheel that Python itself brings along: an environment without pip of its own is made faster."""
    (pip,) = Path(ensurepip.__path__[0], "_bundled").glob("pip-*.whl")
    arguments = [
        "--isolated",
        "install",
        "--no-index",
        "--no-deps",
        "--no-cache-dir",
        "--disable-pip-version-check",
    ]
    run(environment / "bin" / "python", pip / "pip", *arguments, file)


def by_uv(environment: Path, file: Path) -> None:
    arguments = ["--no-config", "--offline", "--no-deps", "--no-cache", "--compile-bytecode"]
    run(uv.find_uv_bin(), "pip", "install", *arguments, "--python", environment / "bin" / "python", file)


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    return tmp_path / "venv"


@pytest.mark.parametrize("installer", [by_pip, by_uv])
@pytest.mark.parametrize("files", [PLAIN, SCRIPTS, EVERYTHING], ids=["plain", "scripts", "everything"])
def test_an_installation_has_the_digest_of_its_wheel(
    environment: Path, tmp_path: Path, installer: Installer, files: dict[str, bytes]
) -> None:
    file = tmp_path / "demo-1.0-py3-none-any.whl"
    file.write_bytes(zipped(wheel_members("demo", "1.0", files)))
    installer(environment, file)
    (info,) = environment.glob(f"lib/python3*/site-packages/{INFO}")
    rows = (info / "RECORD").read_text(encoding="utf-8")
    assert record.from_installed(rows, INFO) == wheel.prove(file, file.name).record


def test_a_row_that_stands_there_twice_counts_once() -> None:
    twice = [KEPT[0], *KEPT, LEFT_OUT[3], LEFT_OUT[3].replace(",1", ",2")]
    assert record.from_installed("".join(twice), INFO) == record.from_installed("".join(KEPT), INFO)


def listing(*rows: str) -> str:
    return "".join(rows)


def test_the_form_is_as_documented() -> None:
    text = listing(
        record_row("b.py", b"b"),
        record_row("a.py", b"a"),
        f"{INFO}/RECORD,,\n",
        "../../../bin/x,sha256=AA,1\n",
    )
    a, b = record_row("a.py", b"a").strip(), record_row("b.py", b"b").strip()
    assert record.from_installed(text, INFO) == "sha256:" + hashlib.sha256(f"{a}\n{b}".encode()).hexdigest()


KEPT = [
    record_row("a.py", b"a"),
    record_row(f"{INFO}/METADATA", b"m"),
    record_row("other-1.0.dist-info/INSTALLER", b""),
]
LEFT_OUT = [
    record_row("../../../bin/tool", b"s"),
    record_row("/usr/local/bin/tool", b"s"),
    record_row("a/../../b.py", b"s"),
    record_row("__pycache__/a.cpython-312.pyc", b"s"),
    "__pycache__/a.cpython-313.pyc,,\n",
    *(
        record_row(f"{INFO}/{name}", b"i")
        for name in ("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")
    ),
    f"{INFO}/RECORD,,\n",
    record_row("demo-1.0.data/scripts/tool", b"s"),
    record_row("demo-1.0.data/headers/tool.h", b"s"),
    record_row("demo-1.0.data/data/etc/tool", b"s"),
]


@given(st.permutations(KEPT), st.lists(st.sampled_from(LEFT_OUT), unique=True), st.randoms())
def test_order_and_what_an_installer_adds_do_not_matter(
    kept: list[str], extra: list[str], random: object
) -> None:
    rows = [*kept, *extra]
    random.shuffle(rows)  # type: ignore[attr-defined]
    assert record.from_installed("".join(rows), INFO) == record.from_installed("".join(KEPT), INFO)


@pytest.mark.parametrize(
    "changed",
    [
        [record_row("a.py", b"A"), *KEPT[1:]],
        KEPT[1:],
        [*KEPT, record_row("evil.pth", b"import evil")],
        [KEPT[0].replace("a.py", "A.py"), *KEPT[1:]],
        [KEPT[0].replace(",1\n", ",2\n"), *KEPT[1:]],
        [record_row("demo-1.0.data/purelib/a.pth", b""), *KEPT],
    ],
)
def test_any_change_of_what_is_kept_changes_the_digest(changed: list[str]) -> None:
    assert record.from_installed("".join(changed), INFO) != record.from_installed("".join(KEPT), INFO)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.py,sha256=AA,1\na.py,sha256=BB,1\n", "twice"),
        ("a.py,sha256=AA,1,extra\n", "malformed"),
        ("a.py,not a hash,1\n", "malformed"),
        ("a.py,sha256=AA,many\n", "malformed"),
        ('"a\nb.py",sha256=AA,1\n', "malformed"),
        (",sha256=AA,1\n", "malformed"),
        ("a.py,sha256=AA,-1\n", "malformed"),
        ("x" * 200_000 + ",,\n", "not CSV"),
    ],
)
def test_a_malformed_record_has_no_digest(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        record.from_installed(text, INFO)
