"""The local project: accounts, who may do what, repositories, networks. What Terraform makes on Google Cloud."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from functions.local.layout import Layout
from shared.emulators.ca import ZONES
from shared.errors import Permanent
from shared.events import SUBSCRIBERS, WITH_TOKENS
from shared.image import spec as image_specs
from shared.model import prices
from shared.model.package import CODENAMES
from shared.model.value import printable
from shared.settings import Settings, read

PROJECT = "dmz-local"
STAGES = tuple(SUBSCRIBERS)
OPERATOR = "operator"
CONSOLE = "console"
"""Serves pages, and takes no event."""
_DOWNLOADS = "artifactregistry.googleapis.com"
_RESERVATION = re.compile(r"([a-z]+-[a-z]+[0-9]+-[a-z])/([a-z][a-z0-9-]{0,62})=([1-9][0-9]{0,3})", re.ASCII)
_LOOPBACK = re.compile(r"http://127\.0\.0\.1:[0-9]{1,5}", re.ASCII)
# Foreign credentials and endpoints stay outside: the platform's processes talk to the platform alone.
_DROPPED = (
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_API_USE_CLIENT_CERTIFICATE",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHOME",
    "VIRTUAL_ENV",
)


def account(name: str) -> str:
    """E-mail of a service account of the local project."""
    return f"{name}@{PROJECT}.iam.gserviceaccount.com"


def data_account(service: str) -> str:
    """Each data service in Confidential Space runs as an account of its own (terraform/inner/accounts.tf)."""
    return account(f"data-{service.replace('_', '-')}")


def number() -> int:
    """The project's number, which the metadata server gives."""
    return 100_000_000_000 + zlib.crc32(PROJECT.encode())


def settings(environment: Mapping[str, str], *, tpu: int, registry: int, console: int = 0) -> Settings:
    """What the stages are configured with: the user's DMZ_ variables, and the platform's own addresses over them."""
    given = read({**environment, "GOOGLE_CLOUD_PROJECT": PROJECT})
    return replace(
        given,
        outer_service_account=account("outer-vm"),
        inner_service_account=account("inner-vm"),
        tpu_endpoint=f"127.0.0.1:{tpu}",
        registry_endpoint=f"http://127.0.0.1:{registry}",
        sealed_by="sealed by the VM's own network namespace, which has no route",
        console=given.console or (f"http://127.0.0.1:{console}" if console else ""),
    )


def base_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What every process of the platform inherits of the user's environment."""
    kept = {
        name: value
        for name, value in environment.items()
        if name not in _DROPPED and not name.startswith(("CLOUDSDK_", "DMZ_", "GCE_METADATA_", "FUNCTION_"))
    }
    return kept | bypass(environment)


def bypass(environment: Mapping[str, str]) -> dict[str, str]:
    """Loopback is never behind a proxy; gRPC and httpx would ask one that the user has."""
    given = environment.get("no_proxy") or environment.get("NO_PROXY")
    hosts = ",".join(filter(None, (given, "127.0.0.1,localhost")))
    return {"no_proxy": hosts, "NO_PROXY": hosts}


def registry_config(layout: Layout, settings: Settings, port: int) -> dict[str, Any]:
    """Configuration of the Artifact Registry emulator. Nobody may read what he does not need."""
    private = (settings.python_repository, *CODENAMES.values(), settings.generic_repository)
    formats = ("PYTHON", *("APT" for _ in CODENAMES), "GENERIC")
    operator, sync = account(OPERATOR), account("sync")
    iam = {
        name: {
            "reader": [settings.account("inner"), operator],
            "writer": [sync],
            "packageDmzEvictor": [sync, operator],
        }
        for name in private
    }
    iam[settings.staging_repository] = {"reader": [settings.account("outer"), sync], "writer": [operator]}
    repositories = [{"name": name, "format": kind} for name, kind in zip(private, formats, strict=True)]
    repositories.append({"name": settings.staging_repository, "format": "GENERIC"})
    services = [data_account(name) for name in image_specs.data_services()]
    iam[settings.image_repository] = {"reader": services, "writer": [operator]}
    repositories.append({"name": settings.image_repository, "format": "DOCKER"})
    return {
        "listen": f"127.0.0.1:{port}",
        "port_file": os.fspath(layout.configs / "registry.port"),
        "state_dir": os.fspath(layout.registry),
        "token_key": os.fspath(layout.token_key),
        "project": settings.project,
        "location": settings.location,
        "repositories": repositories,
        "iam": iam,
    }


def tpu_config(
    environment: Mapping[str, str], layout: Layout, settings: Settings, port: int, pubsub: str
) -> dict[str, Any]:
    """Configuration of the TPU API emulator: each VM may publish the one event that it reports with."""
    registry = settings.registry_endpoint
    mirrors = outer_hosts(environment)
    return {
        "listen": f"127.0.0.1:{port}",
        "port_file": os.fspath(layout.configs / "tpu.port"),
        "rest_listen": "127.0.0.1:0",
        "rest_port_file": os.fspath(layout.configs / "tpu-rest.port"),
        "state_dir": os.fspath(layout.machines),
        "cache_dir": os.fspath(layout.cache),
        "token_key": os.fspath(layout.token_key),
        "project": settings.project,
        "networks": {
            # The outer VM fetches the user's own wheels; the private repositories are nothing to it.
            settings.outer_network: {
                "kind": "outer",
                "hosts": [_DOWNLOADS, *mirrors],
                "internet": _outer_internet(environment),
            },
            settings.inner_network: "inner",
        },
        "service_accounts": {
            settings.account(kind): [f"projects/{settings.project}/topics/{kind}-install-completed"]
            for kind in ("outer", "inner")
        },
        "backends": {
            f"{settings.location}-python.pkg.dev": registry,
            f"{settings.location}-apt.pkg.dev": registry,
            _DOWNLOADS: registry,
            **mirrors,
        },
        **_shortages(environment),
        **_reservations(environment),
        **_max_hosts(environment),
        "pubsub": f"http://{pubsub}",
    }


