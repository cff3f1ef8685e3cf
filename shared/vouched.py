"""Files that a policy wants attested: proved for each that a lock names, before anything of the lock is brought.

1. Held or not: what came in before the policy asked, or for a workload that it does not ask, is no way around it.
2. Believed is what was proved when the file came in and stands in its record; else the index is asked now, and what it
   serves is proved. An attestation is about the bytes that the lock names, so what is proved once stays so.
3. A wheel of the workload's own comes from no index, so nobody has attested it.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from shared import attested
from shared.errors import Permanent
from shared.held_files import RECORDS, record_id
from shared.model.plan import Transfer
from shared.model.policy import AttestedRule
from shared.model.publisher import Publisher
from shared.policy.attestations import asked_of, refusal
from shared.ports.store import Store
from shared.ports.upstream import Upstream

_PARALLEL = 8
_SHOWN = 3


def check(
    wanted: Iterable[Transfer], rules: tuple[AttestedRule, ...], store: Store, upstream: Upstream
) -> None:
    """Permanent, with each file and what is wrong with it, if some are not attested as `rules` ask.

    Transient if the index cannot be reached.
    """
    asked = [
        (one, rule) for one in wanted if one.python is not None and (rule := asked_of(one.python, rules))
    ]
    if not asked:
        return

    def wrong(pair: tuple[Transfer, AttestedRule]) -> str:
        one, rule = pair
        why = refusal(rule, _publishers(one, store, upstream))
        return f"{one.python.filename} ({rule.purl}: {why})" if why and one.python else ""

    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="vouched") as pool:
        found = sorted(filter(None, pool.map(wrong, asked)))
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise Permanent(
            f"The policy wants to be attested what is not, or not by those whom it names: {'; '.join(found[:_SHOWN])}"
            f"{more}. Find out who published it, or change `attestations` in the policy."
        )


def _publishers(one: Transfer, store: Store, upstream: Upstream) -> tuple[Publisher, ...]:
    """Whom the proved attestations of the file name; nobody if there are none. Permanent if they prove nothing."""
    file = one.python
    if file is None or file.url.startswith("own:"):  # 3
        return ()
    record = store.get(RECORDS, record_id(one.repository, one.sha256)) or {}  # 1
    if record.get("attested") and (known := attested.publishers(record)):  # 2
        return known
    if not file.provenance:
        return ()
    return upstream.proof.publishers(file, upstream.index.provenance(file.filename, file.provenance))
