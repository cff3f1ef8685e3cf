"""Where Python packages may lie, one spelling for a path, and which URLs a workload's author wrote."""

from __future__ import annotations

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from shared.errors import Permanent
from shared.model.lock import LockedEnvironment
from shared.model.package import AbsolutePath, check_place
from shared.model.workload import BUILT_IN, Interpreter, Workload, built_in, find

SCRIPT = """
python3 -m venv /opt/w   # see https://comment.test/page
dmz-fetch https://a.test/data.tar.gz /opt/w/data
dmz-fetch "https://b.test/x?y=1&z=(2);3" /opt/w/x
for url in 'https://c.test/1' 'https://c.test/2'; do dmz-fetch $url "/opt/w/${url##*/}"; done
dmz-fetch https://d.test/$VERSION/file /opt/w/file
"""


def workload(**more: object) -> Workload:
    fields: dict[str, object] = {
        "name": "small",
        "runtime_version": "v2",
        "accelerator_type": "v5",
        "install": SCRIPT,
        "smoke": "true",
    }
    return Workload.check(fields | more, "The workload")


@pytest.mark.parametrize(
    "url",
    [
        "https://a.test/data.tar.gz",
        "https://b.test/x?y=1&z=(2);3",
        "https://c.test/1",
        "https://c.test/2",
        "https://e.test/3/file",
    ],
)
def test_what_the_author_wrote(url: str) -> None:
    assert url in workload(files=["https://e.test/3/file"]).urls


@pytest.mark.parametrize(
    "url",
    [
        "https://a.test/data.tar",
        "https://a.test/",
        "https://a.test/data.tar.gz?",
        "https://b.test/x",
        "https://b.test/x?y=1",
        "https://d.test/1.0/file",
        "https://e.test/3/file",
        "http://a.test/data.tar.gz",
        "",
    ],
)
def test_what_the_author_did_not_write(url: str) -> None:
    assert url not in workload().urls


@pytest.mark.parametrize(
    "url", ["http://a.test/x", "file:///etc/passwd", "https://a.test", "https://a.test/ä"]
)
def test_a_file_is_an_https_url(url: str) -> None:
    with pytest.raises(Permanent, match=r"files\.0"):
        workload(files=[url])


def test_the_interpreter_is_what_its_author_wrote() -> None:
    url = "https://python.test/3.12/cpython-3.12.11%2B1.tar.gz"
    declared = {"version": "3.12", "url": url, "sha256": f"sha256:{'0' * 64}"}
    assert url in workload(interpreter=declared).urls
    assert workload(interpreter=declared).urls - {url} == workload().urls


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": "3.12.1"},
        {"version": "2.7"},
        {"url": "http://python.test/x"},
        {"sha256": "0" * 64},
        {"sha512": "x"},
        {"version": None},
    ],
)
def test_an_interpreter_is_declared_in_full(wrong: dict[str, object]) -> None:
    declared = {"version": "3.12", "url": "https://python.test/x", "sha256": f"sha256:{'0' * 64}"} | wrong
    with pytest.raises(Permanent, match="interpreter"):
        workload(interpreter=declared)


def test_the_documented_interpreter_is_one() -> None:
    """The block in the docs, and the same one in MaxText's file behind hashes."""
    documented = (BUILT_IN.parents[2] / "docs/interpreters.md").read_text()
    block = documented.split("```yaml\n")[1].split("```")[0]
    assert "".join(f"# {line}\n" for line in block.splitlines()) in (BUILT_IN / "maxtext.yaml").read_text()
    declared = yaml.safe_load(block)["interpreter"]
    found = find("maxtext").model_copy(update={"interpreter": Interpreter.model_validate(declared)})
    assert declared["url"] in found.urls


@pytest.mark.parametrize("name", built_in())
def test_the_built_in_workloads_name_what_they_fetch(name: str) -> None:
    each = find(name)
    lines = [line.split() for line in each.install.splitlines() if line.startswith("dmz-fetch ")]
    assert {words[1] for words in lines} <= each.urls


@pytest.mark.parametrize("path", ["/", "/opt/w", "/opt/w-1/lib64/x@y+z", "/home/me/.venv", "/opt/..w"])
def test_a_path_in_its_shortest_form(path: str) -> None:
    assert TypeAdapter(AbsolutePath).validate_python(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "//",
        "//opt/w",
        "/opt//w",
        "/opt/w/",
        "/opt/./w",
        "/./opt",
        "/opt/../w",
        "/..",
        "opt/w",
        "/opt/w\n",
    ],
)
def test_a_path_in_another_form(path: str) -> None:
    with pytest.raises(ValidationError, match="in its shortest form"):
        TypeAdapter(AbsolutePath).validate_python(path)


PLACES = [
    ("/opt/w", True),
    ("/opt/dmz-tools", True),
    ("/etcetera", True),
    ("/venv", True),
    ("/home/me/.venv", True),
    ("/root/venv", True),
    ("/tmp/venv", True),
    ("/usr/local/venvs/w", True),
    ("/usr/lib/python3/dist-packages", False),
    ("/usr/local/lib/python3.13/dist-packages", False),
    ("/root/.local/lib/python3.10/site-packages", False),
    ("/snap/google-cloud-cli/1/lib/third_party/site-packages", False),
    ("/opt/dmz/python/lib/python3.12/site-packages", False),
]


@pytest.mark.parametrize(("path", "virtual"), PLACES)
def test_a_place_for_python_packages(path: str, virtual: bool) -> None:
    check_place(path, virtual)


@pytest.mark.parametrize("virtual", [True, False])
@pytest.mark.parametrize("below", ["", "/x", "/x/site-packages"])
@pytest.mark.parametrize("top", ["/boot", "/dev", "/etc", "/opt/dmz", "/proc", "/run", "/sys"])
def test_no_place_for_python_packages(top: str, below: str, virtual: bool) -> None:
    with pytest.raises(ValueError, match="no Python environment is kept in"):
        check_place(top + below, virtual)


@pytest.mark.parametrize(
    ("path", "virtual"),
    [
        ("/opt/dmz/python", True),
        ("/opt/dmz/python/lib", True),
        ("/opt/dmz/python/site-packages", True),
        ("/opt/dmz/python2/lib/site-packages", False),
        ("/opt/dmz/lib/python3.12/site-packages", False),
    ],
)
def test_the_guests_own_place_but_for_the_interpreters_packages(path: str, virtual: bool) -> None:
    with pytest.raises(ValueError, match="no Python environment is kept in"):
        check_place(path, virtual)


@pytest.mark.parametrize("path", ["/", "/usr", "/usr/lib", "/usr/local/bin", "/home", "/tmp", "/var/lib"])
def test_a_lock_cannot_hold_what_a_claim_cannot(path: str) -> None:
    with pytest.raises(ValidationError, match="a directory of its own"):
        LockedEnvironment(path=path, python="3.13.5", virtual=True, packages=())
    with pytest.raises(ValidationError, match="is named site-packages"):
        LockedEnvironment(path=path, python="3.13.5", virtual=False, packages=())
