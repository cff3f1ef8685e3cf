"""The data services of a workload on this machine: built by two builders, pushed, launched in Confidential Space.

What Cloud Build, a rebuilder and Terraform do on Google Cloud: each builder builds from the spec and its lock with a
cache of its own, signs what came of it and publishes `image-built`; the image goes to the private repository; a VM with
a subscription of its own is created from the image by digest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from functions.local import project
from functions.local.layout import Layout
from functions.local.platform import Platform
from functions.local.pubsub import PubSub
from functions.local.sending import send
from functions.local.tamper import tamper
from functions.local.trust import BUILDERS, trust
from shared import journal
from shared.appraisal.signer import signed
from shared.appraisal.statement import statement
from shared.errors import Permanent, Transient
from shared.events import ImageBuilt
from shared.image import make
from shared.image import spec as specs
from shared.image.registry import Registry
from shared.image.registry_logins import with_token
from shared.image.registry_reference import Reference
from shared.image.revision import tree
from shared.model.value import printable
from shared.settings import Settings, read

Show = Callable[[str], None]
_SECONDS = 60.0
_FAMILY = "projects/confidential-space-images/global/images/family/confidential-space"


@dataclass(frozen=True)
class Services:
    """Brings data services up on one platform."""

    layout: Layout
    up: Platform

    def bring_up(self, name: str, tampered: bool, show: Show) -> str:
        """Build, push and launch one service; the digest of the image that runs.

        A service that runs already from the same image is left alone. `tampered`: what is launched differs by one
        byte from what was built.
        """
        images = self.layout.home / "images"
        made = [self._built(name, builder, images, show) for builder in BUILDERS]
        layout, digest = made[0].layout, made[0].built.manifest
        if tampered:
            layout = images / f"{name}-tampered"
            digest = tamper(made[0].layout, layout)
        show("pushing the image")
        reference = Reference.parse(self._repository(name)).at(digest)
        self._registry().push(layout, reference)
        self._launch(name, str(reference), show)
        return digest

    def _built(self, name: str, builder: str, images: Path, show: Show) -> make.Made:
        """One builder's build, and its signed statement published."""
        who = builder.rsplit(":", 1)[-1]
        began = time.time()
        made = make.make(
            name,
            images / f"{name}-{who}",
            self.layout.cache / "images" / who,
            show=lambda words: show(f"{who} builds: {words}"),
        )
        said = statement(
            made.built,
            made.lock,
            tree(made.spec, specs.find(name)),
            builder,
            started=began,
            finished=time.time(),
        )
        envelope = signed(said, trust(self.layout).signer(builder))
        data = ImageBuilt(image=name, envelope=envelope, config=made.config_json)
        send(self.up, "image-built", data.canonical(), {})
        return made

    @property
    def _settings(self) -> Settings:
        return read(self.up.environment)

    def _repository(self, name: str) -> str:
        settings = self._settings
        return (
            f"{settings.location}-docker.pkg.dev/{self.up.project}/{settings.image_repository}/{name}:latest"
        )

    def _registry(self) -> Registry:
        host = f"{self._settings.location}-docker.pkg.dev"
        return Registry(with_token(self._token), {host: self._settings.registry_endpoint})

    def _token(self) -> str:
        return (self.layout.gcloud / "operator.token").read_text()

    def _launch(self, name: str, reference: str, show: Show) -> None:
        """A Confidential VM as `gcloud compute instances create` makes it, unless the same one is there."""
        nonces = (project.nonces_of(name), "nonce-issued", project.own_nonces(name))
        if place := journal.directory(self.up.environment):
            journal.subscribed(place, *nonces)
        PubSub(self.up.addresses["pubsub"], self.up.project).subscribe(*nonces)
        vm, wanted = f"data-{name.replace('_', '-')}", self._instance(name, reference)
        headers = {"Authorization": f"Bearer {self._token()}"}
        with httpx.Client(base_url=self._zone, headers=headers, timeout=30, trust_env=False) as client:
            there = client.get(f"/instances/{vm}")
            if there.status_code == 200:
                if there.json()["status"] == "RUNNING" and _image(there.json()) == reference:
                    return
                show("replacing the service that ran before")
                _finish(client, client.delete(f"/instances/{vm}"))
            show("launching the service in Confidential Space")
            _finish(client, client.post("/instances", json={"name": vm, **wanted}))
            _await(client, vm)

    @property
    def _zone(self) -> str:
        address, zone = self.up.addresses["confidential-space"], self._settings.zone
        return f"http://{address}/compute/v1/projects/{self.up.project}/zones/{zone}"

    def _instance(self, name: str, reference: str) -> dict[str, Any]:
        variables = {
            "DMZ_SERVICE": name,
            "DMZ_PROJECT": self.up.project,
            "DMZ_SUBSCRIPTION": project.nonces_of(name),
        }
        metadata = {
            "tee-image-reference": reference,
            "tee-container-log-redirect": "true",
            **{f"tee-env-{key}": value for key, value in variables.items()},
        }
        return {
            "machineType": f"zones/{self._settings.zone}/machineTypes/c3-standard-4",
            "confidentialInstanceConfig": {"confidentialInstanceType": "TDX"},
            "shieldedInstanceConfig": {"enableSecureBoot": True},
            "disks": [{"boot": True, "initializeParams": {"sourceImage": _FAMILY}}],
            "serviceAccounts": [
                {
                    "email": project.data_account(name),
                    "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
                }
            ],
            "metadata": {"items": [{"key": key, "value": value} for key, value in metadata.items()]},
        }


def _image(instance: dict[str, Any]) -> str:
    items = instance.get("metadata", {}).get("items", [])
    return next((str(item["value"]) for item in items if item["key"] == "tee-image-reference"), "")


def _finish(client: httpx.Client, answer: httpx.Response) -> None:
    """Wait for a zone operation; its error as one sentence."""
    deadline = time.monotonic() + _SECONDS
    while True:
        content = answer.json()
        if trouble := content.get("error"):
            raise Permanent(f"Confidential Space refused: {printable(_said(trouble), 500)}")
        if content.get("status", "DONE") == "DONE":
            return
        if time.monotonic() > deadline:
            raise Transient(f"Confidential Space did not finish within {_SECONDS:.0f} s.")
        time.sleep(0.05)
        answer = client.get(f"/operations/{content['name']}")


def _await(client: httpx.Client, vm: str) -> None:
    """Until the VM's container runs; Permanent with the launcher's last words if it never will."""
    deadline = time.monotonic() + _SECONDS
    while (state := client.get(f"/instances/{vm}").json()["status"]) != "RUNNING":
        if state == "TERMINATED":
            lines = client.get(f"/instances/{vm}/serialPort").json()["contents"].strip().splitlines()
            said = printable(" ".join(lines[-3:]), 600)
            raise Permanent(f"The launcher in Confidential Space gave up: {said}")
        if time.monotonic() > deadline:
            raise Transient(f"The VM {vm} did not start within {_SECONDS:.0f} s; it is {state}.")
        time.sleep(0.05)


def _said(error: dict[str, Any]) -> str:
    """https://cloud.google.com/compute/docs/reference/rest/v1/zoneOperations, and Google's JSON error form."""
    several = error.get("errors") or [error]
    return "; ".join(str(each.get("message", each)) for each in several)
