"""Who sends each event, and who handles it: the topics by name."""

from __future__ import annotations

SUBSCRIBERS: dict[str, tuple[str, ...]] = {
    "outer": (
        "run-requested",
        "outer-install-completed",
        "run-failed",
        "verdict-changed",
        "attestation-appraised",
        "cancel-requested",
        "dead-letter-dropped",
        "sweep-requested",
    ),
    "scanner": (
        "manifest-published",
        "holdings-listed",
        "waiver-granted",
        "waiver-revoked",
        "sweep-requested",
    ),
    "sync": (
        "verdicts-written",
        "sync-shard-planned",
        "advisories-refreshed",
        "verdict-changed",
        "sweep-requested",
    ),
    "inner": (
        "sync-completed",
        "inner-install-completed",
        "attestation-appraised",
        "run-failed",
        "sweep-requested",
    ),
    "attestation": (
        "image-built",
        "reference-revoked",
        "nonce-requested",
        "nonce-registered",
        "attestation-requested",
        "sweep-requested",
    ),
}
"""Stage to the topics that are pushed to it, a subscription `<stage>--<topic>` each."""

LETTERS_TO = "outer"
"""Stage to which dead letters are pushed, too: it notes them where the console reads (`shared.letters`)."""

PUBLISHERS: dict[str, tuple[str, ...]] = {
    "run-requested": ("operator", "Cloud Scheduler", "sync"),
    "outer-install-completed": ("outer VM",),
    "manifest-published": ("outer",),
    "verdicts-written": ("scanner",),
    "sync-shard-planned": ("sync",),
    "sync-completed": ("sync",),
    "inner-install-completed": ("inner VM",),
    "run-completed": ("inner",),
    "run-failed": ("outer", "scanner", "sync", "inner", "attestation"),
    "image-built": ("Cloud Build", "independent rebuilders"),
    "reference-changed": ("attestation",),
    "reference-revoked": ("operator",),
    "nonce-requested": ("inner", "relying parties", "operator"),
    "nonce-registered": ("relying parties",),
    "nonce-issued": ("attestation",),
    "attestation-requested": ("data services",),
    "attestation-appraised": ("attestation",),
    "advisories-refreshed": ("Cloud Scheduler", "operator", "scanner"),
    "holdings-listed": ("sync",),
    "verdict-changed": ("scanner",),
    "package-evicted": ("sync",),
    "waiver-granted": ("operator",),
    "waiver-revoked": ("operator",),
    "cancel-requested": ("operator",),
    "dead-letter-dropped": ("operator",),
    "sweep-requested": ("Cloud Scheduler", "operator"),
}
"""Topic to who publishes it."""
