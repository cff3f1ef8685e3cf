"""What runs left behind: their verdicts, and the cases that those follow from. Reads only.

Every byte that is read is held to the digest by which it was asked for: 1. the store's answer; 2. the verdicts that the
run names are about the run's manifest, and follow from the case that the run names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from functions.ctl.inputs import BadInput
from functions.local import platform
from functions.local.layout import Layout
from shared.errors import Permanent
from shared.model.case import Case
from shared.model.lock import Lock
from shared.model.value import Digest, printable, sha256
from shared.model.verdict import Verdicts

if TYPE_CHECKING:
    from functions.ctl.documents import Contents, Documents
    from shared.ports.store import Document

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_STATES = ("completed", "failed", "running")


UNREACHABLE = 3
"""Exit code where what is stored could not be read, so that nothing is known of it."""


class Unreachable(Permanent):
    """There is no place to look the runs up in."""


@dataclass(frozen=True)
class Judgement:
    """Stored verdicts, with the case that they follow from."""

    digest: Digest
    """Of the verdicts."""
    content: bytes
    verdicts: Verdicts
    case: Case


@dataclass(frozen=True)
class Records:
    """The documents and contents of one platform or project."""

    documents: Documents
    blobs: Contents

    def run(self, run_id: str) -> Document:
        """BadInput if nobody knows it."""
        found = self.documents.get("runs", run_id)
        if found is None:
            raise BadInput(
                f"There is no run '{printable(run_id, 60)}' here; ./dmz status lists those that there are."
            )
        return found

    def judged(self) -> Iterator[tuple[str, Document]]:
        """(id, document) of every run that has verdicts."""
        for state in _STATES:
            for run_id, run in self.documents.find("runs", "state", state):
                if run.get("verdicts"):
                    yield run_id, run

    def judgement(self, digest: Digest) -> Judgement:
        """Permanent, with what was changed or is missing, if it is not what its digests say."""
        content = self.content(digest, "verdicts")
        verdicts = Verdicts.read(content, f"The stored verdicts {digest}")
        case = Case.read(self.content(verdicts.case, "case"), f"The stored case {verdicts.case}")
        return Judgement(digest, content, verdicts, case)

    def of_run(self, run_id: str, run: Document) -> tuple[Judgement, ...]:
        """What the scanner judged, then what was judged on the way to the lock.

        Permanent if the run has no verdicts yet.
        """
        if not run.get("verdicts"):
            why = f": it {run['state']}" if run.get("state") in ("failed", "completed") else " yet"
            raise Permanent(f"The run {printable(run_id, 60)} has no verdicts{why}.")
        first = self.judgement(str(run["verdicts"]))
        more = tuple(self.judgement(str(digest)) for digest in run.get("replacement_verdicts") or ())
        for each in (first, *more):  # 2
            if each.verdicts.manifest != run.get("manifest"):
                raise Permanent(
                    f"The verdicts {each.digest} are about the manifest {each.verdicts.manifest}; the run's is "
                    f"{run.get('manifest')}: one of them was changed."
                )
        cases = [run.get("case") or first.verdicts.case, *(run.get("replacement_cases") or ())]
        for named, each in zip(cases, (first, *more), strict=False):
            if named != each.verdicts.case:
                raise Permanent(
                    f"The run names the case {named}, its verdicts {each.digest} follow from {each.verdicts.case}: one "
                    "of them was changed."
                )
        return (first, *more)

    def chosen(self, run: Document) -> frozenset[str]:
        """Purls that the run's lock puts in the place of what was refused."""
        lock = self.lock(run)
        return frozenset(change.after.purl for change in lock.changes) if lock else frozenset()

    def lock(self, run: Document) -> Lock | None:
        """What the run installs; None if it did not come to that."""
        if not run.get("lock"):
            return None
        return Lock.read(self.content(str(run["lock"]), "lock"), f"The stored lock {run['lock']}")

    def content(self, digest: Digest, what: str) -> bytes:
        """The bytes of that digest; `what` names them in the sentence that is raised if they are others."""
        content = self.blobs.get(digest)
        if (found := sha256(content)) != digest:  # 1
            raise Permanent(f"The stored {what} {digest} has been changed: its content has {found}.")
        return content


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def records(layout: Layout, project: str) -> Records:
    """Of the platform that is up on this machine, or of a deployment's outer project; Unreachable if there is none."""
    # Google's libraries take a second to import: only commands that read from a store pay for it.
    if project:
        from shared.gcp.firestore import FirestoreBlobs, FirestoreStore

        return Records(FirestoreStore(project), FirestoreBlobs(project))
    up = platform.read(layout.platform)
    if up is None:
        raise Unreachable(
            "The platform is not up, so its runs cannot be read: start it with ./dmz up, or name a deployment with "
            "--project."
        )
    from functions.ctl.documents import connect

    connection = connect(up)
    return Records(connection.documents, connection.blobs)
