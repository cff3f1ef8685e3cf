"""Whether two builders agree on an image, asked where Terraform is applied, before anything is applied with it.

The registry's word is not enough: whoever may push could put any image under a commit's tag. So for each image:
1. Both builders have signed a statement about its revision, and nobody has signed another answer: all that they ever
   said counts.
2. The keys are those that Cloud KMS gives out for the key versions in Terraform's state.
3. What they agree on is the image `services`, of this revision, with this digest.
What these builders are worth: docs/decisions/0011-two-builders-before-one-push.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from functions.ctl import deploy_proof_steps as commands
from functions.ctl.appraise import UNUSABLE
from functions.ctl.deploy_doing import Doing
from functions.ctl.deploy_proof_steps import ROLES, Evidence
from shared.errors import Permanent
from shared.model.value import printable

STEP = "proof that two builders agree"
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
_NAME = re.compile(r"(builder|rebuilder)-([A-Za-z0-9-]{1,100})\.json", re.ASCII)


@dataclass(frozen=True)
class Proof:
    """Of images of one deployment. `evidence.folder` is empty at first, and this proof's own."""

    doing: Doing
    evidence: Evidence

    def lacking(self, revision: str) -> list[str]:
        """Builders that have stated nothing about a revision."""
        said = self.doing.ask(STEP, commands.listed(self.evidence, revision)).splitlines()
        names = (name.removeprefix(f"services/{revision}/") for name in said)
        have = {found[1] for name in names if (found := _NAME.fullmatch(name))}
        return [role for role in ROLES if role not in have]

    def prove(self, revision: str, digest: str) -> None:
        """Permanent if the builders do not agree on this digest of this revision."""
        if lacking := self.lacking(revision):  # 1
            raise Permanent(
                f"No statement of the {' and of the '.join(lacking)} about {revision} is in "
                f"gs://{self.evidence.bucket}, so nobody knows whether two builders agree on {digest}; it was not "
                "deployed. Build that commit again, as both."
            )
        folder = Path(self.evidence.folder)
        for path in folder.glob("*.json"):
            path.unlink()
        self.doing.do(STEP, commands.fetched(self.evidence, revision))
        self.doing.do(STEP, commands.policy(self.evidence))  # 2
        statements = [path for path in sorted(folder.iterdir()) if _NAME.fullmatch(path.name)]
        configs = {path.read_bytes(): path for path in sorted(folder.glob("config-*.json"))}
        code = UNUSABLE
        for config in configs.values():
            words = [str(path) for path in statements]
            code = self.doing.code(commands.reference(self.evidence, revision, str(config), words))
            if code != UNUSABLE:
                break
        if code:
            raise Permanent(
                f"The builders do not agree about {revision} (the reason stands above), so {digest} was not deployed. "
                "If nobody disagrees, build that commit again, as both."
            )
        if self.doing.code(commands.proved(self.evidence, revision, digest)):  # 3
            raise Permanent(
                f"What the builders agree on for {revision} is not {digest}, so that was not deployed: somebody has "
                "put another image under its name."
            )

    def prove_named(self, digest: str) -> None:
        """Of an image that the operator names: of whatever revision the builder says that it is."""
        revisions = self._revisions(digest)
        if not revisions:
            raise Permanent(
                f"Nobody has stated that a commit of this project comes to {digest}, so it was not deployed; name an "
                "image that Cloud Build has built, or say --unproved if you answer for this one yourself."
            )
        for revision in revisions[:-1]:
            try:
                return self.prove(revision, digest)
            except Permanent as error:
                print(f"dmz: {error}", flush=True)
        return self.prove(revisions[-1], digest)

    def _revisions(self, digest: str) -> list[str]:
        if not self.doing.ask(STEP, commands.all_listed(self.evidence)):
            return []
        place = Path(self.evidence.folder, "all")
        place.mkdir()
        self.doing.do(STEP, commands.all_fetched(self.evidence))
        files = [str(path) for path in sorted(place.iterdir())]
        said = set(self.doing.ask(STEP, commands.said(digest, files)).split())
        if strange := sorted(revision for revision in said if not _COMMIT.fullmatch(revision)):
            print(f"Left out, as these are no commits: {printable(' '.join(strange), 300)}.", flush=True)
        return sorted(set(filter(_COMMIT.fullmatch, said)))
