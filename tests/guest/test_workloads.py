"""The workloads that come with the project."""

from __future__ import annotations

import subprocess

import pytest

from shared.guest import bundle
from shared.guest.config import WorkloadConfig
from shared.model import workload
from tests.guest.parts import config


def test_there_are_two() -> None:
    assert workload.built_in() == ("maxtext", "quickstart")


@pytest.mark.parametrize("name", workload.built_in())
def test_a_workload_is_valid_and_fits_into_a_vm(name: str) -> None:
    found = workload.find(name)
    for script in (found.install, found.smoke):
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    small = WorkloadConfig(
        found.name, found.install, found.smoke, found.apt, environment=dict(found.environment)
    )
    assert bundle.metadata(config(workload=small))
