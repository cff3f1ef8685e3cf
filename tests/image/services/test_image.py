"""The image of the services has all that the stages need, and runs them: as nobody, from a root that is read-only."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from functions import serve
from functions.ctl import smoke
from shared.image import sources
from shared.image import spec as specs
from shared.image.make import Made
from shared.image.oci import read_layout
from shared.image.run import described, sandboxed
from tests.image.services.conftest import CHECKOUT
from tests.upstream.attested import GITHUB

pytestmark = pytest.mark.network
MAIN = "services/services.runfiles/_main"
PYTHON = "/services/services.runfiles/python_x86_64-unknown-linux-gnu/bin/python3"
INNER = (
    "import sys; sys.argv = sys.argv[1:]; exec(open('/services/services').read().partition('runpy.run')[0]); "
)


def inside(image: Made, root: Path, program: str, **env: str) -> str:
    """What a Python program prints, run in the image as the services are."""
    process = described(read_layout(image.layout).config, env, ())
    command = sandboxed(root, process)
    at = command.index("--")
    words = [*command[: at + 1], PYTHON, "-IB", "-c", INNER + program]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_stage_starts_and_answers(image: Made) -> None:
    said: list[str] = []
    assert smoke.smoke(image.layout, said.append) == 0
    assert [line.partition(":")[0] for line in said] == [
        *("attestation", "console", "inner", "outer", "scanner", "sync")
    ]


def test_what_does_not_start_is_named(image: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke, "stages", lambda: ("cellar",))
    with pytest.raises(smoke.Permanent, match=r"The stage cellar does not start: .*FUNCTION_SOURCE is"):
        smoke.smoke(image.layout)


def test_it_is_nobody_and_can_write_to_tmp_alone(image: Made, root: Path) -> None:
    program = """
import json, os, pathlib
def writable(path):
    try:
        pathlib.Path(path, "x").write_text("x")
    except OSError:
        return False
    return True
places = ["/", "/etc", "/services", "/usr/lib", "/var/lib", "/tmp"]
print(json.dumps([os.getuid(), os.getgid(), [p for p in places if writable(p)], os.environ["HOME"]]))
"""
    assert json.loads(inside(image, root, program)) == [65532, 65532, ["/tmp"], "/tmp"]


def test_what_stages_call_is_there(image: Made, root: Path) -> None:
    """dpkg-deb reads a package, gpgv knows its keyrings, uv finds its own binary and this Python, TLS its roots."""
    program = """
import json, ssl, subprocess, sys
from pathlib import Path
from shared.upstream import apt, openpgp, proof
from shared.upstream import resolver
said = subprocess.run([resolver._program(), "python", "find", "--no-python-downloads", sys.executable],
                      capture_output=True, text=True)
try:
    proof.control(Path("/etc/passwd"), "x.deb")
except Exception as error:
    refused = str(error)
try:
    openpgp._verify([b"no signed text"], next(apt.KEYRINGS.glob("*.gpg")), "The text")
except Exception as error:
    unsigned = str(error)
print(json.dumps([said.stdout.strip() == sys.executable or said.stderr, refused, unsigned,
                  len(ssl.create_default_context().get_ca_certs()) > 100]))
"""
    found, refused, unsigned, certificates = json.loads(inside(image, root, program))
    assert found is True
    assert refused.startswith("x.deb is not a Debian archive (dpkg-deb: ")
    assert unsigned == "The text has no valid signature of a key that this project trusts; it is not used."
    assert certificates


def test_attestations_are_proved_there(image: Made, root: Path) -> None:
    """With what the image has: libraries, Sigstore's trusted root; nothing is fetched or written."""
    given = (GITHUB.served, GITHUB.filename, GITHUB.sha256)
    program = f"from shared.upstream.publishers import prove; print(*prove(*{given!r}))"
    assert inside(image, root, program) == f"{GITHUB.publisher}\n"


def test_the_data_of_the_stages_is_there(image: Made, root: Path) -> None:
    program = """
import json
from shared import judgement, trust
from shared.settings import read
settings = read({"GOOGLE_CLOUD_PROJECT": "dmz-test"})
print(json.dumps([judgement.policy(settings)().name, repr(trust.keys(settings))]))
"""
    name, _ = json.loads(inside(image, root, program))
    assert name == "default"


