"""Against the real hosts: PyPI, Debian's and Ubuntu's archives. `pytest -m 'not network'` leaves it out."""

from __future__ import annotations

import email
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging import tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from shared.guest import record
from shared.model.lock import LockedArchive, LockedPython
from shared.model.manifest import PythonPackage
from shared.model.package import Release
from shared.upstream import depends, wheel
from shared.upstream.apt import AptIndexClient
from shared.upstream.download import Downloader
from shared.upstream.packages_file import Archives
from shared.upstream.proof import Prover
from shared.upstream.pypi import PythonIndexClient, select
from shared.upstream.resolver import UvResolver
from tests.upstream.test_record import by_pip, by_uv, environment

pytestmark = pytest.mark.network
__all__ = ["environment"]

WHEELS = {
    "numpy": "2.3.0",  # binary, with scripts
    "jinja2": "3.1.6",  # pure
    "greenlet": "3.2.3",  # headers in .data/headers
    "widgetsnbextension": "4.0.14",  # .data/data
    "ruff": "0.12.0",  # a program in .data/scripts
    "setuptools": "80.9.0",  # much of everything
}


def compatible(filename: str) -> bool:
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in range(5, 36)] + [
        "manylinux2014_x86_64",
        "linux_x86_64",
    ]
    accepted = {
        *tags.cpython_tags(sys.version_info[:2], platforms=platforms),
        *tags.compatible_tags(sys.version_info[:2], platforms=platforms),
    }
    return not accepted.isdisjoint(parse_wheel_filename(filename)[3])


def claims(environment: Path) -> Iterable[PythonPackage]:
    """What the environment says it has, as the guest tells it."""
    for info in sorted(environment.glob("lib/python3*/site-packages/*.dist-info")):
        metadata = email.message_from_string((info / "METADATA").read_text())
        built = email.message_from_string((info / "WHEEL").read_text())
        yield PythonPackage(
            name=canonicalize_name(metadata["Name"]),
            version=metadata["Version"],
            tags=tuple(built.get_all("Tag", [])),
            build=built.get("Build", ""),
            record=record.from_installed((info / "RECORD").read_text(), info.name),
            requested=True,
            in_base=False,
        )


def test_real_wheels_installed_by_pip_and_uv_are_found_and_proved(environment: Path, tmp_path: Path) -> None:
    index, downloads = PythonIndexClient(), Downloader()
    index.prefetch(WHEELS)
    for number, (name, version) in enumerate(WHEELS.items()):
        file, *_ = [
            file
            for file in index.files(name)
            if file.filename.endswith(".whl")
            and str(parse_wheel_filename(file.filename)[1]) == version
            and compatible(file.filename)
        ]
        path = tmp_path / file.filename
        downloads.fetch(file.url, file.sha256, path)
        (by_uv if number % 2 else by_pip)(environment, path)
    found = list(claims(environment))
    assert {claim.name for claim in found} == set(WHEELS)
    for claim in found:
        # A file installed by path carries direct_url.json; the index's own choice is what is tested here.
        file = select(index.files(claim.name), claim)
        locked = LockedPython(
            name=claim.name,
            version=claim.version,
            filename=file.filename,
            sha256=file.sha256,
            url=file.url,
            record=claim.record,
        )
        Prover().wheel(locked, tmp_path / file.filename)
        assert wheel.prove(tmp_path / file.filename, file.filename).record == claim.record


def test_the_resolver_agrees_with_pypi(tmp_path: Path) -> None:
    pins = UvResolver(cache=tmp_path).resolve(["jinja2==3.1.6"], (), ["markupsafe!=3.0.2"], "3.12")
    assert {pin.name for pin in pins} == {"jinja2", "markupsafe"}


@pytest.mark.parametrize(
    ("id", "version", "code"),
    [
        ("debian", "12", "bookworm"),
        ("debian", "13", "trixie"),
        ("ubuntu", "22.04", "jammy"),
        ("ubuntu", "24.04", "noble"),
    ],
)
def test_real_archives(id: str, version: str, code: str, tmp_path: Path) -> None:
    release = Release(id=id, version_id=version, codename=code, architecture="amd64")  # type: ignore[arg-type]
    archives = AptIndexClient().archives(release)
    assert len(archives) > 50_000
    hostname = archives["hostname", "amd64"][0]
    path = tmp_path / "hostname.deb"
    assert Downloader().fetch(hostname.url, hostname.sha256, path) == hostname.size
    fields = {name: getattr(hostname, name) for name in LockedArchive.model_fields if name != "filename"}
    Prover().archive(LockedArchive(**fields, filename=hostname.url.rsplit("/", 1)[-1]), path)


def test_all_of_trixie_depends_on_what_is_there() -> None:
    """Every stanza parses, and what a desktop's worth of packages needs is found, virtual packages included."""
    trixie = Release(id="debian", version_id="13", codename="trixie", architecture="amd64")
    archives: Archives = AptIndexClient().archives(trixie)
    everything = [archives.named(name)[0] for name in {name for name, _ in archives}]
    present = [depends.from_archive(archive) for archive in everything]
    python = [archive for archive in everything if archive.name.startswith("python3-")]
    assert len(python) > 4000
    assert depends.unmet(python, present, "amd64") == ""
