"""The bill of materials: complete, valid by the official schema, the same bytes for the same set."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.bom.components import licences
from shared.bom.graph import ASKED_FOR, requirements
from shared.bom.sbom import sbom
from shared.bom.vex import vex
from shared.model.case import Facts
from shared.model.lock import Change, LockedGeneric
from shared.model.manifest import GenericFile
from shared.model.package import Package
from shared.model.value import sha256
from shared.policy.need import APT, BASE, ITSELF
from tests.bom.world import SOME, approved, archive, both, check, finding, pypi, verdict, wheel
from tests.support import claims

URL = "https://files.test/data.bin?x=1"


def _set(**more: Any) -> Any:
    fetched = GenericFile(url=URL, sha256=SOME, size=3, path="/opt/w/data.bin")
    lib, tool = pypi("lib", "1.1"), pypi("tool", "2.0")
    base = claims.DebianPackage(
        name="bsdutils",
        version="1:2.38.1-5",
        architecture="amd64",
        source_name="util-linux",
        source_version="2.38.1-5",
        archive=None,
        in_base=True,
    )
    manifest = claims.manifest(
        (base,),
        claims.environment(
            claims.python(
                "app", "1.0", requires=("lib<2", 'never; python_version < "3"', "Tool"), requested=True
            ),
            claims.python("lib", "1.0"),
            claims.python("tool", "2.0"),
        ),
        generic=(fetched,),
    )
    return approved(
        verdict(pypi("app", "1.0")),
        verdict(lib),
        verdict(tool),
        verdict(pypi("lib", "1.0"), finding("GHSA-1"), decision="block"),
        python=(wheel("app", "1.0"), wheel("lib", "1.1"), wheel("tool", "2.0")),
        debian=(archive("libjq1", "1.7-1", "jq", "1.7-1"),),
        generic=(LockedGeneric(url=URL, sha256=SOME, size=3),),
        changes=(
            Change(
                before=pypi("lib", "1.0"),
                after=lib,
                advisories=("GHSA-1",),
                required_by=("app",),
                reason="severity HIGH",
            ),
        ),
        manifest=manifest,
        facts={
            lib.purl: Facts(licences=("mit", "Some words <of> a licence"), uploaded="2026-01-01T00:00:00Z")
        },
        **more,
    )


def test_every_file_of_the_lock_and_what_the_machine_held_before() -> None:
    bill, _ = both(_set())
    parts = {each["purl"]: each for each in bill["components"]}
    assert set(parts) == {
        "pkg:pypi/app@1.0",
        "pkg:pypi/lib@1.1",
        "pkg:pypi/tool@2.0",
        "pkg:deb/debian/libjq1@1.7-1?arch=amd64&distro=debian-13",
        "pkg:deb/debian/bsdutils@1%3A2.38.1-5?arch=amd64&distro=debian-13",
        Package(ecosystem="generic", name="data.bin", version=SOME).purl,
    }
    lib = parts["pkg:pypi/lib@1.1"]
    assert lib["hashes"] == [{"alg": "SHA-256", "content": wheel("lib", "1.1").sha256[7:]}]
    assert lib["externalReferences"][0]["url"] == "https://files.test/lib-1.1-py3-none-any.whl"
    assert lib["licenses"] == [
        {"expression": "MIT", "acknowledgement": "declared"},
        {"license": {"name": "Some words <of> a licence", "acknowledgement": "declared"}},
    ]
    said = {each["name"]: each["value"] for each in lib["properties"]}
    assert said["package-dmz:replaces"] == "pkg:pypi/lib@1.0"
    assert said["package-dmz:because"] == "severity HIGH"
    assert said["package-dmz:because-of-advisories"] == "GHSA-1"
    base = parts["pkg:deb/debian/bsdutils@1%3A2.38.1-5?arch=amd64&distro=debian-13"]
    assert {"name": "package-dmz:in-base-image", "value": "true"} in base["properties"]
    (source,) = base["pedigree"]["ancestors"]
    assert source["purl"] == "pkg:deb/debian/util-linux@2.38.1-5?arch=source&distro=debian-13"


def test_the_graph_says_what_is_known_and_no_more() -> None:
    bill, _ = both(_set())
    graph = {each["ref"]: each["dependsOn"] for each in bill["dependencies"]}
    generic = Package(ecosystem="generic", name="data.bin", version=SOME).purl
    assert graph["workload:small"] == sorted([generic, "pkg:pypi/app@1.0"])
    assert graph["pkg:pypi/app@1.0"] == ["pkg:pypi/lib@1.1", "pkg:pypi/tool@2.0"]
    assert graph["pkg:pypi/tool@2.0"] == []
    # Of the replacement nobody has read what it needs.
    assert "pkg:pypi/lib@1.1" not in graph
    opaque = next(each["dependencies"] for each in bill["compositions"] if each["aggregate"] == "unknown")
    assert "pkg:pypi/lib@1.1" in opaque
    assert "pkg:pypi/tool@2.0" not in opaque


def test_what_dpkg_manages_in_the_same_place_hides_nothing() -> None:
    """python3-venv puts a pip of dpkg's own into a virtual environment: the manifest tells it as another one."""
    manifest = claims.manifest(
        (),
        claims.environment(
            claims.python("app", "1.0", requires=("lib",), requested=True), claims.python("lib", "1.0")
        ),
        claims.environment(claims.python("pip", "25.1"), managed=True),
    )
    bill, _ = both(approved(python=(wheel("app", "1.0"), wheel("lib", "1.0")), manifest=manifest))
    graph = {each["ref"]: each["dependsOn"] for each in bill["dependencies"]}
    assert graph["pkg:pypi/app@1.0"] == ["pkg:pypi/lib@1.0"]
    assert graph["workload:small"] == ["pkg:pypi/app@1.0"]


