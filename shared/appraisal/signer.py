"""Who signs a builder's statements: the interface, and keys in files. Keys in Cloud KMS: shared/gcp/kms.py."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from shared.appraisal import dsse
from shared.errors import Permanent
from shared.model.value import printable

_MAX_FILE = 10_000
_Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


class Signer(Protocol):
    """A private key, wherever it lies."""

    @property
    def key_id(self) -> str:
        """`sha256:` and the SHA-256 of the public key (dsse.keyid)."""
        ...

    @property
    def public_pem(self) -> str:
        """The public key, as a policy of builders takes it."""
        ...

    def sign(self, data: bytes) -> bytes:
        """A signature over `data`: Ed25519 (RFC 8032), or ECDSA on P-256 over SHA-256 in DER (RFC 3279, 2.2.3)."""
        ...


class FileSigner:
    """A private key in a PEM file (PKCS #8) that nobody but its owner can read."""

    def __init__(self, path: Path) -> None:
        self._private = _read(path)

    @property
    def key_id(self) -> str:
        return dsse.keyid(self._private.public_key())

    @property
    def public_pem(self) -> str:
        return _public_pem(self._private)

    def sign(self, data: bytes) -> bytes:
        if isinstance(self._private, ed25519.Ed25519PrivateKey):
            return self._private.sign(data)
        return self._private.sign(data, ec.ECDSA(hashes.SHA256()))


def signed(payload: bytes, signer: Signer) -> str:
    """The envelope of `payload` under one signature. It is verified before it leaves: a signer may be far away."""
    signature = signer.sign(dsse.pae(payload))
    key = dsse.public_key(signer.public_pem, "The signer's public key")
    if key.keyid != signer.key_id or not key.verifies(signature, payload):
        raise Permanent(
            f"The signer {signer.key_id} made a signature that its own public key does not verify."
        )
    return dsse.envelope(payload, ((signer.key_id, signature),))


def new_key(path: Path) -> FileSigner:
    """Make an Ed25519 key in a new file (mode 0600) that only the owner can read; Permanent if something is there."""
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        # O_EXCL: an existing key is never overwritten, a link never followed; the mode holds from the first moment on.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
    except FileExistsError as error:
        raise Permanent(f"{path} exists already; a key is never overwritten: name a new file.") from error
    except OSError as error:
        raise Permanent(f"The key {path} cannot be written: {error.strerror}.") from error
    return FileSigner(path)


def _read(path: Path) -> _Private:
    """1. A regular file. 2. Nobody but its owner may read or change it. 3. One key of a kind that counts."""
    try:
        # Not blocking: a pipe must be refused, not waited for.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            # Asked of what was opened, not of the path: nobody can exchange the file in between.
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):  # 1
                raise Permanent(f"The key {path} is not a regular file.")
            if found.st_mode & 0o077:  # 2
                raise Permanent(
                    f"The key {path} can be read or changed by others (mode {stat.S_IMODE(found.st_mode):04o}); "
                    f"make a new one, or, if nobody has read it, chmod 600 {path}."
                )
            pem = file.read(_MAX_FILE)
    except OSError as error:
        raise Permanent(f"The key {path} cannot be read: {error.strerror}.") from error
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise Permanent(
            f"The key {path} is encrypted; give one without a password, or one in Cloud KMS."
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Permanent(
            f"The key {path} is no private key in PEM: {printable(str(error), 200)}; make one with --new-key."
        ) from error
    if isinstance(key, ed25519.Ed25519PrivateKey):  # 3
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise Permanent(f"The key {path} is neither Ed25519 nor ECDSA on P-256; make one with --new-key.")


def _public_pem(private: _Private) -> str:
    return (
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
