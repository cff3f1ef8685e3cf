"""The certificates that a VM trusts: its image's, the host's, and the local CA.

The host's are there because some networks end TLS at a proxy of their own; a machine that works there trusts it. Every
extra certificate is also a file in /usr/local/share/ca-certificates, so that `update-ca-certificates` keeps it.
"""

import hashlib
import os
import re
import ssl
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from cryptography import x509

from shared.emulators.vm import within
from shared.image.certificates import key_store

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
LOCAL_AUTHORITY = "/usr/local/share/ca-certificates/package-dmz-local.crt"
# uv, requests and grpcio bring their own roots unless told; curl, apt, urllib and pip take the system's.
ENVIRONMENT = {
    "SSL_CERT_FILE": BUNDLE,
    "REQUESTS_CA_BUNDLE": BUNDLE,
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": BUNDLE,
}
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)


def files(image_bundle: str, host_bundle: str, authority: str) -> dict[str, str]:
    """Guest path to content: the system bundle and one file for each certificate that the image does not have."""
    known = {_fingerprint(pem) for pem in _certificates(image_bundle)}
    extra = {}
    for pem in _certificates(host_bundle):
        if (fingerprint := _fingerprint(pem)) not in known:
            extra[f"/usr/local/share/ca-certificates/host-{fingerprint[:16]}.crt"] = pem
    extra[LOCAL_AUTHORITY] = authority
    return {BUNDLE: image_bundle + "".join(extra.values()), **extra}


def stores(root: Path, host_bundle: Path, authority: str) -> dict[str, bytes]:
    """For the container image unpacked at `root`: guest path to content of each place where its programs look for
    roots. On Google Cloud nothing of the kind is needed; here the environment, which a token reports, must not change.

    The system's bundle, the name by which OpenSSL finds the authority beside it, and what the image itself has:
    certifi's and grpc's lists, the JDK's `cacerts`. Nothing but certificates is taken over from the image.
    """
    host = host_bundle.read_text(encoding="utf-8") if host_bundle.exists() else ""
    own = _text(root, BUNDLE)
    found = {
        BUNDLE: _joined(own, host, authority).encode(),
        f"/etc/ssl/certs/{_subject_hash(authority)}.0": authority.encode(),
    }
    for place, kind in _stores(root):
        if kind == "pem":
            found[f"/{place}"] = _joined(_text(root, place), host, authority).encode()
        else:
            found[_target(root, place)] = key_store(_named(_joined(own, host, authority)))
    return found


def has_bundle(root: Path) -> bool:
    """Whether the image has a system bundle, be it by a link."""
    return os.path.lexists(root / BUNDLE.lstrip("/"))


def _text(root: Path, place: str) -> str:
    return (within.read(root, place) or b"").decode("utf-8", "replace")


def _joined(present: str, host: str, authority: str) -> str:
    kept = list(_certificates(present))
    known = {_fingerprint(pem) for pem in kept}
    extra = [pem for pem in _certificates(host) if _fingerprint(pem) not in known]
    return "".join((*kept, *extra, authority))


def _named(bundle: str) -> dict[str, bytes]:
    return {f"root-{number}.crt": pem.encode() for number, pem in enumerate(_certificates(bundle))}


def _subject_hash(pem: str) -> str:
    """As `openssl x509 -hash`: SHA-1 over the subject's canonical encoding, for a subject of one common name."""
    (attribute,) = x509.load_pem_x509_certificate(pem.encode()).subject
    value = " ".join(str(attribute.value).lower().split()).encode()
    common_name = b"\x06\x03\x55\x04\x03"
    text = b"\x0c" + bytes([len(value)]) + value
    pair = b"\x30" + bytes([len(common_name + text)]) + common_name + text
    digest = hashlib.sha1(b"\x31" + bytes([len(pair)]) + pair, usedforsecurity=False).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}"


def _stores(root: Path) -> Iterator[tuple[str, str]]:
    for directory, _, names in os.walk(root):
        place = os.path.relpath(directory, root)
        if "cacert.pem" in names and place.endswith("/certifi"):
            yield f"{place}/cacert.pem", "pem"
        elif "roots.pem" in names and place.endswith("/grpc/_cython/_credentials"):
            yield f"{place}/roots.pem", "pem"
        elif "cacerts" in names and place.endswith("/lib/security"):
            yield f"{place}/cacerts", "java"


def _target(root: Path, place: str) -> str:
    """Debian's JDK links its `cacerts` into /etc/ssl/certs/java, where a script makes it that images do not run."""
    path = root / place
    if not path.is_symlink():
        return f"/{place}"
    return os.path.normpath(PurePosixPath("/", place).parent / path.readlink())


def _certificates(bundle: str) -> Iterable[str]:
    return (match[0].rstrip("\n") + "\n" for match in _PEM.finditer(bundle))


def _fingerprint(pem: str) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
