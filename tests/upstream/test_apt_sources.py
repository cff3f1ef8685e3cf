"""Repositories that are not the distribution's: each by its own key, for the packages that are named."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.errors import Permanent
from shared.model.apt_source import AptSource
from shared.upstream import http, public
from shared.upstream.apt import AptIndexClient
from shared.upstream.mirrors import Mirrors
from tests.upstream.apt_repository import Suite, stanza
from tests.upstream.conftest import Signer, make_signer, stop_agent
from tests.upstream.support import Reply, Web
from tests.upstream.test_apt import NOW, TRIXIE

STANZAS = (stanza("fuse-tool", "3.0"), stanza("openssl", "9.9-1"), stanza("other", "1.0"))
THEIRS = {"Origin": "Fuse Inc.", "Suite": "", "Codename": "fuse-trixie"}


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = make_signer(tmp_path_factory.mktemp("keys") / "vendor")
    yield made
    stop_agent(made)


def armored(signer: Signer) -> str:
    command = ["gpg", "--homedir", signer.home, "--batch", "--armor", "--export", signer.fingerprint]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def source(signer: Signer, **changes: Any) -> AptSource:
    fields: dict[str, Any] = {
        "name": "fuse",
        "url": "https://apt.fuse.example/repository",
        "suite": "fuse-trixie",
        "components": ("main",),
        "packages": ("fuse-tool",),
        "key": armored(signer),
    }
    return AptSource(**fields | changes)


@pytest.fixture
def client(
    web: Web, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AptIndexClient]:
    """The distribution's suites on loopback, and any repositories below https://apt.fuse.example on the same server."""
    monkeypatch.setattr("shared.patience.time.sleep", lambda _: None)
    keyrings = tmp_path / "keyrings"
    keyrings.mkdir()
    shutil.copy(signer.keyring, keyrings / "debian-13.gpg")
    Suite(signer, stanzas=(stanza("openssl", "3.0-1"),)).publish(web)
    Suite(signer, "trixie-updates").publish(web)
    Suite(signer, "trixie-security", "/debian-security").publish(web)

    def outside(request: httpx.Request) -> httpx.Response:
        answer = httpx.get(web.url + request.url.raw_path.decode())
        return httpx.Response(answer.status_code, content=answer.content)

    def made(*more: AptSource, transport: httpx.BaseTransport | None = None) -> AptIndexClient:
        way = http.client(transport=transport or httpx.MockTransport(outside))
        mirrors = Mirrors(f"{web.url}/debian", f"{web.url}/debian-security")
        return AptIndexClient(mirrors, keyrings, clock=lambda: NOW, more=more, public=way)

    return made


def suite(signer: Signer, fields: Mapping[str, str] = THEIRS, **changes: Any) -> Suite:
    values: dict[str, Any] = {"codename": "fuse-trixie", "path": "/repository", "stanzas": STANZAS}
    return Suite(signer, fields=fields, **values | changes)


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("by_hash", [True, False])
def test_what_is_named_comes_from_there_and_nothing_else(
    web: Web, vendor: Signer, client: Callable[..., AptIndexClient], inline: bool, by_hash: bool
) -> None:
    suite(vendor, inline=inline, by_hash=by_hash).publish(web)
    fuse = source(vendor)
    archives = client(fuse).archives(TRIXIE)
    assert set(archives) == {("fuse-tool", "amd64"), ("openssl", "amd64")}
    assert [(one.version, one.source) for one in archives["openssl", "amd64"]] == [("3.0-1", None)]
    (tool,) = archives["fuse-tool", "amd64"]
    assert (tool.version, tool.suite, tool.source) == ("3.0", "fuse-trixie", fuse.pin)
    assert tool.url.startswith("https://apt.fuse.example/repository/pool/main/f/fuse-tool/")


def test_no_key_counts_for_another_repository(
    web: Web, signer: Signer, stranger: Signer, vendor: Signer, client: Callable[..., AptIndexClient]
) -> None:
    """Neither the distribution's for it, nor its own for the distribution, nor that of another source."""
    suite(signer).publish(web)
    with pytest.raises(Permanent, match="no valid signature of a key"):
        client(source(vendor)).archives(TRIXIE)
    suite(vendor).publish(web)
    suite(stranger, path="/second").publish(web)
    first = source(vendor)
    second = source(stranger, name="second", url="https://apt.fuse.example/second", packages=("other",))
    assert ("other", "amd64") in client(first, second).archives(TRIXIE)
    swapped = (first.model_copy(update={"key": second.key}), second.model_copy(update={"key": first.key}))
    for one in swapped:
        with pytest.raises(Permanent, match="no valid signature of a key"):
            client(one).archives(TRIXIE)
    Suite(vendor, stanzas=(stanza("openssl", "3.0-1"),)).publish(web)
    with pytest.raises(Permanent, match="/debian/dists/trixie/InRelease has no valid signature of a key"):
        client(first).archives(TRIXIE)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"Codename": "fuse-bookworm"}, "its Suite is nothing and not fuse-trixie"),
        ({"Codename": "", "Suite": "stable"}, "its Suite is stable and not fuse-trixie"),
        ({"Valid-Until": "Fri, 20 Nov 2026 10:00:00 UTC"}, "was valid until 2026-11-20"),
        ({"Date": "Fri, 27 Nov 2026 10:00:00 UTC"}, "in the future"),
    ],
)
def test_another_or_an_old_release_is_refused(
    web: Web, vendor: Signer, client: Callable[..., AptIndexClient], fields: dict[str, str], words: str
) -> None:
    suite(vendor, THEIRS | fields).publish(web)
    with pytest.raises(Permanent, match=words):
        client(source(vendor)).archives(TRIXIE)


