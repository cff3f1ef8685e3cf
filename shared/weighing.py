"""How large the files of a plan are, before anybody fetches them.

In this order: what the signed index or the claim says that the fetch holds the file to; what the Python index says (PEP
700); for a wheel of the user's own what the staging repository says; what the file's host says; else a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from packaging.version import Version

from shared.model.lock import LockedPython
from shared.model.plan import GUESS, Size, Transfer
from shared.ports.registry import Registry
from shared.ports.upstream import Upstream
from shared.upstream.page import of_version


def weigh(
    transfers: Sequence[Transfer], upstream: Upstream, registry: Registry, staging: str
) -> Mapping[Transfer, Size]:
    """Asks the indexes that were read for the lock, and of nothing but `transfers`."""
    said = {each: _said(each, upstream) for each in transfers}
    own = {each.sha256[7:] for each in transfers if each.python and each.python.url.startswith("own:")}
    staged = {
        one.sha256: one.size for one in registry.find(staging, [("wheels", name) for name in sorted(own)])
    }
    asked = [each.file.url for each, size in said.items() if size is None and each.sha256[7:] not in own]
    told = upstream.sizes(list(dict.fromkeys(asked)))
    return {
        each: size or _promised(staged.get(each.sha256)) or _hinted(told.get(each.file.url)) or GUESS
        for each, size in said.items()
    }


def _said(transfer: Transfer, upstream: Upstream) -> Size | None:
    """By who vouches for the file's hash."""
    file = transfer.file
    if not isinstance(file, LockedPython):
        return Size(count=file.size, promised=True)
    if file.url.startswith("own:"):
        return None
    listed = of_version(upstream.index.files(file.name), Version(file.version))
    return _promised(next((each.size for each in listed if each.sha256 == file.sha256), None))


def _promised(size: int | None) -> Size | None:
    return None if size is None else Size(count=size, promised=True)


def _hinted(size: int | None) -> Size | None:
    return None if size is None else Size(count=size, promised=False)