def confidential_space_config(
    layout: Layout, settings: Settings, port: int, issuer: int, pubsub: str, authority: Path
) -> dict[str, Any]:
    """Configuration of the Confidential Space emulator: a service reads its own nonces and hands in tokens."""
    resource = f"projects/{settings.project}"
    may = {
        data_account(name): {
            "publish": [f"{resource}/topics/{WITH_TOKENS}"],
            "pull": [f"{resource}/subscriptions/{nonces_of(name)}"],
        }
        for name in image_specs.data_services()
    }
    return {
        "listen": f"127.0.0.1:{port}",
        "issuer_listen": f"127.0.0.1:{issuer}",
        "state_dir": os.fspath(layout.home / "confidential-space"),
        "ca_dir": os.fspath(authority),
        "token_key": os.fspath(layout.token_key),
        "project": settings.project,
        "project_number": number(),
        "zone": settings.zone,
        "service_accounts": may,
        "operators": [account(OPERATOR)],
        "registries": {f"{settings.location}-docker.pkg.dev": settings.registry_endpoint},
        "pubsub": f"http://{pubsub}",
    }


def nonces_of(service: str) -> str:
    """The subscription by which a data service learns what to prove."""
    return f"{service}--nonce-issued"


def own_nonces(service: str) -> str:
    """The filter of that subscription: another service could use its nonces up (terraform/outer/topics.tf)."""
    return f'attributes.service = "{service}"'


def outer_hosts(environment: Mapping[str, str]) -> dict[str, str]:
    """DMZ_OUTER_HOSTS, `HOST=http://127.0.0.1:PORT,...`: names that outer VMs find on this machine, a mirror say.

    Only below Google's own zones: the local authority, which VMs trust, may speak for no other name.
    """
    found: dict[str, str] = {}
    for pair in filter(None, environment.get("DMZ_OUTER_HOSTS", "").split(",")):
        host, _, address = (word.strip() for word in pair.partition("="))
        if not host.endswith(tuple(f".{zone}" for zone in ZONES)) or not _LOOPBACK.fullmatch(address):
            raise Permanent(
                f"DMZ_OUTER_HOSTS holds '{printable(pair, 100)}': write HOST=http://127.0.0.1:PORT with a HOST below "
                f"{' or '.join(ZONES)}, the only zones that the local certificate authority may speak for."
            )
        found[host] = address
    return found


def _outer_internet(environment: Mapping[str, str]) -> bool:
    """DMZ_OUTER_INTERNET: `no` leaves outer VMs the hosts of this machine alone."""
    given = environment.get("DMZ_OUTER_INTERNET", "yes")
    if given not in ("yes", "no"):
        raise Permanent(f"DMZ_OUTER_INTERNET must be yes or no, not '{printable(given, 40)}'.")
    return given == "yes"


def _shortages(environment: Mapping[str, str]) -> dict[str, Any]:
    """DMZ_NO_CAPACITY_ZONES: zones, separated by commas, that have no TPU left; to see what a run makes of it."""
    zones = [zone.strip() for zone in environment.get("DMZ_NO_CAPACITY_ZONES", "").split(",") if zone.strip()]
    return {"no_capacity_zones": zones} if zones else {}


def _reservations(environment: Mapping[str, str]) -> dict[str, Any]:
    """DMZ_RESERVATIONS, `ZONE/NAME=NODES,...`: what workloads with `provisioning: reserved` find."""
    found: dict[str, dict[str, int]] = {}
    for word in filter(None, (each.strip() for each in environment.get("DMZ_RESERVATIONS", "").split(","))):
        match = _RESERVATION.fullmatch(word)
        if not match:
            raise Permanent(
                f"DMZ_RESERVATIONS holds '{printable(word, 100)}': write ZONE/NAME=NODES, like us-central1-a/mine=2."
            )
        found.setdefault(match[1], {})[match[2]] = int(match[3])
    return {"reservations": found} if found else {}


def _max_hosts(environment: Mapping[str, str]) -> dict[str, Any]:
    """DMZ_MAX_HOSTS: how many VMs one slice may have here; the emulator has a default."""
    given = environment.get("DMZ_MAX_HOSTS", "")
    if given and not re.fullmatch(r"[1-9][0-9]{0,3}", given, re.ASCII):
        raise Permanent(f"DMZ_MAX_HOSTS must be a number of VMs, not '{printable(given, 40)}'.")
    return {"max_hosts": int(given)} if given else {}


def check(environment: Mapping[str, str]) -> None:
    """Permanent if a DMZ_ variable is wrong."""
    prices.read(settings(environment, tpu=1, registry=1).prices)
    outer_hosts(environment)
    _outer_internet(environment)
    _reservations(environment)
    _max_hosts(environment)


def port_base(environment: Mapping[str, str]) -> int | None:
    """DMZ_PORTS: the first of the consecutive ports to use."""
    given = environment.get("DMZ_PORTS", "")
    if not given:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", given, re.ASCII):
        raise Permanent(
            f"DMZ_PORTS must be the number of the first port to use, not '{printable(given, 40)}'."
        )
    return int(given)
