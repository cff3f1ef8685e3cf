"""The chain from a pinned key to a stanza, over loopback; every link is attacked once."""

from __future__ import annotations

import calendar
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Permanent, Transient
from shared.model.package import Release
from shared.upstream import apt, openpgp
from shared.upstream.apt import AptIndexClient, sources
from shared.upstream.mirrors import Mirrors
from tests.upstream.apt_repository import Suite, stanza
from tests.upstream.conftest import Signer, make_signer, stop_agent
from tests.upstream.support import Reply, Web

TRIXIE = Release(id="debian", version_id="13", codename="trixie", architecture="amd64")
NOW = float(calendar.timegm((2026, 11, 21, 20, 0, 0)))

Repository = Callable[..., AptIndexClient]


@pytest.fixture
def repository(web: Web, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Publishes trixie and its two companions; arguments spoil the first."""
    monkeypatch.setattr("shared.patience.time.sleep", lambda _: None)
    keyrings = tmp_path / "keyrings"
    keyrings.mkdir()
    shutil.copy(signer.keyring, keyrings / "debian-13.gpg")

    def publish(now: float = NOW, **changes: Any) -> AptIndexClient:
        suite = {"signer": signer, "stanzas": (stanza("hello", "2.10-3"), stanza("zlib", "1:1.3-1"))}
        Suite(**{**suite, **changes}).publish(web)
        Suite(signer, "trixie-updates", stanzas=(stanza("hello", "2.10-4"),)).publish(web)
        security = stanza("hello", "2.10-3+deb13u1", Source="hello-src (2.10-3)")
        Suite(signer, "trixie-security", "/debian-security", (security,)).publish(web)
        mirrors = Mirrors(f"{web.url}/debian", f"{web.url}/debian-security")
        return AptIndexClient(mirrors, keyrings, clock=lambda: now)

    return publish


def refused(client: AptIndexClient, words: str) -> None:
    with pytest.raises(Permanent, match=words):
        client.archives(TRIXIE)


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("by_hash", [True, False])
@pytest.mark.parametrize("suffix", [".xz", ".gz", ""])
def test_all_suites_are_one_mapping(
    web: Web, repository: Repository, inline: bool, by_hash: bool, suffix: str
) -> None:
    archives = repository(inline=inline, by_hash=by_hash, suffix=suffix).archives(TRIXIE)
    assert set(archives) == {("hello", "amd64"), ("zlib", "amd64")}
    assert [(one.version, one.suite) for one in archives["hello", "amd64"]] == [
        ("2.10-4", "trixie-updates"),
        ("2.10-3+deb13u1", "trixie-security"),
        ("2.10-3", "trixie"),
    ]
    fixed = archives["hello", "amd64"][1]
    assert (fixed.source_name, fixed.source_version) == ("hello-src", "2.10-3")
    assert fixed.url == f"{web.url}/debian-security/pool/main/h/hello/hello_2.10-3+deb13u1_amd64.deb"
    assert archives["zlib", "amd64"][0].url.endswith("/zlib_1.3-1_amd64.deb")


def test_a_release_is_read_once(web: Web, repository: Repository) -> None:
    client = repository()
    assert client.archives(TRIXIE) is client.archives(TRIXIE)
    assert len(web.requests) == 6
    assert client.known() == (client.archives(TRIXIE),)


# --- check 1: the signature -------------------------------------------------------------------------------------


def test_a_strangers_signature_is_refused(repository: Repository, stranger: Signer) -> None:
    refused(repository(signer=stranger), "no valid signature of a key")
    refused(repository(signer=stranger, inline=False), "no valid signature of a key")


def test_an_unsigned_release_is_refused(web: Web, repository: Repository) -> None:
    client = repository()
    web.routes["/debian/dists/trixie/InRelease"] = Reply(Suite(None).release())  # type: ignore[arg-type]
    refused(client, "no valid signature of a key")


def test_a_changed_release_is_refused(web: Web, repository: Repository, signer: Signer) -> None:
    client = repository()
    signed = signer.clear(Suite(signer).release())
    web.routes["/debian/dists/trixie/InRelease"] = Reply(signed.replace(b"stable", b"stabLe"))
    refused(client, "signature that does not hold")
    repository(inline=False)
    del web.routes["/debian/dists/trixie/InRelease"]
    web.routes["/debian/dists/trixie/Release"] = Reply(Suite(signer).release().replace(b"stable", b"stabLe"))
    refused(client, "signature that does not hold")


def test_only_the_signed_text_is_read(web: Web, repository: Repository, signer: Signer) -> None:
    """Text before and after the armor, which a parser of the raw file would take for the Release."""
    client = repository(fields={"Codename": "forky"})
    forged = Suite(signer).release()
    signed = signer.clear(Suite(signer, fields={"Codename": "forky"}).release())
    for raw in (forged + b"\n" + signed, signed + b"\n" + forged, forged + signed + forged):
        web.routes["/debian/dists/trixie/InRelease"] = Reply(raw)
        with pytest.raises(
            Permanent, match=r"Codename is forky|signature that does not hold|no valid signature"
        ):
            client.archives(TRIXIE)


def test_two_signed_texts_are_refused(web: Web, repository: Repository, signer: Signer) -> None:
    client = repository()
    signed = signer.clear(Suite(signer).release())
    web.routes["/debian/dists/trixie/InRelease"] = Reply(signed + signed)
    refused(client, "signature that does not hold .*ERROR")


def test_a_weak_hash_is_refused(web: Web, repository: Repository, tmp_path: Path) -> None:
    weak = make_signer(tmp_path / "weak", algorithm="rsa2048")
    try:
        client = repository()
        shutil.copy(weak.keyring, tmp_path / "keyrings" / "debian-13.gpg")
        text = Suite(weak).release()
        web.routes["/debian/dists/trixie/InRelease"] = Reply(
            weak.clear(text, "--digest-algo", "SHA224", "--cert-digest-algo", "SHA256")
        )
        refused(client, "no valid signature|does not hold")
    finally:
        stop_agent(weak)


def test_an_expired_key_is_refused(repository: Repository, tmp_path: Path) -> None:
    old = make_signer(tmp_path / "old", expires="2d", time="20200101T000000")
    try:
        fake = ("--faked-system-time", "20200101T120000")
        signed = old.clear(Suite(old).release(), *fake)
        shutil.copy(old.keyring, tmp_path / "debian.gpg")
        with pytest.raises(Permanent, match="EXPKEYSIG"):
            openpgp.verify_clear(signed, tmp_path / "debian.gpg", "It")
    finally:
        stop_agent(old)


def test_a_good_signature_beside_an_unknown_one_is_enough(
    web: Web, repository: Repository, signer: Signer, stranger: Signer
) -> None:
    """Debian signs a release with its own key and with the next release's."""
    client = repository(inline=False)
    text = web.routes["/debian/dists/trixie/Release"].body  # type: ignore[union-attr]
    both = b"".join(one.detached(text) for one in (stranger, signer))
    web.routes["/debian/dists/trixie/Release.gpg"] = Reply(both)
    assert ("hello", "amd64") in client.archives(TRIXIE)
    web.routes["/debian/dists/trixie/Release.gpg"] = Reply(stranger.detached(text))


def test_a_signature_is_both_good_and_valid() -> None:
    valid = ["VALIDSIG", "F" * 40, "2026-11-20", "0", "0", "4", "0", "22", "8", "01", "F" * 40]
    good = ["GOODSIG", "F" * 16, "Tester"]
    openpgp._judge([["NEWSIG"], good, valid], clear=False, what="It")
    for lines in ([["NEWSIG"], valid], [["NEWSIG"], good], [["NEWSIG"], good, ["NEWSIG"], valid], []):
        with pytest.raises(Permanent, match="no valid signature"):
            openpgp._judge(lines, clear=False, what="It")


def test_an_empty_or_missing_keyring_vouches_for_nothing(repository: Repository, tmp_path: Path) -> None:
    client = repository()
    (tmp_path / "keyrings" / "debian-13.gpg").write_bytes(b"")
    refused(client, "missing or empty")
    (tmp_path / "keyrings" / "debian-13.gpg").unlink()
    refused(client, "missing or empty")


# --- check 2: the right suite, now ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"Codename": "bookworm"}, "Codename is bookworm and not trixie"),
        ({"Codename": "trixie-updates"}, "Codename is trixie-updates"),
        ({"Codename": ""}, "Codename is nothing"),
        ({"Origin": "Ubuntu"}, "Origin is Ubuntu"),
        ({"Valid-Until": "Sat, 21 Nov 2026 19:59:59 UTC"}, "was valid until 2026-11-21 19:59"),
        (
            {"Valid-Until": "", "valid-until": "Sat, 21 Nov 2026 19:59:59 UTC"},
            "was valid until 2026-11-21 19:59",
        ),
        ({"valid-until": "Sat, 21 Nov 2026 19:59:59 UTC"}, "has the field Valid-Until twice"),
        (
            {
                "Valid-Until": "Sat, 21 Nov 2026 19:59:59 UTC",
                "Changelogs": "x\x0bValid-Until: Sat, 21 Nov 2099",
            },
            "was valid until 2026-11-21 19:59",
        ),
        ({"Valid-Until": "soon"}, "no readable Valid-Until"),
        ({"Date": "Sat, 21 Nov 2026 20:30:00 UTC"}, "in the future"),
        ({"Date": ""}, "no readable Date"),
        ({"Date": "Fri, 31 Dec 9999 23:59:59 -1400"}, "no readable Date"),
        ({"Valid-Until": "Sat, 21 Nov 99999999999999999999 20:30:00 UTC"}, "no readable Valid-Until"),
    ],
)
def test_another_or_an_old_release_is_refused(
    repository: Repository, fields: dict[str, str], words: str
) -> None:
    refused(repository(fields=fields), words)