def test_what_the_workload_asks_for_hangs_on_it() -> None:
    assert set(ASKED_FOR) == {ITSELF, APT}
    wanted, base = (
        Package(ecosystem="debian", name=name, version="1.7-1", architecture="amd64", distro="debian-13")
        for name in ("jq", "libjq1")
    )
    bill, _ = both(
        approved(
            verdict(wanted, needed_by=APT),
            verdict(base, needed_by=BASE),
            debian=(archive("jq", "1.7-1", "jq", "1.7-1"), archive("libjq1", "1.7-1", "jq", "1.7-1")),
        )
    )
    assert bill["dependencies"] == [{"ref": "workload:small", "dependsOn": [wanted.purl]}]


def test_a_debian_packages_way_gives_edges() -> None:
    jq, lib = (
        Package(ecosystem="debian", name=name, version="1.7-1", architecture="amd64", distro="debian-13")
        for name in ("jq", "libjq1")
    )
    bill, _ = both(
        approved(
            verdict(jq),
            verdict(lib, needed_by=("jq",)),
            debian=(archive("jq", "1.7-1", "jq", "1.7-1"), archive("libjq1", "1.7-1", "jq", "1.7-1")),
        )
    )
    graph = {each["ref"]: each["dependsOn"] for each in bill["dependencies"]}
    assert graph == {"workload:small": [jq.purl], jq.purl: [lib.purl]}


def test_what_only_a_build_needs_is_there_and_told_apart() -> None:
    source = wheel("old", "1.0", filename="old-1.0.tar.gz", record=None, build=(wheel("builder", "3"),))
    bill, _ = both(approved(python=(source,)))
    parts = {each["name"]: each for each in bill["components"]}
    assert parts["old"]["scope"] == "required"
    assert parts["builder"]["scope"] == "excluded"
    assert {"ref": "pkg:pypi/old@1.0", "dependsOn": ["pkg:pypi/builder@3"]} in bill["dependencies"]


def test_two_files_of_one_version_are_two_components() -> None:
    other = wheel("lib", "1.0", filename="lib-1.0-cp313-cp313-linux_x86_64.whl", sha256=sha256(b"other"))
    bill, meaning = both(
        approved(verdict(pypi("lib", "1.0"), finding("GHSA-1")), python=(wheel("lib", "1.0"), other))
    )
    assert [each["purl"] for each in bill["components"]] == ["pkg:pypi/lib@1.0"] * 2
    (flaw,) = meaning["vulnerabilities"]
    assert len(flaw["affects"]) == 2


def test_the_same_set_gives_the_same_bytes_and_another_another_serial_number() -> None:
    one, again = _set(), _set()
    assert sbom(one) == sbom(again)
    assert vex(one, "urn:uuid:x") == vex(again, "urn:uuid:x")
    other = json.loads(sbom(approved(python=(wheel("app", "1.1"),))))
    assert json.loads(sbom(one))["serialNumber"] != other["serialNumber"]


