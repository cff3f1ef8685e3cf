"""What the user's environment asks of the local project's networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from functions.local import project
from functions.local.layout import Layout
from shared.emulators.tpu import parse_config
from shared.errors import Permanent
from shared.image import spec as image_specs


def networks(tmp_path: Path, **environment: str) -> dict[str, Any]:
    settings = project.settings(environment, tpu=1, registry=2)
    layout = Layout(tmp_path, tmp_path)
    config = project.tpu_config(environment, layout, settings, 3, "127.0.0.1:4")
    parsed = parse_config(json.dumps(config)).settings
    return {
        "outer": parsed.networks["dmz-outer"],
        "zones": parsed.no_capacity_zones,
        "reservations": parsed.reservations,
        "hosts": parsed.max_hosts,
        "inner": parsed.networks["dmz-inner"],
    }


def test_outer_vms_have_internet_and_the_download_api(tmp_path: Path) -> None:
    outer = networks(tmp_path)["outer"]
    assert (outer.outer, outer.internet, list(outer.hosts)) == (
        True,
        True,
        ["artifactregistry.googleapis.com"],
    )


def test_a_mirror_on_this_machine_is_for_outer_vms_alone(tmp_path: Path) -> None:
    found = networks(tmp_path, DMZ_OUTER_HOSTS="mirror.pkg.dev=http://127.0.0.1:81,", DMZ_OUTER_INTERNET="no")
    assert found["outer"].hosts["mirror.pkg.dev"] == "http://127.0.0.1:81"
    assert found["outer"].internet is False
    assert found["inner"].outer is False


def test_zones_without_capacity_are_told(tmp_path: Path) -> None:
    assert networks(tmp_path, DMZ_NO_CAPACITY_ZONES="a-b1-c, d-e2-f")["zones"] == {"a-b1-c", "d-e2-f"}


def test_reservations_and_the_size_of_slices_are_told(tmp_path: Path) -> None:
    found = networks(tmp_path, DMZ_RESERVATIONS="us-central1-a/mine=2, us-central1-a/b=1", DMZ_MAX_HOSTS="3")
    assert (found["reservations"], found["hosts"]) == ({"us-central1-a": {"mine": 2, "b": 1}}, 3)
    assert (networks(tmp_path)["reservations"], networks(tmp_path)["hosts"]) == ({}, 8)


@pytest.mark.parametrize(
    "given",
    [
        {"DMZ_RESERVATIONS": "mine=2"},
        {"DMZ_RESERVATIONS": "us-central1-a/mine"},
        {"DMZ_RESERVATIONS": "us-central1-a/mine=0"},
        {"DMZ_MAX_HOSTS": "0"},
        {"DMZ_MAX_HOSTS": "many"},
    ],
)
def test_what_is_no_reservation_and_no_number_of_vms_is_said(given: dict[str, str]) -> None:
    with pytest.raises(Permanent, match=next(iter(given))):
        project.check(given)


@pytest.mark.parametrize(
    "given",
    [
        "pypi.org=http://127.0.0.1:81",
        "evilpkg.dev=http://127.0.0.1:81",
        "mirror.pkg.dev",
        "mirror.pkg.dev=http://10.0.0.1:81",
        "mirror.pkg.dev=https://127.0.0.1:81",
    ],
)
def test_no_other_name_and_no_other_place(given: str) -> None:
    with pytest.raises(Permanent, match="DMZ_OUTER_HOSTS holds"):
        project.outer_hosts({"DMZ_OUTER_HOSTS": given})


def test_every_supported_release_has_its_apt_repository(tmp_path: Path) -> None:
    settings = project.settings({}, tpu=1, registry=2)
    config = project.registry_config(Layout(tmp_path, tmp_path), settings, 3)
    formats = {each["name"]: each["format"] for each in config["repositories"]}
    assert formats == {
        "dmz-python": "PYTHON",
        **dict.fromkeys(("bookworm", "trixie", "jammy", "noble"), "APT"),
        "dmz-generic": "GENERIC",
        "dmz-staging": "GENERIC",
        "dmz-images": "DOCKER",
    }
    assert {tuple(config["iam"][name]["writer"]) for name in ("jammy", "noble")} == {
        (project.account("sync"),)
    }


def test_internet_is_yes_or_no(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="DMZ_OUTER_INTERNET must be yes or no"):
        networks(tmp_path, DMZ_OUTER_INTERNET="false")


def test_each_data_service_reads_its_own_nonces_alone(tmp_path: Path) -> None:
    settings = project.settings({}, tpu=1, registry=2)
    made = project.confidential_space_config(Layout(tmp_path, tmp_path), settings, 1, 2, "pubsub:1", tmp_path)
    services = image_specs.data_services()
    assert {who: may["pull"] for who, may in made["service_accounts"].items()} == {
        project.data_account(name): [f"projects/{settings.project}/subscriptions/{project.nonces_of(name)}"]
        for name in services
    }
    assert len(made["service_accounts"]) == len(services) > 0


def test_notifications_link_to_the_platforms_own_console_unless_another_one_is_named() -> None:
    mine = {"DMZ_CONSOLE": "https://console.test"}
    assert project.settings({}, tpu=1, registry=2, console=3).console == "http://127.0.0.1:3"
    assert project.settings(mine, tpu=1, registry=2, console=3).console == "https://console.test"
