"""Apt repositories of a workload's own: what one must say, and what a policy's entry allows."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from shared.errors import Permanent
from shared.model.apt_source import AptPin, AptSource
from shared.model.value import sha256
from shared.model.workload import Workload
from tests.support.apt_key import KEY, SOURCE

SECRET = KEY.replace("PUBLIC", "PRIVATE")


def source(**changes: Any) -> AptSource:
    return AptSource.check(SOURCE.model_dump(mode="json") | changes, "The source")


def armored(content: bytes) -> str:
    body = base64.encodebytes(content).decode()
    return f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{body}-----END PGP PUBLIC KEY BLOCK-----\n"


def test_a_pin_names_the_key_by_the_files_sha256() -> None:
    assert source().pin == AptPin(
        url=SOURCE.url, suite=SOURCE.suite, components=("main",), key=sha256(KEY.encode())
    )
    headed = KEY.replace("-----\n\n", "-----\nComment: ours\n\n", 1).replace("-----END", "=AAAA\n-----END")
    assert source(key=headed).pin.key != source().pin.key


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"key": "no key"}, "one armored OpenPGP public key block"),
        ({"key": ""}, "one armored OpenPGP public key block"),
        ({"key": SECRET}, "one armored OpenPGP public key block"),
        ({"key": KEY + KEY}, "one armored OpenPGP public key block"),
        ({"key": armored(b"\x95\x00\x10" + bytes(16))}, "one armored OpenPGP public key block"),
        ({"key": armored(b"text")}, "one armored OpenPGP public key block"),
        ({"url": "http://apt.test/repository"}, "a URL is https"),
        ({"url": "https://apt.test/repository/"}, "no slash, query or fragment at its end"),
        ({"suite": "./"}, "is flat and has no components"),
        ({"suite": "x86_64/"}, "is flat and has no components"),
        ({"suite": "//", "components": []}, "suite"),
        ({"suite": "../x/", "components": []}, "suite"),
        ({"suite": "../../etc"}, "suite"),
        ({"components": []}, "components are missing"),
        ({"packages": []}, "packages"),
        ({"packages": ["fuse-tool", "fuse-tool"]}, "a name stands twice"),
        ({"packages": ["*"]}, "Debian name"),
    ],
)
def test_what_is_no_source(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Permanent, match=words):
        source(**changes)


def test_a_flat_repository_has_no_components() -> None:
    """And is the same in both spellings: what a policy lists is what a workload names."""
    both = [source(suite=suite, components=[]).pin for suite in ("./", "/")]
    assert both[0] == both[1]
    assert both[0].covers(both[1])
    assert not both[0].covers(source(suite="sub/", components=[]).pin)
    assert not source().pin.covers(both[0])


def test_a_package_comes_from_one_place() -> None:
    fields: dict[str, Any] = {
        "name": "w",
        "runtime_version": "r",
        "accelerator_type": "a",
        "install": "true",
        "smoke": "true",
    }
    good = Workload(**fields, apt_sources=(SOURCE,))
    assert (good.apt_pin("fuse-tool"), good.apt_pin("bash")) == (SOURCE.pin, None)
    other = SOURCE.model_copy(update={"name": "other", "suite": "other"})
    for pair, words in (
        ((SOURCE, SOURCE), "two apt sources have one name"),
        ((SOURCE, other), "stands under two"),
    ):
        with pytest.raises(ValueError, match=words):
            Workload(**fields, apt_sources=pair)


@pytest.mark.parametrize(
    ("changes", "covered"),
    [
        ({}, True),
        ({"components": ("main", "contrib")}, False),
        ({"url": "https://apt.test/other"}, False),
        ({"suite": "fuse-forky"}, False),
        ({"key": sha256(b"another")}, False),
    ],
)
def test_what_an_entry_covers(changes: dict[str, Any], covered: bool) -> None:
    assert SOURCE.pin.covers(SOURCE.pin.model_copy(update=changes)) is covered
