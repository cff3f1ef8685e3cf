"""The distributions' snapshots over loopback: the same chain of proof, as of a moment of ours."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Permanent
from shared.upstream.apt import AptIndexClient
from shared.upstream.mirrors import Mirrors
from shared.upstream.snapshot import Snapshots
from tests.upstream.apt_repository import Suite, stanza
from tests.upstream.conftest import Signer
from tests.upstream.support import Reply, Web
from tests.upstream.test_apt import NOW, TRIXIE

YEAR = 365 * 86_400
TIME, IMPORT = "20271121T200000Z", "20271121T143000Z"
"""What is asked for, and the import before it, to which the service redirects."""


@pytest.fixture
def client(web: Web, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AptIndexClient:
    """Today the archive has jq 2; a year ago it had jq 1, and so says the service."""
    monkeypatch.setattr("shared.patience.time.sleep", lambda _: None)
    (tmp_path / "keyrings").mkdir()
    shutil.copy(signer.keyring, tmp_path / "keyrings" / "debian-13.gpg")
    return AptIndexClient(
        Mirrors(f"{web.url}/debian", f"{web.url}/debian-security"),
        tmp_path / "keyrings",
        clock=lambda: NOW + 2 * YEAR,
        snapshots=Snapshots(f"{web.url}/archive", f"{web.url}/ubuntu"),
    )


def archived(web: Web, signer: Signer, **fields: str) -> None:
    dates = {"Date": "Sun, 21 Nov 2027 08:00:00 UTC", "Valid-Until": "Sun, 28 Nov 2027 08:00:00 UTC"} | fields
    for path, name, stanzas in (
        ("debian", "trixie", (stanza("jq", "1.0"),)),
        ("debian", "trixie-updates", ()),
        ("debian-security", "trixie-security", ()),
    ):
        before = set(web.routes)
        suite = {"codename": name, "stanzas": stanzas, "fields": dates, "by_hash": False}
        Suite(signer, path=f"/archive/{path}/{IMPORT}", **suite).publish(web)
        for route in set(web.routes) - before:
            there = {"Location": web.url + route}
            web.routes[route.replace(IMPORT, TIME)] = Reply(status=302, headers=there)


def test_the_suites_as_they_were(web: Web, signer: Signer, client: AptIndexClient) -> None:
    archived(web, signer)
    then = NOW + YEAR
    archives = client.as_of(TRIXIE, then)
    assert [one.version for one in archives["jq", "amd64"]] == ["1.0"]
    assert (
        archives["jq", "amd64"][0].url == f"{web.url}/archive/debian/{TIME}/pool/main/j/jq/jq_1.0_amd64.deb"
    )
    assert client.as_of(TRIXIE, then) is archives
    assert client.known() == (archives,)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"Valid-Until": "Sat, 20 Nov 2027 08:00:00 UTC"}, "was valid until 2027-11-20"),
        ({"Date": "Mon, 22 Nov 2027 08:00:00 UTC"}, "in the future"),
        ({"Codename": "bookworm"}, "its Codename is bookworm"),
    ],
)
def test_a_state_that_was_not_the_one_of_then(
    web: Web, signer: Signer, client: AptIndexClient, fields: dict[str, Any], words: str
) -> None:
    archived(web, signer, **fields)
    with pytest.raises(Permanent, match=words):
        client.as_of(TRIXIE, NOW + YEAR)


def test_the_pinned_key_alone_counts(web: Web, stranger: Signer, client: AptIndexClient) -> None:
    archived(web, stranger)
    with pytest.raises(Permanent, match="no valid signature of a key"):
        client.as_of(TRIXIE, NOW + YEAR)


@pytest.mark.parametrize(
    ("url", "there"),
    [
        ("https://deb.debian.org/debian/pool/a.deb", f"https://s.test/archive/debian/{TIME}/pool/a.deb"),
        (
            "https://deb.debian.org/debian-security/pool/a.deb",
            f"https://s.test/archive/debian-security/{TIME}/pool/a.deb",
        ),
        ("http://archive.ubuntu.com/ubuntu/pool/a.deb", f"https://u.test/ubuntu/{TIME}/pool/a.deb"),
        ("http://security.ubuntu.com/ubuntu/pool/a.deb", f"https://u.test/ubuntu/{TIME}/pool/a.deb"),
        ("https://deb.debian.org/debian-else/pool/a.deb", ""),
        ("https://apt.test/pool/a.deb", ""),
    ],
)
def test_where_a_file_of_the_pool_lies(url: str, there: str) -> None:
    services = Snapshots("https://s.test/archive/", "https://u.test/ubuntu")
    assert services.address(url, Mirrors(), NOW + YEAR) == there
