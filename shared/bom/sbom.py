"""The software bill of materials of an approved set, as CycloneDX 1.7 in JSON. Pure: the same set gives the same bytes.

https://cyclonedx.org/docs/1.7/json/
"""

from __future__ import annotations

from shared.bom.approved import ApprovedSet
from shared.bom.components import component, items
from shared.bom.graph import dependencies, unknown
from shared.bom.parts import Json, finished, metadata, properties


def sbom(approved: ApprovedSet) -> bytes:
    """Every file of the lock and everything that the machine held before, with what is known of each.

    Its time is that of the data by which the set was approved: the same set is the same document, written at any time.
    """
    lock, listed = approved.lock, items(approved)
    graph = dependencies(approved, listed)
    document: Json = {
        "metadata": metadata(
            lock.workload, approved.date, properties(*approved.digests(), *_dropped(approved))
        ),
        "components": [component(item, approved) for item in listed],
        "dependencies": graph,
        "compositions": _compositions([item.ref for item in listed], unknown(graph, listed)),
    }
    return finished(document)


def _dropped(approved: ApprovedSet) -> list[tuple[str, object]]:
    """What the outer VM had and the set has no version of."""
    return [
        ("left-out", f"{change.before.purl}: {change.reason}")
        for change in approved.lock.changes
        if change.kind == "dropped"
    ]


def _compositions(assembled: list[str], opaque: list[str]) -> list[Json]:
    """How complete the lists are: all components are there, of some it is not known what they need."""
    made: list[Json] = [{"aggregate": "complete", "assemblies": assembled}] if assembled else []
    return [*made, {"aggregate": "unknown", "dependencies": opaque}] if opaque else made
