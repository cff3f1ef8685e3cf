"""Keys, builds and envelopes for tests. Keys are made once: what a test needs is that they differ."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from shared.appraisal import dsse, statement
from shared.appraisal.builders import Builders
from shared.appraisal.votes import Vote, verify
from shared.model.image import BuiltImage, BuiltLayer, ImageLock, LockedInput
from shared.model.value import sha256

NOW = 1_800_000_000
DAY = 86_400
CONFIG = json.dumps({"architecture": "amd64", "config": {"Entrypoint": ["/pets/pets"]}, "os": "linux"})
REVISION = "0123456789abcdef0123456789abcdef01234567"
ALICE, BOB, CAROL = (f"https://builders.example/{name}" for name in ("alice", "bob", "carol"))


@cache
def key(name: str) -> Any:
    """A private key of that name; P-256 if the name begins with `p256`, else Ed25519."""
    return (
        ec.generate_private_key(ec.SECP256R1())
        if name.startswith("p256")
        else ed25519.Ed25519PrivateKey.generate()
    )


def pem(name: str) -> str:
    return public_pem(key(name).public_key())


def public_pem(public: Any) -> str:
    return public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def keyid(name: str) -> str:
    return dsse.keyid(key(name).public_key())


def sign(name: str, data: bytes) -> bytes:
    private = key(name)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return private.sign(data, ec.ECDSA(hashes.SHA256()))
    return private.sign(data)


def lock(image: str = "pets", *, inputs: int = 2) -> ImageLock:
    return ImageLock(
        image=image,
        resolved_from=sha256(b"spec"),
        inputs=tuple(
            LockedInput(
                role="wheel",
                name=f"w{n}",
                version="1.0",
                url=f"https://files.example/w{n}-1.0-py3-none-any.whl",
                sha256=sha256(f"wheel {n}".encode()),
                size=10,
            )
            for n in range(inputs)
        ),
    )


def built(
    what: bytes = b"image", config: str = CONFIG, *, codec: Any = "gzip", of: ImageLock | None = None
) -> BuiltImage:
    of = of or lock()
    layer = BuiltLayer(
        name="app", digest=sha256(what), diff_id=sha256(b"tar"), size=3, media_type="application/x"
    )
    return BuiltImage(
        name=of.image,
        manifest=sha256(what),
        config=sha256(config.encode()),
        layers=(layer,),
        lock=of.digest,
        codec=codec,
    )


def payload(builder: str = ALICE, what: bytes = b"image", *, at: int = NOW - 10, **more: Any) -> bytes:
    revision = more.pop("revision", REVISION)
    of = more.pop("of", None) or lock()
    return statement.statement(
        built(what, of=of, **more), of, revision, builder, started=at - 60, finished=at
    )


def envelope(of: bytes, *names: str) -> str:
    return dsse.envelope(of, tuple((keyid(name), sign(name, dsse.pae(of))) for name in names))


def policy(threshold: int = 2, **builders: Any) -> Builders:
    """Alice with one key, Bob with a P-256 key, Carol with two; `alice={"revoked": True}` and the like change them."""
    known = {
        "alice": (ALICE, ["alice"]),
        "bob": (BOB, ["p256 bob"]),
        "carol": (CAROL, ["carol", "p256 carol"]),
    }
    return Builders.check(
        {
            "threshold": threshold,
            "validity_seconds": 30 * DAY,
            "builders": [
                {"id": id, "keys": [pem(name) for name in names]} | builders.get(who, {})
                for who, (id, names) in known.items()
            ],
        },
        "The policy",
    )


KEY_OF = {ALICE: "alice", BOB: "p256 bob", CAROL: "carol"}


def vote(
    builder: str = ALICE, what: bytes = b"image", *, by: str = "", now: float = NOW, **more: Any
) -> Vote:
    """A vote that went through `verify`, under the policy of above."""
    made = payload(builder, what, **more)
    return verify(envelope(made, by or KEY_OF[builder]), policy(), now)
