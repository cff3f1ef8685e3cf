"""Which rooms there are, what may stand in each, and what may pass between them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.architecture import rules
from tests.architecture.source import ROOT, STAGES, modules

GUEST = [path for path in modules("shared/guest") if path.name != "bundle.py"]
"""bundle.py packs the others into a VM's metadata, on the stage's side."""
DECIDE = [path for stage in STAGES if (path := ROOT / "functions" / stage / "decide.py").exists()]


def broken(rule: Callable[[Path], list[str]], paths: list[Path]) -> list[str]:
    return [place for path in paths for place in rule(path)]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([program, "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=120)


def test_import_contracts_hold() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


FORBIDDEN = [
    ("shared/model/value.py", "import shared.events"),
    ("shared/events.py", "import shared.ports"),
    ("shared/ports/store.py", "import shared.gcp.firestore"),
    ("shared/delivery.py", "import shared.gcp.pubsub"),
    ("shared/memory/store.py", "import shared.gcp.firestore"),
    ("shared/policy/__init__.py", "import shared.ports"),
    ("shared/settings.py", "import functions.outer"),
    ("functions/scanner/decide.py", "import functions.sync.decide"),
    ("functions/ctl/__init__.py", "import functions.outer.stage"),
    ("shared/upstream/__init__.py", "import google"),
    ("shared/guest/record.py", "import shared.model.value"),
]


def _all_but_python(_folder: str, names: list[str]) -> set[str]:
    return {name for name in names if "." in name and not name.endswith(".py")}


def test_import_contracts_notice(tmp_path: Path) -> None:
    """Forbidden imports, planted in a copy, are all named; so is a module that nobody gave a place."""
    for folder in ("shared", "functions"):
        shutil.copytree(
            ROOT / folder,
            tmp_path / folder,
            ignore=lambda _, names: {n for n in names if "." in n[1:] and not n.endswith(".py")},
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "shared/nobody_placed_me.py").touch()
    for file, line in FORBIDDEN:
        with (tmp_path / file).open("a") as planted:
            planted.write(f"\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    assert "nobody_placed_me" in done.stdout
    for file, line in FORBIDDEN:
        importer = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        assert f"{importer} -> {line.removeprefix('import ')} " in done.stdout, done.stdout


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_its_three_files_and_nothing_else(stage: str) -> None:
    folder = ROOT / "functions" / stage
    if not folder.exists():
        return
    found = {path.name for path in folder.iterdir()} - {"__pycache__"}
    assert found == {"__init__.py", "main.py", "stage.py", "decide.py"}


def test_a_main_only_wires() -> None:
    long = {stage: (ROOT / "functions" / stage / "main.py") for stage in STAGES}
    lines = {stage: len(path.read_text().splitlines()) for stage, path in long.items() if path.exists()}
    assert max(lines.values()) <= 100, lines


def test_google_is_imported_in_two_places_only() -> None:
    homes = (ROOT / "shared/gcp", ROOT / "shared/emulators")
    elsewhere = [path for path in modules("shared", "functions") if not path.is_relative_to(homes[0])]
    assert (
        broken(rules.google_imports, [path for path in elsewhere if not path.is_relative_to(homes[1])]) == []
    )


def test_the_product_does_not_import_its_tests() -> None:
    assert broken(rules.imports_of_tests, modules("shared", "functions")) == []


def test_decisions_are_pure() -> None:
    assert broken(rules.impurities, DECIDE) == []


def test_guest_scripts_need_a_bare_python_only() -> None:
    assert broken(rules.foreign_imports, GUEST) == []


def test_guest_scripts_do_not_know_where_they_run() -> None:
    assert broken(rules.platform_words, GUEST) == []


PLANTED = [
    (rules.google_imports, "def f():\n    from google.cloud import firestore\n"),
    (rules.google_imports, "import importlib\nimportlib.import_module('google.cloud.pubsub')\n"),
    (rules.google_imports, "import google\n"),
    (rules.imports_of_tests, "from tests.support import samples\n"),
    (rules.imports_of_tests, "import pytest\n"),
    (rules.impurities, "import time\n"),
    (rules.impurities, "import os\n"),
    (rules.impurities, "from pathlib import Path\n"),
    (rules.impurities, "import httpx\n"),
    (rules.impurities, "import logging\n"),
    (rules.impurities, "from shared.gcp.firestore import FirestoreStore\n"),
    (rules.impurities, "from datetime import datetime\nx = datetime.now()\n"),
    (rules.impurities, "import datetime\nx = datetime.datetime.utcnow()\n"),
    (rules.impurities, "x = open('/etc/passwd')\n"),
    (rules.impurities, "print('decided')\n"),
    (rules.foreign_imports, "import httpx\n"),
    (rules.foreign_imports, "from shared.errors import Permanent\n"),
    (rules.platform_words, "is_local = True\n"),
    (rules.platform_words, "if config.emulator:\n    pass\n"),
    (rules.platform_words, "HOST = 'localhost:8085'\n"),
    (rules.platform_words, "HOST = '127.0.0.1'\n"),
    (rules.platform_words, "import os\nos.environ.get('PUBSUB_EMULATOR_HOST')\n"),
]


@pytest.mark.parametrize(("rule", "source"), PLANTED, ids=lambda value: getattr(value, "__name__", None))
def test_each_rule_notices(
    rule: Callable[[Path], list[str]], source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.architecture.source.ROOT", tmp_path)
    planted = tmp_path / "planted.py"
    planted.write_text(source)
    assert len(rule(planted)) >= 1


def test_the_rules_let_ordinary_code_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.architecture.source.ROOT", tmp_path)
    planted = tmp_path / "planted.py"
    planted.write_text('"""Runs locally too."""\nimport re\n\nPATH = "/usr/local/bin"\nnow = 3\nevent.now\n')
    for rule in (
        rules.google_imports,
        rules.imports_of_tests,
        rules.impurities,
        rules.foreign_imports,
        rules.platform_words,
    ):
        assert rule(planted) == []