def test_time_zones_are_understood(repository: Repository) -> None:
    fields = {"Date": "Sat, 21 Nov 2026 20:30:00 +0200", "Valid-Until": "Sat, 21 Nov 2026 19:00:00 -0600"}
    assert repository(fields=fields).archives(TRIXIE)


def test_a_release_without_an_end_is_accepted(repository: Repository) -> None:
    """Debian's stable suites have no Valid-Until."""
    assert repository(fields={"Valid-Until": ""}).archives(TRIXIE)


# --- check 3: the index file ------------------------------------------------------------------------------------


def test_a_changed_packages_file_is_refused(web: Web, repository: Repository) -> None:
    client = repository(by_hash=False)
    path = "/debian/dists/trixie/main/binary-amd64/Packages.xz"
    good = web.routes[path].body  # type: ignore[union-attr]
    web.routes[path] = Reply(good[:-1] + bytes([good[-1] ^ 1]))
    refused(client, "size and sha256")
    web.routes[path] = Reply(good[:-1])
    refused(client, "size and sha256")
    web.routes[path] = Reply(good + b"x")
    refused(client, "too large")


def test_a_size_that_the_release_states_wrongly_is_refused(
    web: Web, repository: Repository, signer: Signer
) -> None:
    client = repository()
    sound = web.routes["/debian/dists/trixie/InRelease"].body.decode()  # type: ignore[union-attr]
    text = sound.split("\n\n", 1)[1].split("\n-----BEGIN PGP SIGNATURE")[0]
    (line,) = [line for line in text.splitlines() if line.endswith("Packages.xz") and len(line) > 64 + 32]
    digest, size, path = line.split()
    forged = text.replace(line, f" {digest} {int(size) + 1} {path}")
    web.routes["/debian/dists/trixie/InRelease"] = Reply(signer.clear(forged.encode()))
    refused(client, "size and sha256")


