from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.judgement import Court
from shared.locking.python import PythonLocker
from shared.model.case import Subject
from shared.model.lock import Change, LockedEnvironment, LockedPython
from shared.model.manifest import PythonPackage
from shared.policy.read import find
from shared.upstream.tags import supported
from tests.support import claims
from tests.support.market import TRIXIE, Market

NOW = datetime(2026, 11, 21, 21, tzinfo=UTC).timestamp()
Locked = tuple[LockedEnvironment, tuple[Change, ...]]
Locker = Callable[..., Locked]


@pytest.fixture
def market() -> Market:
    return Market()


@pytest.fixture
def court(market: Market) -> Court:
    policy = find("default").model_copy(update={"max_advisory_age_hours": 10**6})
    return Court(market, policy, TRIXIE, NOW, facts=market)


@pytest.fixture
def lock(market: Market, court: Court) -> Locker:
    """Locks one environment that holds the given packages, judged as the scanner does."""

    def locked(*packages: PythonPackage, **more: Any) -> Locked:
        subjects = [
            Subject(package=each.package(), direct_url=each.direct_url.url if each.direct_url else "")
            for each in packages
        ]
        verdicts = {verdict.package.purl: verdict for verdict in court.judge(subjects)}
        fields: dict[str, Any] = {"own": {}, "verdicts": verdicts} | more
        upstream = market.upstream()
        locker = PythonLocker(
            index=upstream.index,
            resolver=upstream.resolver,
            judge=court.packages,
            build_requirements=upstream.build_requirements,
            record=upstream.record,
            **fields,
        )
        manifest = claims.manifest()
        return locker.lock(claims.environment(*packages), supported(manifest, "3.13.5"))

    return locked


def versions(packages: Sequence[LockedPython]) -> dict[str, str]:
    return {each.name: each.version for each in packages}
