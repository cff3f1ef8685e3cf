"""The papers of an approved set: its bill of materials and its VEX, kept without an end, and put beside the lock.

The inner network reads them there; everybody else by the run's document, which names both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from shared.bom.approved import ApprovedSet
from shared.bom.names import SBOM, VEX, place
from shared.bom.parts import serial
from shared.bom.sbom import sbom
from shared.bom.vex import vex
from shared.errors import Permanent
from shared.model.case import Case
from shared.model.lock import Lock
from shared.model.manifest import ClaimedManifest
from shared.model.publisher import Publisher
from shared.model.value import Digest
from shared.model.verdict import Verdicts
from shared.ports.registry import Registry
from shared.ports.store import Blobs, Document


def approved(
    lock: Lock,
    judged: Sequence[Verdicts],
    blobs: Blobs,
    publishers: Mapping[Digest, tuple[Publisher, ...]],
) -> ApprovedSet:
    """`judged`: the stored verdicts about the manifest, then those of what was looked at to replace some of it.

    `publishers`: by sha256, of the files whose attestations were verified.
    """
    if not judged:
        raise Permanent(
            f"Nobody says by which verdicts the lock {lock.digest} was made; run the workload again."
        )
    manifest = ClaimedManifest.read(blobs.get(lock.manifest), f"The manifest {lock.manifest}")
    found = [(Case.read(blobs.get(each.case), f"The case {each.case}"), each) for each in judged]
    return ApprovedSet(lock, manifest, tuple(found), publishers)


def publish(made: ApprovedSet, blobs: Blobs, registry: Registry, repository: str, scratch: Path) -> Document:
    """What the run's document learns. The same set gives the same bytes, so doing it twice is doing it once."""
    bill = sbom(made)
    meaning = vex(made, serial(bill))
    digests = {}
    for field, filename, content in (("sbom", SBOM, bill), ("vex", VEX, meaning)):
        digests[field] = blobs.put(content, lasting=True)
        package, version, name = place(made.lock.digest, digests[field], filename)
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            registry.upload_generic(repository, package, version, name, path)
    return digests
