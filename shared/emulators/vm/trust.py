"""The certificates that a VM trusts: its image's, the host's, and the local CA.

The host's are there because some networks end TLS at a proxy of their own; a machine that works there trusts it. Every
extra certificate is also a file in /usr/local/share/ca-certificates, so that `update-ca-certificates` keeps it.
"""

import hashlib
import re
import ssl
from collections.abc import Iterable

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


def _certificates(bundle: str) -> Iterable[str]:
    return (match[0].rstrip("\n") + "\n" for match in _PEM.finditer(bundle))


def _fingerprint(pem: str) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
