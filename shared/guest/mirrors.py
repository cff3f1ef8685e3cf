"""Points an outer VM at mirrors, where its operator names some; else it installs from what its image has.

Beside those it has the apt repositories that the workload names, each with its own key and for its own packages alone.
That keeps an honest machine from taking anything else from there; sync believes none of it (`shared.upstream.apt`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from shared.guest.config import AptSource, Sources
from shared.guest.failure import GuestError

_IMAGE_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/-]*", re.ASCII)
_FLAT = re.compile(r"(\./|[A-Za-z0-9][A-Za-z0-9._+/-]*/)", re.ASCII)
_URL = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?/[!-~]*", re.ASCII)
_ANY_URL = re.compile(r"https?://[A-Za-z0-9.:@%_-]+", re.ASCII)
_OURS = "dmz-source-"
_ARMOR = "-----BEGIN PGP PUBLIC KEY BLOCK-----"


def python(sources: Sources) -> tuple[dict[str, str], dict[str, str]]:
    """(keys of pip.conf, environment of uv)."""
    if not sources.python_index:
        return {}, {}
    return (
        {"index-url": sources.python_index, "extra-index-url": ""},
        {"UV_DEFAULT_INDEX": sources.python_index},
    )


def debian(sources: Sources, etc: Path = Path("/etc")) -> None:
    """Put the Debian mirror in the place of the image's apt sources; another distribution's stay as they are."""
    if not sources.debian_mirror:
        return
    release = _os_release(etc / "os-release")
    if release.get("ID") != "debian":
        return
    keyring = _IMAGE_KEYRING
    if sources.debian_key:
        keyring = _keyring(sources.debian_key, "dmz-mirror", "dmz-config.sources.debian_key", etc)
    folder = etc / "apt/sources.list.d"
    for each in (etc / "apt/sources.list", *folder.glob("*.list"), *folder.glob("*.sources")):
        each.unlink(missing_ok=True)
    code = release.get("VERSION_CODENAME", "")
    stanzas = [_stanza(sources.debian_mirror, f"{code} {code}-updates", keyring)]
    if sources.debian_security_mirror:
        stanzas.append(_stanza(sources.debian_security_mirror, f"{code}-security", keyring))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dmz-mirror.sources").write_text("\n".join(stanzas), encoding="utf-8")


def more(several: Sequence[AptSource], sources: Sources, etc: Path = Path("/etc")) -> None:
    """The workload's own repositories, beside the distribution's. GuestError if one cannot be written as it is."""
    configured = (urlsplit(url).hostname for url in (sources.debian_mirror, sources.debian_security_mirror))
    own = {*configured, *(_hosts(etc / "apt") if several else ())}
    for number, each in enumerate(several):
        where = f"dmz-config.workload.apt_sources[{number}]"
        words = (each.name, *each.components, *each.packages)
        sound = (_PLAIN if each.components else _FLAT).fullmatch(each.suite)
        if not (_URL.fullmatch(each.url) and sound and all(_PLAIN.fullmatch(word) for word in words)):
            raise GuestError(f"{where} has an address or a name that apt's configuration cannot hold.")
        name = f"{_OURS}{each.name}"
        keyring = _keyring(each.key, name, f"{where}.key", etc)
        # apt would ask for URL/./Release, which not every server takes for URL/Release.
        suite = "/" if each.suite == "./" else each.suite
        text = _stanza(each.url, suite, keyring, " ".join(each.components))
        _write(etc / f"apt/sources.list.d/{name}.sources", text)
        host = urlsplit(each.url).hostname
        # A pin goes by host: one that serves the distribution as well would lose that, too.
        if host not in own:
            _write(etc / f"apt/preferences.d/{name}", _pins(host or "", each.packages))


def _hosts(apt: Path) -> set[str | None]:
    """Those that apt installs from: its sources, and the lists of mirrors that these may name."""
    files = (apt / "sources.list", *apt.glob("sources.list.d/*"), *apt.glob("mirrors/*"))
    others = (file for file in files if file.is_file() and not file.name.startswith(_OURS))
    texts = (file.read_text("utf-8", "replace") for file in others)
    return {urlsplit(url).hostname for text in texts for url in _ANY_URL.findall(text)}


def _pins(host: str, packages: Sequence[str]) -> str:
    """apt_preferences(5): what is named may come from there, nothing else does; the named form wins."""
    pairs = ((" ".join(packages), 500), ("*", -1))
    return "\n".join(
        f'Package: {names}\nPin: origin "{host}"\nPin-Priority: {rank}\n' for names, rank in pairs
    )


def _keyring(key: str, name: str, where: str, etc: Path) -> str:
    """Path of the key's own file; apt tells an armored one from a binary one by the suffix (sources.list(5))."""
    if not key.lstrip().startswith(_ARMOR):
        raise GuestError(f"{where} must be an armored key, beginning with {_ARMOR}.")
    path = etc / f"apt/keyrings/{name}.asc"
    _write(path, key)
    return str(path)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _stanza(url: str, suites: str, keyring: str, components: str = "main") -> str:
    # A flat repository has none, and apt takes the field for a mistake there (sources.list(5)).
    of = f"Components: {components}\n" if components else ""
    return f"Types: deb\nURIs: {url}\nSuites: {suites}\n{of}Signed-By: {keyring}\n"


def _os_release(path: Path) -> dict[str, str]:
    """os-release(5)."""
    pairs = (line.partition("=") for line in path.read_text("utf-8").splitlines() if "=" in line)
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