def test_a_packages_file_that_vanished_is_transient(web: Web, repository: Repository) -> None:
    client = repository(by_hash=False)
    del web.routes["/debian/dists/trixie/main/binary-amd64/Packages.xz"]
    with pytest.raises(Transient, match="being updated"):
        client.archives(TRIXIE)


def test_a_packages_file_that_is_not_listed_is_refused(repository: Repository) -> None:
    refused(repository(component="contrib"), "lists no Packages file of main")


def test_a_packages_file_that_inflates_without_end_is_refused(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt, "_MAX_PACKAGES", 2000)
    refused(repository(stanzas=("Package: x\n" * 100_000,)), "inflates to more")


# --- check 4: the stanza ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"SHA256": ""},
        {"SHA256": "0" * 63},
        {"Size": "many"},
        {"Size": "9" * 5000},
        {"Filename": "../../etc/passwd.deb"},
        {"Filename": "https://elsewhere.example/x.deb"},
        {"Filename": "pool/../../x.deb"},
        {"Filename": ""},
        {"Version": "1_0", "Filename": "pool/x.deb"},
        {"Source": "a/b"},
    ],
)
def test_an_unsound_stanza_is_refused_where_it_is_looked_at(
    repository: Repository, fields: dict[str, str]
) -> None:
    bad = stanza("hello", fields.get("Version", "1.0"), **fields)
    archives = repository(stanzas=(bad, stanza("zlib", "1.0"))).archives(TRIXIE)
    assert archives["zlib", "amd64"]
    with pytest.raises(Permanent, match="without a sound"):
        archives["hello", "amd64"]


def test_stanzas_are_cut_where_they_end(repository: Repository) -> None:
    tricky = stanza(
        "hello", "1.0", Depends="libc6 (>= 2.3),\n libx, liby", Description="x\n Version: 9\n .\n y"
    )
    other = "Architecture: amd64\n" + stanza("odd", "1.0", Architecture="", Provides="virtual (= 1), other")
    archives = repository(stanzas=(tricky, other)).archives(TRIXIE)
    (hello,) = [one for one in archives["hello", "amd64"] if one.suite == "trixie"]
    assert (hello.version, hello.depends) == ("1.0", "libc6 (>= 2.3), libx, liby")
    assert archives["odd", "amd64"][0].provides == "virtual (= 1), other"
    assert archives.providing("virtual") == {"odd"}
    with pytest.raises(KeyError):
        archives["hello", "arm64"]


# --- the releases -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id", "version", "code"),
    [
        ("debian", "11", "bullseye"),
        ("debian", "13", "bookworm"),
        ("ubuntu", "13", "trixie"),
        ("debian", "22.04", "jammy"),
    ],
)
def test_a_release_without_pinned_keys_is_refused(id: str, version: str, code: str) -> None:
    with pytest.raises(Permanent, match="not supported"):
        sources(Release(id=id, version_id=version, codename=code, architecture="amd64"), Mirrors())  # type: ignore[arg-type]


def test_ubuntu_is_named_by_suite() -> None:
    """Its Codename is the same in all three, so only Suite tells a replayed one."""
    jammy = Release(id="ubuntu", version_id="22.04", codename="jammy", architecture="amd64")
    found = sources(jammy, Mirrors())
    assert [(one.suite, one.field) for one in found] == [
        ("jammy", "Suite"),
        ("jammy-updates", "Suite"),
        ("jammy-security", "Suite"),
    ]
    assert {one.components for one in found} == {("main", "universe")}
