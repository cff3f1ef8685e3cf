"""Fixtures of all tests: Google's emulators for the session, a Google Cloud project per test.

Where the emulators are missing, the tests that ask for them fail and say what to install; they never skip.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from shared.errors import Permanent
from tests.support.emulators import emulator

# A busy machine is no finding.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")


@pytest.fixture(scope="session")
def pubsub_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of the Pub/Sub emulator."""
    yield from _emulator("pubsub", tmp_path_factory)


@pytest.fixture(scope="session")
def firestore_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of the Firestore emulator."""
    yield from _emulator("firestore", tmp_path_factory)


@pytest.fixture
def project(pubsub_emulator: str, firestore_emulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh project on both emulators: no topics, no documents. Google's clients made in this test use it."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_emulator)
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", name)
    return name


def _emulator(kind: str, paths: pytest.TempPathFactory) -> Iterator[str]:
    try:
        with emulator(kind, paths.mktemp(kind)) as address:
            yield address
    except Permanent as lacking:
        pytest.fail(str(lacking), pytrace=False)
