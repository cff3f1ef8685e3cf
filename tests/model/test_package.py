"""Versions as a hostile machine may spell them."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.model.manifest import DebianPackage, GenericFile
from shared.model.package import Package, PypiVersion, Release
from shared.model.payloads import PackageEvicted, VerdictChanged
from shared.model.value import sha256

VERSION: TypeAdapter[str] = TypeAdapter(PypiVersion)


@pytest.mark.parametrize(
    ("spelled", "normal"),
    [
        ("1.0", "1.0"),
        ("1.0.0", "1.0.0"),
        ("0!1.0", "1.0"),
        ("v1.0", "1.0"),
        ("01.00", "1.0"),
        ("2024.07", "2024.7"),
        ("1.0-RC1", "1.0rc1"),
        ("1.0-1", "1.0.post1"),
        ("2.6.0+CPU", "2.6.0+cpu"),
        ("2.6.0-NA", "2.6.0-NA"),
        ("weird", "weird"),
    ],
)
def test_a_python_version_is_normalized_on_entry(spelled: str, normal: str) -> None:
    assert VERSION.validate_python(spelled) == normal


@pytest.mark.parametrize("text", ["", " 1.0", "1.0\n", "1/0", "1" * 129, "１.0"])
def test_what_has_other_characters_is_no_version(text: str) -> None:
    with pytest.raises(ValidationError):
        VERSION.validate_python(text)


def longest() -> list[Package]:
    """Of each ecosystem the package with the longest purl that a manifest may name."""
    url = "https://h/" + "%" * 2000
    archive = DebianPackage(
        name="a" + "+" * 127,
        version="2147483647:1" + "+" * 127,
        architecture="a" * 32,
        source_name="aa",
        source_version="1",
        archive=None,
        in_base=False,
    )
    trixie = Release(id="debian", version_id="13", codename="trixie", architecture="amd64")
    return [
        GenericFile(url=url, sha256=sha256(b""), size=0, path="/opt/x").package(),
        archive.package(trixie),
        Package(ecosystem="pypi", name="a" * 128, version="!" * 128),
    ]


@pytest.mark.parametrize("package", longest(), ids=lambda package: package.ecosystem)
def test_the_purl_of_every_package_can_be_told(package: Package) -> None:
    digest = sha256(b"verdicts")
    changed = VerdictChanged(purl=package.purl, before="allow", after="block", reason="so", verdicts=digest)
    evicted = PackageEvicted(purl=package.purl, repository="r", files=1, verdicts=digest)
    assert (changed.purl, evicted.purl) == (package.purl, package.purl)


@pytest.mark.parametrize("epoch", ["9" * 11, "2147483648"])
def test_an_epoch_is_no_novel(epoch: str) -> None:
    """A version without end would be a purl without end, and one that dpkg refuses is none."""
    with pytest.raises(ValidationError, match="epoch"):
        DebianPackage(
            name="tool",
            version=f"{epoch}:1",
            architecture="all",
            source_name="tool",
            source_version="1",
            archive=None,
            in_base=False,
        )
