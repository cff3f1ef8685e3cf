"""The OpenPGP signatures that apt asks for, made from an RSA key: RFC 4880.

Written out here because gpg keeps its secret keys in a daemon of its own, which outlives a killed emulator. The packets
are the classic version 4 ones, which gpgv (Debian up to 12, Ubuntu) and sqv (Debian 13) both accept.
"""

import base64
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

_RSA = 1
_SHA512 = 10
_BINARY, _TEXT, _POSITIVE_CERTIFICATION = 0x00, 0x01, 0x13
_SIGNATURE, _PUBLIC_KEY, _USER_ID = 2, 6, 13
_MAY_CERTIFY_AND_SIGN = 0x03


@dataclass(frozen=True)
class SigningKey:
    """A key pair and its birthday (seconds since 1970), which is part of its fingerprint."""

    private: rsa.RSAPrivateKey
    created: int
    user_id: str

    @classmethod
    def load(cls, path: Path, user_id: str) -> "SigningKey":
        """The key kept in `path`, readable by its owner only; made on first use."""
        if not path.exists():
            _write_key(path)
        content = json.loads(path.read_text())
        # Nobody but this process writes the file, and checking the key's primes takes a tenth of a second.
        private = serialization.load_pem_private_key(
            content["pem"].encode(), None, unsafe_skip_rsa_key_validation=True
        )
        if not isinstance(private, rsa.RSAPrivateKey):
            raise TypeError(f"{path} holds no RSA key")
        return cls(private, content["created"], user_id)

    def fingerprint(self) -> bytes:
        """20 bytes: section 12.2."""
        return hashlib.sha1(_for_hashing(self._public_body()), usedforsecurity=False).digest()

    def public_key(self) -> bytes:
        """The transferable public key, armored: sections 11.1 and 6.2."""
        user = self.user_id.encode()
        certified = _for_hashing(self._public_body()) + b"\xb4" + len(user).to_bytes(4, "big") + user
        signature = self._signature(_POSITIVE_CERTIFICATION, certified, self.created)
        content = _packet(_PUBLIC_KEY, self._public_body()) + _packet(_USER_ID, user) + signature
        return _armor("PUBLIC KEY BLOCK", content)

    def detached(self, content: bytes, now: int) -> bytes:
        """A signature of `content`, armored, as in Release.gpg."""
        return _armor("SIGNATURE", self._signature(_BINARY, content, now))

    def clear_signed(self, text: str, now: int) -> bytes:
        """`text`, which must end with a newline, wrapped in its signature, as in InRelease: section 7."""
        lines = [line.rstrip(" \t") for line in text.removesuffix("\n").split("\n")]
        signature = self._signature(_TEXT, "\r\n".join(lines).encode(), now)
        escaped = "".join(("- " if line.startswith("-") else "") + line + "\n" for line in lines)
        head = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n"
        return (head + escaped).encode() + _armor("SIGNATURE", signature)

    def _public_body(self) -> bytes:
        numbers = self.private.public_key().public_numbers()
        return b"\x04" + self.created.to_bytes(4, "big") + bytes([_RSA]) + _mpi(numbers.n) + _mpi(numbers.e)

    def _signature(self, kind: int, content: bytes, now: int) -> bytes:
        """A version 4 signature packet: section 5.2.3."""
        fingerprint = self.fingerprint()
        hashed = _subpacket(2, now.to_bytes(4, "big")) + _subpacket(33, b"\x04" + fingerprint)
        if kind == _POSITIVE_CERTIFICATION:
            hashed += _subpacket(27, bytes([_MAY_CERTIFY_AND_SIGN])) + _subpacket(21, bytes([_SHA512]))
        unhashed = _subpacket(16, fingerprint[-8:])
        head = bytes([4, kind, _RSA, _SHA512]) + len(hashed).to_bytes(2, "big") + hashed
        signed = content + head + b"\x04\xff" + len(head).to_bytes(4, "big")
        value = self.private.sign(signed, padding.PKCS1v15(), hashes.SHA512())
        check = hashlib.sha512(signed).digest()[:2]
        body = head + len(unhashed).to_bytes(2, "big") + unhashed + check + _mpi(int.from_bytes(value, "big"))
        return _packet(_SIGNATURE, body)


def _write_key(path: Path) -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_text(json.dumps({"created": int(time.time()), "pem": pem.decode()}))
    partial.replace(path)


def _for_hashing(key_body: bytes) -> bytes:
    return b"\x99" + len(key_body).to_bytes(2, "big") + key_body


def _mpi(number: int) -> bytes:
    bits = number.bit_length()
    return bits.to_bytes(2, "big") + number.to_bytes((bits + 7) // 8, "big")


def _subpacket(kind: int, content: bytes) -> bytes:
    return bytes([len(content) + 1, kind]) + content


def _packet(tag: int, body: bytes) -> bytes:
    """New-format framing: section 4.2.2."""
    size = len(body)
    if size < 192:
        length = bytes([size])
    elif size < 8384:
        length = bytes([((size - 192) >> 8) + 192, (size - 192) & 0xFF])
    else:
        length = b"\xff" + size.to_bytes(4, "big")
    return bytes([0xC0 | tag]) + length + body


def _armor(kind: str, content: bytes) -> bytes:
    text = base64.b64encode(content).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    check = base64.b64encode(_crc24(content).to_bytes(3, "big")).decode()
    parts = [f"-----BEGIN PGP {kind}-----", "", *lines, f"={check}", f"-----END PGP {kind}-----", ""]
    return "\n".join(parts).encode()


def _crc24(content: bytes) -> int:
    """Section 6.1."""
    crc = 0xB704CE
    for byte in content:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return crc