def test_byte_code_is_used_for_all_that_is_imported(image: Made, root: Path) -> None:
    """Interpreter, packages and the stages themselves; the sources' own time plays no part."""
    program = """
import json, sys
import functions.sync.main
from importlib.machinery import SourceFileLoader
from pathlib import Path
specs = [m.__spec__ for m in sys.modules.values() if isinstance(getattr(m, "__loader__", None), SourceFileLoader)]
print(json.dumps([[s.name for s in specs if not (s.cached and Path(s.cached).exists())], len(specs)]))
"""
    without, count = json.loads(inside(image, root, program))
    assert without == []
    assert count > 500


def included() -> Iterator[tuple[str, Path]]:
    path = specs.find(specs.SERVICES)
    for each in sources.of(specs.read(path), CHECKOUT):
        yield each.place, each.path


def test_every_stage_of_the_project_is_in_it(root: Path) -> None:
    assert {path.parent.name for path in (root / MAIN / "functions").glob("*/main.py")} == set(serve.stages())
    assert not list((root / MAIN).glob("functions/ctl")) + list((root / MAIN).glob("shared/emulators"))


def test_nothing_that_it_imports_is_left_out() -> None:
    """Every import of every module, those inside functions too."""
    places = {place for place, _ in included()}
    missing = []
    for place, path in included():
        if not place.endswith(".py"):
            continue
        for name in imported(ast.parse(path.read_text(encoding="utf-8")), place):
            if name.split(".")[0] not in ("functions", "shared"):
                continue
            base = name.replace(".", "/")
            parent = base.rpartition("/")[0]
            here = {f"{base}.py", f"{base}/__init__.py", f"{parent}.py", f"{parent}/__init__.py"}
            if not here & places and not any(each.startswith(f"{base}/") for each in places):
                missing.append(f"{place}: {name}")
    assert missing == []


def imported(tree: ast.Module, place: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{each.name}" for each in node.names)


def test_packages_are_those_of_requirements(image: Made) -> None:
    """The very files that pip would take with --require-hashes, no more and no fewer."""
    text = (CHECKOUT / "requirements.txt").read_text().replace("\\\n", " ")
    wanted = {}
    for line in filter(None, text.splitlines()):
        requirement = Requirement(line.partition(" --hash")[0])
        if requirement.marker is None or requirement.marker.evaluate():
            name = canonicalize_name(requirement.name)
            wanted[name] = (str(requirement.specifier)[2:], set(re.findall(r"sha256:[0-9a-f]{64}", line)))
    locked = {each.name: each for each in image.lock.inputs if each.role == "wheel"}
    assert {name: each.version for name, each in locked.items()} == {
        name: version for name, (version, _) in wanted.items()
    }
    assert all(each.sha256 in wanted[name][1] for name, each in locked.items())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "FUNCTION_SOURCE is '' and must be functions/STAGE/main.py, with one of attestation, console"),
        ({"FUNCTION_SOURCE": "functions/../shared/main.py"}, "FUNCTION_SOURCE is"),
        ({"FUNCTION_SOURCE": "/tmp/functions/outer/main.py"}, "FUNCTION_SOURCE is"),
        (
            {"FUNCTION_SOURCE": "functions/outer/main.py", "FUNCTION_TARGET": "wire"},
            "FUNCTION_TARGET is 'wire'",
        ),
        ({"FUNCTION_SOURCE": "functions/outer/main.py", "PORT": "080"}, "PORT is '080'"),
        ({"FUNCTION_SOURCE": "functions/outer/main.py", "PORT": "70000"}, "PORT is '70000'"),
        ({"FUNCTION_SOURCE": "functions/outer/main.py"}, "GOOGLE_CLOUD_PROJECT is not set"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(given: dict[str, str], words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "functions.serve"],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), **given},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    said = json.loads(done.stderr)
    assert done.returncode == 1
    assert said["severity"] == "CRITICAL"
    assert words in said["message"]


def test_the_module_that_serves_is_the_stages_own() -> None:
    found = serve.service({"FUNCTION_SOURCE": "functions/sync/main.py", "GOOGLE_CLOUD_PROJECT": "dmz-test"})
    assert (found.stage, found.port) == ("sync", 8080)
    assert isinstance(sys.modules["functions.serve"], ModuleType)
    assert found.source == CHECKOUT / "functions" / "sync" / "main.py"
