"""What of a source directory goes into an image, and wheels that a requirements file pins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.errors import Permanent
from shared.image import lock, sources
from shared.image import spec as specs
from shared.model.image import ImageSpec
from tests.image.inputs.conftest import World, of
from tests.image.inputs.test_lock import python, stocked  # noqa: F401 - a fixture
from tests.upstream.package_index import PackageIndex


def chosen(folder: Path, **lists: tuple[str, ...]) -> list[str]:
    spec = python().model_copy(update=lists)
    return [each.place for each in sources.of(spec, folder)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "a/one.py",
        "a/b/two.py",
        "ab/three.py",
        "c/four.py",
        "five.py",
        "a/.hidden",
        "a/__pycache__/x",
    ):
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "src"


def test_all_without_a_choice(tree: Path) -> None:
    assert chosen(tree) == ["a/b/two.py", "a/one.py", "ab/three.py", "c/four.py", "five.py"]


def test_parts_are_chosen_by_whole_names(tree: Path) -> None:
    assert chosen(tree, include=("a", "five.py")) == ["a/b/two.py", "a/one.py", "five.py"]
    assert chosen(tree, include=("a/b",)) == ["a/b/two.py"]
    assert chosen(tree, include=("a", "c"), leave_out=("a/b",)) == ["a/one.py", "c/four.py"]
    assert chosen(tree, leave_out=("a", "ab/three.py")) == ["c/four.py", "five.py"]


def test_what_is_not_chosen_is_not_looked_into(tree: Path) -> None:
    """A checkout has links beside its sources, to environments and caches."""
    (tree / "venv").symlink_to(tree)
    (tree / "c" / "link").symlink_to(tree)
    assert chosen(tree, include=("a",)) == ["a/b/two.py", "a/one.py"]
    with pytest.raises(Permanent, match="is a link or a device"):
        chosen(tree, include=("c",))


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ({"include": ("a", "z")}, "There is no z among the sources"),
        ({"include": ("a/.hidden",)}, "There are 0 source files"),
        ({"include": ("a",), "leave_out": ("c",)}, "There is no c among the sources"),
        ({"include": ("a",), "leave_out": ("a/b", "a/one.py")}, "leaves out every source"),
    ],
)
def test_a_slip_of_the_pen_is_no_smaller_image(
    tree: Path, lists: dict[str, tuple[str, ...]], words: str
) -> None:
    with pytest.raises(Permanent, match=words):
        chosen(tree, **lists)


def pinning(text: str, folder: Path) -> ImageSpec:
    (folder / "pins.txt").write_text(text)
    document: dict[str, Any] = python().model_dump(mode="json")
    document["python"] |= {"pinned": "pins.txt", "requirements": []}
    return ImageSpec.check(document, "The spec")


def pins(index: PackageIndex, *names: str, **more: str) -> str:
    """Lines as uv writes them, with one hash more that no file has."""
    lines = []
    for name in names:
        digest = next(each.sha256 for each in index_files(index, name))
        lines.append(
            f"{name}==1.0{more.get(name, '')} \\\n    --hash=sha256:{'0' * 64} \\\n    --hash={digest}\n"
        )
    return "# made by hand\n" + "".join(lines)


def index_files(index: PackageIndex, name: str) -> list[Any]:
    from shared.upstream import http
    from shared.upstream.pypi import PythonIndexClient

    return [*PythonIndexClient(index.url, http.client()).files(name)]


def test_the_pinned_files_and_no_others(stocked: World, index: PackageIndex, tmp_path: Path) -> None:  # noqa: F811
    for name in ("app", "other", "windows"):
        index.wheel(name, "1.0")
    index.wheel("app", "2.0")
    text = pins(index, "app", "other", "windows", windows=" ; sys_platform == 'win32'")
    spec = pinning(text, tmp_path)
    made = lock.resolve(spec, stocked.sources(), directory=tmp_path)
    assert {name: each.version for name, each in of(made.inputs, "wheel").items()} == {
        "app": "1.0",
        "other": "1.0",
    }
    path = tmp_path / "mine.yaml"
    specs.write_lock(made, path)
    assert specs.read_lock(spec, path) == made
    (tmp_path / "pins.txt").write_text(text + "# a comment more\n")
    with pytest.raises(Permanent, match=r"was resolved from another spec; run `./dmz image lock"):
        specs.read_lock(spec, path)
    (tmp_path / "pins.txt").unlink()
    with pytest.raises(Permanent, match=r"correct python.pinned"):
        specs.read_lock(spec, path)


def test_a_file_that_the_index_has_replaced(stocked: World, index: PackageIndex, tmp_path: Path) -> None:  # noqa: F811
    index.wheel("app", "1.0")
    spec = pinning(f"app==1.0 --hash=sha256:{'0' * 64}\n", tmp_path)
    with pytest.raises(Permanent, match=r"app 1.0 has no wheel"):
        lock.resolve(spec, stocked.sources(), directory=tmp_path)


@pytest.mark.parametrize(
    "line",
    ["app==1.0", "app>=1.0 --hash=sha256:" + "0" * 64, "app==1.* --hash=sha256:" + "0" * 64, "-r other.txt",
     "app @ https://x.org/app.whl --hash=sha256:" + "0" * 64, "app==1.0 --hash=md5:00", "app==1.0 --hash=sha256:00"],
)  # fmt: skip
def test_a_line_that_pins_nothing(stocked: World, tmp_path: Path, line: str) -> None:  # noqa: F811
    with pytest.raises(Permanent, match=r"pins.txt has the line '"):
        lock.resolve(pinning(f"{line}\n", tmp_path), stocked.sources(), directory=tmp_path)


def test_one_origin_of_packages() -> None:
    document: dict[str, Any] = python("app").model_dump(mode="json")
    document["python"] |= {"pinned": "pins.txt"}
    with pytest.raises(Permanent, match="give requirements or a file of pinned ones, not both"):
        ImageSpec.check(document, "The spec")


def test_older_locks_stay_good(tmp_path: Path) -> None:
    """The digest of the committed samples' specs is what it was before `pinned` existed."""
    path = specs.find("quickstart_data")
    specs.read_lock(specs.read(path), path)
