"""What the lock of one Python environment changes, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from shared.locking.needs import required_by
from shared.model.lock import Change
from shared.model.manifest import PythonPackage
from shared.model.package import Package, normal_version
from shared.model.verdict import Verdict

_NAMED = 5
"""Names in one sentence; the number of the others follows."""


def changes(
    path: str,
    claims: Mapping[str, PythonPackage],
    refused: Mapping[str, Verdict],
    pins: Mapping[str, str],
    yielded: Mapping[str, Sequence[str]],
) -> tuple[Change, ...]:
    """Differences between what the VM had (`claims`) and the lock (`pins`: name to version) in the environment `path`.

    `yielded`: by name of a refused package, the workload's constraints that could not be kept.
    """
    moved = [
        _change(path, name, version, claims, refused, yielded)
        for name, version in sorted(pins.items())
        if name not in claims or normal_version(claims[name].version) != normal_version(version)
    ]
    return (
        *moved,
        *(_dropped(path, claims[name], claims, refused) for name in sorted(claims.keys() - pins.keys())),
    )


def few(names: Iterable[str], shown: int = _NAMED) -> str:
    """The first of `names`, and how many more there are."""
    found = list(names)
    more = f" and {len(found) - shown} more" if len(found) > shown else ""
    return ", ".join(found[:shown]) + more


def speaking(verdict: Verdict) -> list[str]:
    """The advisories that led to a refusal; all that are known where its words name none of them."""
    known = sorted(finding.id for finding in verdict.findings)
    return [id for id in known if id in verdict.reason] or known


def _change(
    path: str,
    name: str,
    version: str,
    claims: Mapping[str, PythonPackage],
    refused: Mapping[str, Verdict],
    yielded: Mapping[str, Sequence[str]],
) -> Change:
    after = Package(ecosystem="pypi", name=name, version=version)
    before = claims[name].package() if name in claims else after
    if name in refused:
        gave = yielded.get(name, ())
        said = f"; the workload's constraint {' and '.join(gave)} had to yield" if gave else ""
        return Change(
            kind="replaced",
            before=before,
            after=after,
            advisories=tuple(f.id for f in refused[name].findings),
            required_by=required_by(name, claims.values()),
            reason=refused[name].reason + said,
            environment=path,
            yielded=tuple(gave),
        )
    added = name not in claims
    return Change(
        kind="added" if added else "moved",
        before=before,
        after=after,
        advisories=(),
        required_by=tuple(refused) if added else required_by(name, claims.values()),
        reason=f"the replacement of {few(refused)} asks for it",
        environment=path,
    )


def _dropped(
    path: str,
    claim: PythonPackage,
    claims: Mapping[str, PythonPackage],
    refused: Mapping[str, Verdict],
) -> Change:
    verdict = refused.get(claim.name)
    others = [name for name in refused if name != claim.name]
    after = (
        f"; nothing needs it after the replacement of {few(others)}"
        if others
        else "; nothing needs it any more"
    )
    return Change(
        kind="dropped",
        before=claim.package(),
        after=Package(ecosystem="pypi", name=claim.name, version="none"),
        advisories=tuple(f.id for f in verdict.findings) if verdict else (),
        required_by=required_by(claim.name, claims.values()),
        reason=verdict.reason + after if verdict else after.removeprefix("; "),
        environment=path,
    )