def test_it_names_what_it_follows_from() -> None:
    made = _set()
    said = {each["name"]: each["value"] for each in json.loads(sbom(made))["metadata"]["properties"]}
    assert said["package-dmz:lock"] == made.lock.digest
    assert said["package-dmz:manifest"] == made.lock.manifest
    assert said["package-dmz:policy"] == made.case.policy.digest
    assert said["package-dmz:advisories"] == SOME
    assert json.loads(sbom(made))["metadata"]["timestamp"] == made.case.source.date


def test_an_empty_set_is_valid_too() -> None:
    both(approved())


HOSTILE = [
    "<script>alert(1)</script>",
    "\x1b[31mred\x1b[0m",
    "a\u202eb",
    "[link=x]markup[/link]",
    '"}],"components":[',
    "é" * 5000,
    "line\nfeed\r\x00",
]


@pytest.mark.parametrize("said", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_words_stay_words(said: str) -> None:
    """In whatever a stranger chose: names of generic files, summaries, aliases, reasons, licences, versions."""
    odd = Package(ecosystem="pypi", name="odd", version="1.0")
    made = approved(
        verdict(
            odd,
            finding("GHSA-1", summary=said, aliases=(said[:300],), undecided=said[:400]),
            finding(said[:100] or "x", fixed=(said[:100],)),
        ),
        python=(wheel("odd", "1.0"),),
        changes=(
            Change(
                before=pypi("older", said[:50]),
                after=odd,
                advisories=(said,),
                required_by=(said,),
                reason=said,
            ),
            Change(before=odd, after=pypi("gone", "none"), advisories=(), required_by=(), reason=said),
        ),
        facts={odd.purl: Facts(licences=(said, f"({said})", "(" * 400), yanked=said)},
    )
    both(made)
    bill = sbom(made)
    for document in (bill, vex(made, json.loads(bill)["serialNumber"])):
        text = document.decode()
        assert not set(text) & {"<", ">", "&", "\x1b", "\u202e", "\n", "\x00"}
        assert text.isprintable()
        assert len(text) < 200_000


def test_licences_are_expressions_where_they_are() -> None:
    assert licences(["mit OR apache-2.0"]) == [
        {"expression": "MIT OR Apache-2.0", "acknowledgement": "declared"}
    ]
    assert licences(["BSD"]) == [{"license": {"name": "BSD", "acknowledgement": "declared"}}]
    assert licences(["", " "]) == []


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ("lib", True),
        ("Lib (>=1)", True),
        ('lib; python_version < "3.8"', False),
        ('lib; sys_platform == "win32"', False),
        ('lib>=1; extra == "fast"', True),
        ('lib; extra == "fast" and python_version < "3"', False),
        ("lib; nonsense ~~ 3", False),
        ("libs", False),
        ("-lib", False),
    ],
)
def test_requirements_that_hold(line: str, needed: bool) -> None:
    assert list(requirements([line], "3.13.5", {"lib"})) == (["lib"] if needed else [])


def test_ten_thousand_components() -> None:
    """Made, not validated: the schema's own validator takes minutes for it."""
    names = [f"lib{number}" for number in range(10_000)]
    claimed = [
        claims.python(
            name, "1.0", requires=tuple(f"lib{(at * 7 + step) % 10_000}>=1" for step in range(1, 6))
        )
        for at, name in enumerate(names)
    ]
    flaw = tuple(finding(f"GHSA-{number}") for number in range(3))
    made = approved(
        *(verdict(pypi(name, "1.0"), *flaw) for name in names),
        python=tuple(wheel(name, "1.0") for name in names),
        manifest=claims.manifest((), claims.environment(*claimed)),
    )
    bill = json.loads(sbom(made))
    meaning = json.loads(vex(made, bill["serialNumber"]))
    assert len(bill["components"]) == 10_000
    assert sum(len(each["dependsOn"]) for each in bill["dependencies"]) > 49_000
    assert [len(each["affects"]) for each in meaning["vulnerabilities"]] == [10_000] * 3


def test_the_schema_is_asked() -> None:
    """What does not fit is noticed: the checks above are checks."""
    bill = json.loads(sbom(_set()))
    bill["components"][0]["type"] = "nonsense"
    with pytest.raises(AssertionError):
        check(json.dumps(bill).encode())
