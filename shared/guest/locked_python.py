"""Installs the locked Python packages, environment by environment, every file by its hash.

pip (or the lock's own uv) does the work with `--require-hashes --no-deps`: it takes nothing that the lock does not
name and resolves nothing.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.guest import dpkg_inventory, process, python_tree
from shared.guest.failure import GuestError

SCRATCH = Path("/opt/dmz/scratch")
"""Helper and build environments, gone before the inventory."""
WHEELS = SCRATCH / "wheels"
"""Built here from locked source distributions."""

# Debian and Ubuntu keep ensurepip's wheels in one place (package python3-pip-whl), others within the module.
_PIP_WHEELS = (
    "l*/lib/python3*/ensurepip/_bundled/pip-*.whl",
    "lib/python3*/ensurepip/_bundled/pip-*.whl",
    "share/python-wheels/pip-*.whl",
)
_SYSTEM_PIP = Path("/usr/lib/python3/dist-packages/pip")

Locked = Mapping[str, Any]
Entry = Mapping[str, Any]


class Installer:
    """Installs into environments; `environment` and `on_line` go to every command."""

    def __init__(self, environment: Mapping[str, str], on_line: Callable[[str], None]) -> None:
        # Configuration files of the image might name another index; constraints are the script's business.
        self._environment = dict(environment) | {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INPUT": "1"}
        self._environment |= {
            "PIP_NO_CACHE_DIR": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            "PIP_PROGRESS_BAR": "off",
        }
        self._environment.pop("PIP_CONSTRAINT", None)
        self._on_line = on_line
        self._pip: Path | None = None
        self._uv: Path | None = None

    def use_uv(self, environments: Iterable[Locked]) -> None:
        """Install with uv where the lock itself brings one: it does in seconds what takes pip minutes."""
        for each in (one for environment in environments for one in environment["packages"]):
            if each["name"] == "uv" and not is_source(each):
                home = SCRATCH / "uv"
                pip = ["/usr/bin/python3", "-I", str(self._helper())]
                self._install(pip, [requirement(each)], ["--target", str(home)], SCRATCH / "uv.txt")
                self._uv = home / "bin/uv"
                return

    def install(self, locked: Locked, present: Sequence[Entry]) -> int:
        """Bring the environment `locked` to its lock; how many packages that took.

        `present` are the packages that it holds already (an environment of the base image).
        """
        missing = differing(locked["packages"], present)
        prefix = Path(locked["path"])
        if locked["virtual"] and not (prefix / "pyvenv.cfg").exists():
            self._create(prefix, locked["python"])
        if not missing:
            return 0
        lines = [
            self._build(each, locked["python"]) if is_source(each) else requirement(each) for each in missing
        ]
        links = ["--find-links", str(WHEELS)] if WHEELS.is_dir() else []
        at = SCRATCH / "requirements.txt"
        if locked["virtual"] and self._uv is not None:
            again = ["--reinstall"] if present else []
            self._uv_install(self._uv, prefix / "bin/python", lines, [*again, *links], at)
            return len(missing)
        if locked["virtual"]:
            interpreter, more = (
                prefix / "bin/python",
                ["--force-reinstall" if present else "--ignore-installed"],
            )
        else:
            interpreter, more = site_target(prefix, locked["python"])
        own_pip = any(each["name"].lower() == "pip" for each in present)
        pip = [str(interpreter), "-I", *(["-m", "pip"] if own_pip else [str(self._helper())])]
        self._install(pip, lines, [*more, *links], at)
        return len(missing)

    def clean(self) -> None:
        shutil.rmtree(SCRATCH, ignore_errors=True)

    def _create(self, prefix: Path, version: str) -> None:
        """An empty virtual environment: what it holds comes from the lock alone, its pip too."""
        interpreter = find_interpreter(version)
        process.check(
            [interpreter, "-m", "venv", "--without-pip", str(prefix)], self._environment, self._on_line
        )

    def _helper(self) -> Path:
        """A pip that any interpreter can run, for environments without one of their own.

        It is the one that the base image gives to new environments (ensurepip's wheel), else the system's.
        """
        if self._pip is None:
            # The last one is taken: an older image's pip may not run on the workload's own interpreter.
            folders = (Path("/usr"), python_tree.ROOT)
            wheels = [path for at in folders for glob in _PIP_WHEELS for path in sorted(at.glob(glob))]
            if wheels:
                self._pip = SCRATCH / "pip" / "pip"
                with zipfile.ZipFile(wheels[-1]) as wheel:
                    wheel.extractall(self._pip.parent)
            elif (_SYSTEM_PIP / "__main__.py").exists():
                self._pip = _SYSTEM_PIP
            else:
                raise GuestError(
                    "This machine has no pip to install with: add python3-venv to the workload's apt."
                )
        return self._pip

    def _build(self, locked: Locked, version: str) -> str:
        """Build a source distribution with exactly the locked build requirements; the requirement of its wheel."""
        title = f"{locked['name']} {locked['version']}"
        home = SCRATCH / "build" / f"{locked['name']}-{locked['version']}"
        self._create(home, version)
        python = str(home / "bin/python")
        pip = [python, "-I", str(self._helper())]
        needs = [requirement(each) for each in locked["build"]]
        if any(is_source(each) for each in locked["build"]):
            raise GuestError(
                f"{title} needs a source distribution to be built; only wheels can build others."
            )
        if needs:
            self._install(pip, needs, ["--ignore-installed"], home / "requirements.txt")
        source = home / "source.txt"
        source.write_text(requirement(locked) + "\n", encoding="utf-8")
        argv = [
            *pip,
            "wheel",
            "--no-deps",
            "--no-build-isolation",
            "--require-hashes",
            "--no-binary",
            ":all:",
        ]
        path = f"{home / 'bin'}:{self._environment['PATH']}"
        out = home / "wheel"
        process.check(
            [*argv, "--wheel-dir", str(out), "-r", str(source)],
            self._environment | {"PATH": path, "VIRTUAL_ENV": str(home)},
            self._on_line,
        )
        built = sorted(out.glob("*.whl"))
        if len(built) != 1:
            raise GuestError(f"The build of {title} gave {len(built)} wheels instead of one.")
        digest = dpkg_inventory.file_hash(built[0])
        WHEELS.mkdir(parents=True, exist_ok=True)
        built[0].replace(WHEELS / built[0].name)
        return requirement({**locked, "sha256": digest})

    def _install(self, pip: Sequence[str], lines: Iterable[str], options: Sequence[str], at: Path) -> None:
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        argv = [*pip, "install", "--no-deps", "--require-hashes", "--no-compile", *options, "-r", str(at)]
        process.check(argv, self._environment, self._on_line)

    def _uv_install(
        self, uv: Path, interpreter: Path, lines: Iterable[str], options: Sequence[str], at: Path
    ) -> None:
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        argv = [str(uv), "pip", "install", "--python", str(interpreter), "--no-deps", "--require-hashes"]
        environment = self._environment | {"UV_NO_CONFIG": "1", "UV_CACHE_DIR": str(SCRATCH / "uv-cache")}
        process.check(
            [*argv, "--no-progress", "--no-build", *options, "-r", str(at)], environment, self._on_line
        )


def differing(locked: Sequence[Locked], present: Sequence[Entry]) -> list[Locked]:
    """What of the lock the environment does not hold yet in that version and with those bytes."""
    have = {
        (each["name"].lower().replace("_", "-").replace(".", "-"), each["version"]): each for each in present
    }

    def is_there(each: Locked) -> bool:
        entry = have.get((each["name"], each["version"]))
        return entry is not None and (each["record"] is None or entry["record"] == each["record"])

    return [each for each in locked if not is_there(each)]


def requirement(locked: Locked) -> str:
    return f"{locked['name']}=={locked['version']} --hash={locked['sha256']}"


def is_source(locked: Locked) -> bool:
    return not str(locked["filename"]).endswith(".whl")


def pins(environments: Iterable[Locked]) -> list[str]:
    """Constraints that hold the lock; a package in two versions (two environments) cannot be told by one file."""
    versions: dict[str, set[str]] = {}
    for environment in environments:
        for each in environment["packages"]:
            versions.setdefault(each["name"], set()).add(each["version"])
    return [f"{name}=={next(iter(found))}" for name, found in sorted(versions.items()) if len(found) == 1]


def overrides(declared: Sequence[str], locked: Sequence[str]) -> list[str]:
    """uv's overrides in an inner VM: the lock's pins, and of the workload's own what the lock does not pin."""
    pinned = {each.partition("==")[0] for each in locked}
    return [each for each in declared if _name_of(each) not in pinned] + list(locked)


def find_interpreter(version: str) -> str:
    """A Python of that minor version: wheels are made for one."""
    minor = re.match(r"3\.[0-9]+", version)
    folders, own = ["/usr/bin", "/usr/local/bin"], str(python_tree.ROOT / "bin")
    folders.insert(0 if python_tree.version() == version else len(folders), own)
    for name in (f"python{minor.group()}",) if minor else ():
        for folder in folders:
            if Path(folder, name).exists():
                return f"{folder}/{name}"
    raise GuestError(
        f"An environment needs Python {version}, which this machine does not have: add it to apt, or declare an "
        "interpreter."
    )


def site_target(site: Path, version: str) -> tuple[Path, list[str]]:
    """(interpreter, pip's options) to install into a site directory that is no virtual environment."""
    prefix = site.parent.parent.parent
    own = prefix / "bin" / site.parent.name
    options = ["--force-reinstall", "--break-system-packages"]
    if prefix not in (Path("/usr"), Path("/usr/local")) and own.exists():
        return own, options
    interpreter = Path(find_interpreter(version))
    if prefix == Path("/root/.local"):
        return interpreter, [*options, "--user"]
    return interpreter, options if prefix == Path("/usr/local") else [
        *options,
        "--target",
        str(site),
        "--upgrade",
    ]


def _name_of(line: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", line)
    return re.sub(r"[-_.]+", "-", match.group()).lower() if match else ""
