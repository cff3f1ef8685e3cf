"""Points an outer VM at mirrors, where its operator names some; else it installs from what its image has."""

from __future__ import annotations

from pathlib import Path

from shared.guest.config import Sources
from shared.guest.failure import GuestError

_IMAGE_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
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
        if not sources.debian_key.lstrip().startswith(_ARMOR):
            raise GuestError(
                f"dmz-config.sources.debian_key must be an armored key, beginning with {_ARMOR}."
            )
        # apt tells an armored key from a binary one by the suffix (sources.list(5), Signed-By).
        path = etc / "apt/keyrings/dmz-mirror.asc"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(sources.debian_key, encoding="utf-8")
        keyring = str(path)
    folder = etc / "apt/sources.list.d"
    for each in (etc / "apt/sources.list", *folder.glob("*.list"), *folder.glob("*.sources")):
        each.unlink(missing_ok=True)
    code = release.get("VERSION_CODENAME", "")
    stanzas = [_stanza(sources.debian_mirror, f"{code} {code}-updates", keyring)]
    if sources.debian_security_mirror:
        stanzas.append(_stanza(sources.debian_security_mirror, f"{code}-security", keyring))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dmz-mirror.sources").write_text("\n".join(stanzas), encoding="utf-8")


def _stanza(url: str, suites: str, keyring: str) -> str:
    return f"Types: deb\nURIs: {url}\nSuites: {suites}\nComponents: main\nSigned-By: {keyring}\n"


def _os_release(path: Path) -> dict[str, str]:
    """os-release(5)."""
    pairs = (line.partition("=") for line in path.read_text("utf-8").splitlines() if "=" in line)
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