def test_it_may_name_itself_by_its_suite_and_have_no_end(
    web: Web, vendor: Signer, client: Callable[..., AptIndexClient]
) -> None:
    suite(vendor, {"Origin": "", "Suite": "fuse-trixie", "Codename": "fuse", "Valid-Until": ""}).publish(web)
    assert ("fuse-tool", "amd64") in client(source(vendor)).archives(TRIXIE)


def test_it_takes_no_name_of_the_distributions(
    web: Web, vendor: Signer, client: Callable[..., AptIndexClient]
) -> None:
    suite(vendor).publish(web)
    with pytest.raises(Permanent, match="The distribution has openssl itself, so it is not taken from"):
        client(source(vendor, packages=("fuse-tool", "openssl"))).archives(TRIXIE)


def test_it_is_on_the_public_internet(vendor: Signer, client: Callable[..., AptIndexClient]) -> None:
    inside = source(vendor, url="https://metadata.internal/repository")
    asking = client(inside, transport=public.PublicTransport(http.trust()))
    with pytest.raises(Permanent, match=r"and metadata\.internal is a private name"):
        asking.archives(TRIXIE)


# --- flat repositories ------------------------------------------------------------------------------------------

FLAT = {"Origin": "Fuse Inc.", "Suite": "", "Codename": "", "Valid-Until": ""}


def flat(signer: Signer, where: str = "", **changes: Any) -> Suite:
    """As NVIDIA has them: no suite's name, archives beside the indexes, by ./NAME."""
    stanzas = (
        stanza("fuse-tool", "3.0", Filename="./fuse-tool_3.0_amd64.deb"),
        stanza("openssl", "9.9-1", Filename="./openssl_9.9-1_amd64.deb"),
    )
    values: dict[str, Any] = {"path": "/flat", "stanzas": stanzas, "fields": FLAT, "flat": where}
    return Suite(signer, **values | changes)


def flat_source(signer: Signer, suite: str = "./") -> AptSource:
    return source(signer, url="https://apt.fuse.example/flat", suite=suite, components=())


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("by_hash", [True, False])
@pytest.mark.parametrize(
    ("suite", "where"), [("./", ""), ("/", ""), ("debian13/x86_64/", "debian13/x86_64/")]
)
def test_a_flat_repository(
    web: Web,
    vendor: Signer,
    client: Callable[..., AptIndexClient],
    inline: bool,
    by_hash: bool,
    suite: str,
    where: str,
) -> None:
    flat(vendor, where, inline=inline, by_hash=by_hash).publish(web)
    archives = client(flat_source(vendor, suite)).archives(TRIXIE)
    assert set(archives) == {("fuse-tool", "amd64"), ("openssl", "amd64")}
    (tool,) = archives["fuse-tool", "amd64"]
    assert (tool.version, tool.source) == ("3.0", flat_source(vendor, suite).pin)
    assert tool.url == "https://apt.fuse.example/flat/fuse-tool_3.0_amd64.deb"
    assert archives["openssl", "amd64"][0].version == "3.0-1"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fields": FLAT | {"Date": "Fri, 27 Nov 2026 10:00:00 UTC"}}, "in the future"),
        ({"fields": FLAT | {"Valid-Until": "Fri, 20 Nov 2026 10:00:00 UTC"}}, "was valid until 2026-11-20"),
        # apt does not find it under that name either.
        ({"listed_as": "./"}, r"lists no Packages file with a sha256\."),
        ({"listed_as": "main/binary-amd64/"}, r"lists no Packages file with a sha256\."),
    ],
)
def test_a_flat_repository_is_held_to_the_same(
    web: Web, vendor: Signer, client: Callable[..., AptIndexClient], changes: dict[str, Any], words: str
) -> None:
    flat(vendor, **changes).publish(web)
    with pytest.raises(Permanent, match=words):
        client(flat_source(vendor)).archives(TRIXIE)


def test_a_flat_repositorys_index_and_key_are_proved(
    web: Web, vendor: Signer, stranger: Signer, client: Callable[..., AptIndexClient]
) -> None:
    flat(stranger, by_hash=False).publish(web)
    with pytest.raises(Permanent, match="no valid signature of a key"):
        client(flat_source(vendor)).archives(TRIXIE)
    flat(vendor, by_hash=False).publish(web)
    good = web.routes["/flat/Packages.xz"].body  # type: ignore[union-attr]
    web.routes["/flat/Packages.xz"] = Reply(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(Permanent, match="size and sha256 that the signed Release states"):
        client(flat_source(vendor)).archives(TRIXIE)


@pytest.mark.parametrize("name", ["../x.deb", "./../x.deb", "././x.deb", "/etc/x.deb"])
def test_no_name_of_a_file_leads_out_of_it(
    web: Web, vendor: Signer, client: Callable[..., AptIndexClient], name: str
) -> None:
    flat(vendor, stanzas=(stanza("fuse-tool", "3.0", Filename=name),)).publish(web)
    with pytest.raises(Permanent, match="without a sound"):
        client(flat_source(vendor)).archives(TRIXIE)
