"""The attestation stage and the chain before it, over the twins in memory, with builders and a data service played."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from functions.attestation import main, stage
from shared.appraisal import dsse
from shared.appraisal.builders import Builders
from shared.appraisal.statement import statement
from shared.delivery import Desk
from shared.errors import Permanent
from shared.events import Event
from shared.model.appraisal import AppraisalPolicy, AppraisalResult
from shared.model.image import BuiltImage, BuiltLayer
from shared.model.value import sha256
from tests.appraisal import forge
from tests.provenance import makers
from tests.stages.world import WORKLOAD, World

SERVICE = "aggregator"
SERVED = WORKLOAD.model_copy(update={"data_services": (SERVICE,)})
Answer = Callable[[dict[str, Any]], dict[str, Any] | None]
"""What a service hands in for a nonce-issued event; None is silence."""


class Key:
    """A signer whose key lies in the test."""

    key_id = makers.keyid("verifier")
    public_pem = makers.pem("verifier")

    def sign(self, data: bytes) -> bytes:
        return makers.sign("verifier", data)


def policy_for(service: str) -> AppraisalPolicy:
    if service not in (SERVICE, "second"):
        raise Permanent(f"There is no data service '{service}'.")
    return forge.policy_with(service=service, image=SERVICE)


@dataclass
class Attested(World):
    """`answer` is what each data service does with a nonce."""

    answer: Answer | None = None
    threshold: int = 2
    signer: Any = field(default_factory=Key)

    def __post_init__(self) -> None:
        self.shift = forge.NOW - time.time()
        self.builders: Builders = makers.policy(self.threshold)
        super().__post_init__()
        publish = self.bus.publish

        def heard(event: Event) -> None:
            publish(event)
            if event.type == "nonce-issued":
                self.serve(json.loads(event.body()))

        self.desks["attestation"] = replace(self.desks["attestation"], bus=_Heard(self.bus, heard))
        self.bus.subscribe("attestation", functools.partial(self._receive, self.desks["attestation"]))

    def then(self) -> float:
        """The attestation stage's clock: the forged tokens are of their own time."""
        return self.clock() + self.shift

    def _desks(self) -> list[Desk]:
        ports = stage.Ports(
            store=self.through("store", self.store),
            blobs=self.through("blobs", self.blobs),
            policies=policy_for,
            builders=lambda: self.builders,
            keys=lambda _token: forge.keys(),
            signer=self.signer,
            settings=self.settings,
            clock=self.then,
            secret=lambda: sha256(str(next(self._once)).encode())[7:55],
        )
        desk = main.desk(ports, self.through("bus", self.bus))
        return [*super()._desks(), replace(desk, lease=self.lease)]

    # --- what builders do ---

    def build(
        self, builder: str = makers.ALICE, what: bytes = b"manifest", config: str = forge.CONFIG, **more: Any
    ) -> None:
        """A builder says that the image came to `what`."""
        self.vote(self.statement(builder, what, config, **more), makers.KEY_OF[builder], config=config)

    def statement(
        self, builder: str, what: bytes, config: str, *, image: str = SERVICE, revision: str = "c0ffee"
    ) -> bytes:
        lock = makers.lock(image)
        layer = BuiltLayer(
            name="app", digest=sha256(what), diff_id=sha256(b"t"), size=3, media_type="application/x"
        )
        built = BuiltImage(
            name=image,
            manifest=sha256(what),
            config=sha256(config.encode()),
            layers=(layer,),
            lock=lock.digest,
            codec="gzip",
        )
        at = int(self.then()) - 10
        return statement(built, lock, revision, builder, started=at - 5, finished=at)

    def vote(self, said: bytes, key: str, *, config: str = forge.CONFIG, image: str = SERVICE) -> None:
        envelope = dsse.envelope(said, ((makers.keyid(key), makers.sign(key, dsse.pae(said))),))
        self.send("image-built", {"image": image, "envelope": envelope, "config": config})

    def agreed(self) -> None:
        self.build(makers.ALICE)
        self.build(makers.BOB)

    def references(self) -> list[dict[str, Any]]:
        return [fields for _, fields in self.store.find("references", "image", SERVICE)]

    # --- what services and relying parties do ---

    def send(self, topic: str, content: dict[str, Any], **attributes: str) -> None:
        self.bus.send(topic, json.dumps(content).encode(), attributes)
        self.quiet()

    def serve(self, issued: dict[str, Any]) -> None:
        handed = (self.answer or honest)(issued)
        if handed is not None:
            self.bus.send("attestation-requested", json.dumps(handed).encode(), {})

    def ask(self, service: str = SERVICE) -> dict[str, Any]:
        """A nonce for nobody's run; the last nonce-issued event."""
        self.send("nonce-requested", {"service": service})
        return dict(self.events("nonce-issued")[-1].model_dump(mode="json"))

    def hand_in(self, issued: dict[str, Any], token: str | None = None, **attributes: str) -> None:
        handed = honest(issued) | ({"token": token} if token is not None else {})
        self.send("attestation-requested", handed, **attributes)

    def appraised(self) -> list[Any]:
        return self.events("attestation-appraised")

    def result(self, told: Any) -> AppraisalResult:
        return AppraisalResult.read(self.blobs.get(told.result), "The result")


class _Heard:
    """The bus, with somebody who hears what is published."""

    def __init__(self, bus: Any, publish: Callable[[Event], None]) -> None:
        self._bus, self.publish = bus, publish

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)


def token(issued: dict[str, Any], change: Callable[[dict[str, Any]], None] | None = None) -> str:
    """What Confidential Space gives the right image for this nonce."""

    def with_nonce(claims: dict[str, Any]) -> None:
        claims["eat_nonce"] = issued["nonce"]
        if change:
            change(claims)

    return forge.pki(forge.claims(with_nonce))


def honest(issued: dict[str, Any]) -> dict[str, Any]:
    return {
        "run_id": issued["run_id"],
        "service": issued["service"],
        "nonce_id": issued["nonce_id"],
        "token": token(issued),
    }


def silent(_issued: dict[str, Any]) -> None:
    return None
