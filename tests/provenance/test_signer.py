"""Keys in files: made for their owner alone, read from nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from shared.appraisal import dsse
from shared.appraisal.signer import FileSigner, new_key, signed
from shared.errors import Permanent
from tests.provenance.makers import key, keyid, pem


def private_pem(private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, password: bytes = b"") -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def kept(tmp_path: Path, content: bytes, mode: int = 0o600) -> Path:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_new_key_signs(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    before = os.umask(0)
    try:
        made = new_key(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    again = FileSigner(path)
    assert again.key_id == made.key_id == dsse.public_key(made.public_pem, "The key").keyid
    ((found, signature),) = dsse.read(signed(b"payload", again)).signatures
    assert found == made.key_id
    assert dsse.public_key(made.public_pem, "The key").verifies(signature, b"payload")


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    first = new_key(path).key_id
    with pytest.raises(Permanent, match="exists already"):
        new_key(path)
    (tmp_path / "link.pem").symlink_to(tmp_path / "elsewhere.pem")
    with pytest.raises(Permanent, match="exists already"):
        new_key(tmp_path / "link.pem")
    assert not (tmp_path / "elsewhere.pem").exists()
    assert FileSigner(path).key_id == first


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="cannot be written"):
        new_key(tmp_path / "none" / "key.pem")


@pytest.mark.parametrize("name", ["alice", "p256 bob"])
def test_both_kinds_of_key(name: str, tmp_path: Path) -> None:
    found = FileSigner(kept(tmp_path, private_pem(key(name))))
    assert (found.key_id, found.public_pem) == (keyid(name), pem(name))
    assert signed(b"payload", found)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666])
def test_a_key_that_others_can_read_or_change(mode: int, tmp_path: Path) -> None:
    with pytest.raises(Permanent, match=f"mode 0{mode:o}"):
        FileSigner(kept(tmp_path, private_pem(key("alice")), mode))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no private key"),
        (pem("alice").encode(), "no private key"),
        (private_pem(key("alice"), b"secret"), "is encrypted"),
        (private_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)), "neither"),
        (private_pem(ec.generate_private_key(ec.SECP384R1())), "neither"),
    ],
)
def test_what_is_no_key(content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(Permanent, match=said):
        FileSigner(kept(tmp_path, content))


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="cannot be read"):
        FileSigner(tmp_path / "none.pem")
    with pytest.raises(Permanent, match=r"The key .*"):
        FileSigner(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(Permanent, match="not a regular file"):
        FileSigner(tmp_path / "pipe")


class Elsewhere:
    """A signer that says of itself what `key_id` and `public_pem` are, and signs with Alice's key."""

    def __init__(self, id_of: str, pem_of: str) -> None:
        self.key_id, self.public_pem = keyid(id_of), pem(pem_of)

    def sign(self, data: bytes) -> bytes:
        return key("alice").sign(data)


def test_a_wrong_signature_never_leaves() -> None:
    assert signed(b"payload", Elsewhere("alice", "alice"))
    for id_of, pem_of in (("carol", "alice"), ("alice", "carol"), ("carol", "carol")):
        with pytest.raises(Permanent, match="does not verify"):
            signed(b"payload", Elsewhere(id_of, pem_of))
