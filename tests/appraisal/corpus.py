"""Every hostile token of these tests."""

from __future__ import annotations

from tests.appraisal import hostile_chain, hostile_claims, hostile_envelope, hostile_image

HOSTILE = [
    *hostile_envelope.HOSTILE,
    *hostile_chain.HOSTILE,
    *hostile_claims.HOSTILE,
    *hostile_image.HOSTILE,
]
