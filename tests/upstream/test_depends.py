"""Dependencies of archives within what would be on the machine."""

from __future__ import annotations

import pytest

from shared.ports.upstream import Archive
from shared.upstream.depends import Present, installed, unmet
from shared.upstream.packages_file import Archives, PackagesFile
from tests.upstream.apt_repository import stanza

BASE = (
    Present("libc6", "2.41-12", "amd64"),
    Present("mawk", "1.3.4", "amd64", "awk"),
    Present("debconf", "1.5.91", "all", "debconf-2.0"),
    Present("libssl3t64", "3.5.0-1", "amd64", "libssl3 (= 3.5.0-1)"),
    Present("python3", "3.13.5-1", "amd64"),
)


def archive(depends: str, name: str = "app", architecture: str = "amd64", version: str = "1.0") -> Archive:
    sha = "sha256:" + "0" * 64
    return Archive(
        name, version, architecture, name, version, "https://x.example/x.deb", sha, 1, "trixie", depends, ""
    )


@pytest.mark.parametrize(
    "depends",
    [
        "",
        "libc6",
        "libc6 (>= 2.38), mawk",
        "libc6 (= 2.41-12)",
        "libc6 (<< 2.41-13)",
        "libc6(>> 2.41-11)",
        "libc6 (<= 2.41-12)",
        "awk",
        "gawk | awk",
        "nothing (>= 1) | libc6 (>= 2.0)",
        "debconf (>= 0.5) | debconf-2.0",
        "libssl3 (>= 3.0)",
        "python3:any (>= 3.11)",
        "libc6:amd64",
    ],
)
def test_what_holds(depends: str) -> None:
    assert unmet([archive(depends)], BASE, "amd64") == ""
    assert unmet([archive(depends, architecture="all")], BASE, "amd64") == ""


@pytest.mark.parametrize(
    ("depends", "words"),
    [
        (
            "libc6 (>= 2.42)",
            "app 1.0 (amd64) needs 'libc6 (>= 2.42)', and there would be only libc6 2.41-12.",
        ),
        ("libc6 (<< 2.41-12)", "only libc6 2.41-12"),
        ("libc6 (>> 2.41-12)", "only libc6 2.41-12"),
        ("libc6 (= 2.41)", "only libc6 2.41-12"),
        ("gawk", "nothing of that name would be there"),
        ("gawk | busybox", "needs 'gawk | busybox', and nothing"),
        ("awk (>= 1)", "only mawk (virtual)"),
        ("libssl3 (>= 4)", "only libssl3t64 3.5.0-1"),
        ("libc6:arm64", "only libc6 2.41-12"),
        ("libc6 (~> 2)", "unreadable dependency"),
        ("libc6 (>= 2_0)", "only libc6"),
        ("libc6, libz9", "needs 'libz9'"),
        ("Foo Bar", "unreadable dependency"),
    ],
)
def test_what_does_not(depends: str, words: str) -> None:
    assert words in unmet([archive(depends)], BASE, "amd64")


def test_archives_hold_each_other_and_replace_what_was_there() -> None:
    new = archive("", "libc6", version="2.42-1")
    assert unmet([archive("libc6 (>= 2.42)"), new], BASE, "amd64") == ""
    assert "only libc6 2.42-1" in unmet([archive("libc6 (<< 2.42)"), new], BASE, "amd64")


def test_another_architecture_does_not_help() -> None:
    assert "only libc6" in unmet([archive("libc6", architecture="i386")], BASE, "amd64")


def test_what_the_base_provides_comes_from_the_index() -> None:
    text = "\n".join(
        [
            stanza("mawk", "1.3.4-1", Provides="awk"),
            stanza("perl-base", "5.40.1-2", Provides="perlapi-5.40.1"),
        ]
    )
    index = Archives([PackagesFile("trixie", "https://x.example/", text.encode())])
    base = installed(
        {("mawk", "amd64"): "1.3.4-1", ("perl-base", "amd64"): "5.40.1-1", ("own", "all"): "1"}, [index]
    )
    assert base == [
        Present("mawk", "1.3.4-1", "amd64", "awk"),
        Present("perl-base", "5.40.1-1", "amd64", "perlapi-5.40.1"),
        Present("own", "1", "all", ""),
    ]
    assert unmet([archive("awk, perlapi-5.40.1, own")], base, "amd64") == ""
