"""What must hold of the two builders' accounts: neither can stand for the other, and none can rewrite what was signed.

1. Each signs with its own key alone, and nobody else does. 2. The rebuilder pushes no image. 3. What was signed is
added to, never replaced or deleted: by builders alone. 4. Nobody may act as a builder.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.terraform import checks
from tests.terraform.plans import Plan, grants
from tests.terraform.variables import MEMBERS, PROJECT

BUILDER, REBUILDER = MEMBERS["Cloud Build"]
_PROVENANCE = f"storage bucket {PROJECT}-dmz-provenance"
_ADDS, _READS = "roles/storage.objectCreator", "roles/storage.objectViewer"


def builders(plan: Plan) -> Iterator[str]:
    found = {(grant.member, grant.role, grant.on) for grant in grants(plan)}
    signers = {
        (member, on) for member, role, on in found if role == "roles/cloudkms.signer" and "builder" in on
    }
    wanted = {(BUILDER, "kms crypto key builder"), (REBUILDER, "kms crypto key rebuilder")}
    yield from (f"{member}: signing with {on} is not as it should be" for member, on in signers ^ wanted)  # 1
    for member, role, on in sorted(found):
        if member == REBUILDER and role.startswith("roles/artifactregistry."):  # 2
            yield f"the rebuilder has {role} on {on}"
    kept = {(member, role) for member, role, on in found if on == _PROVENANCE}
    wanted_there = {(member, role) for member in (BUILDER, REBUILDER) for role in (_ADDS, _READS)}
    for member, role in sorted(kept ^ wanted_there):  # 3
        yield f"{member}: {role} on what was signed is not as it should be"
    for member, role, on in sorted(found):  # 4
        if on.startswith("service account ") and "builder@" in on:
            yield f"{member} has {role} on {on}"


BUILDERS: tuple[checks.Check, ...] = (builders,)
