"""The options of `./dmz rebuild` and `./dmz attestation`, apart from their work: other commands need not load it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = object

_REBUILD = """\
Build an image from its spec and lock, with no cache but that of the pinned inputs, and sign what came of it: one vote
for the image's digests. Anybody can be a builder whose key the policy of builders lists (builders.yaml)."""
_REBUILD_MORE = """\
examples:
  ./dmz rebuild --new-key builder.pem        prints the public key, for the policy of builders
  ./dmz rebuild quickstart_data --key builder.pem --builder https://me.example/rebuilder --out vote.json
  ./dmz rebuild spec.yaml --builder URI --key \\
    gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/1 --publish PROJECT

The revision is the commit that holds the sources, the spec and the lock as they are, else tree:sha256:... over the
spec and the sources. Only builds of one revision and lock are compared.

exit codes: 0 built and signed, 1 failed, 2 bad input (nothing was built)"""
_EXPORT_MORE = """\
Prints JSON for Terraform (jsondecode): `provider` for google_iam_workload_identity_pool_provider, and for each image
digest the principal set and condition of a google_kms_crypto_key_iam_member."""
_BUILDERS_MORE = """\
A KEY is a file (a public key in PEM, or a private one whose public half is taken) or gcpkms://... for a key version of
Cloud KMS.

example:
  ./dmz attestation builders https://a.example/builder=a.pem https://b.example/builder=gcpkms://... > builders.yaml"""
_REFERENCE_MORE = """\
Prints the reference value as JSON, for ./dmz appraise and ./dmz attestation export.

An envelope that proves nothing, or that is too old, is named and does not count.

exit codes: 0 agreed, 1 undecided, 2 unusable input, 3 disputed"""


def register(commands: Commands) -> None:
    """Add the commands."""
    _rebuild(
        commands.add_parser(
            "rebuild",
            help="build an image and sign what came of it",
            description=_REBUILD,
            epilog=_REBUILD_MORE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    attestation = commands.add_parser(
        "attestation", help="reference values out of votes, and settings for Google Cloud"
    )
    actions = attestation.add_subparsers(dest="action", metavar="ACTION", required=True)
    _reference(
        actions.add_parser(
            "reference",
            help="what signed builds agree on",
            description="Count the votes of builders about one image.",
            epilog=_REFERENCE_MORE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    _export(
        actions.add_parser(
            "export",
            help="a pool's condition and principal sets, so that a key goes to exactly this workload",
            description="What Google Cloud must be told to release a key to exactly the workload of a policy.",
            epilog=_EXPORT_MORE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )

    _builders(
        actions.add_parser(
            "builders",
            help="a policy of builders from their keys",
            description="Print builders.yaml: who votes, and how many must agree (all, unless --threshold says less).",
            epilog=_BUILDERS_MORE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    _publish(
        actions.add_parser(
            "publish",
            help="publish signed builds",
            description="Publish image-built with what ./dmz rebuild has signed; publishing twice changes nothing.",
        )
    )


def _rebuild(added: argparse.ArgumentParser) -> None:
    added.add_argument(
        "spec", nargs="?", default="", metavar="SPEC", help="name of an image, or its spec's path"
    )
    added.add_argument("--key", default="", metavar="FILE|gcpkms://...", help="the private key to sign with")
    added.add_argument("--builder", default="", metavar="URI", help="whose vote it is, as the policy has it")
    added.add_argument("--revision", default="", metavar="REV", help="of the source (default: found out)")
    added.add_argument("--codec", default="gzip", choices=("gzip", "zstd", "stored"), help="of the layers")
    added.add_argument(
        "--out", type=Path, metavar="FILE", help="the signed envelope (default: standard output)"
    )
    added.add_argument("--config", type=Path, metavar="FILE", help="write the image's configuration, too")
    added.add_argument("--layout", type=Path, metavar="DIR", help="keep the image (an OCI layout), too")
    added.add_argument(
        "--publish",
        default="",
        metavar="PROJECT|local",
        help="publish image-built to this Google Cloud project, or to the local platform that is up",
    )
    added.add_argument(
        "--new-key", type=Path, metavar="FILE", help="make a key, print its public half, do nothing else"
    )


def _builders(added: argparse.ArgumentParser) -> None:
    added.add_argument("builders", nargs="+", metavar="URI=KEY", help="a builder and its key")
    added.add_argument("--threshold", type=int, metavar="N", help="so many must agree (default: all)")
    added.add_argument(
        "--days", type=int, default=90, metavar="N", help="so long a vote counts (default: 90)"
    )


def _publish(added: argparse.ArgumentParser) -> None:
    added.add_argument("envelopes", nargs="+", type=Path, metavar="ENVELOPE", help="what ./dmz rebuild wrote")
    added.add_argument("--config", required=True, type=Path, metavar="FILE", help="the image's configuration")
    added.add_argument("--to", required=True, metavar="PROJECT|local", help="where")


def _reference(added: argparse.ArgumentParser) -> None:
    added.add_argument("envelopes", nargs="+", type=Path, metavar="ENVELOPE", help="what ./dmz rebuild wrote")
    added.add_argument("--builders", required=True, type=Path, metavar="FILE", help="the policy of builders")
    added.add_argument("--config", required=True, type=Path, metavar="FILE", help="the image's configuration")
    added.add_argument("--revision", metavar="NAME", help="leave out what is about another revision")
    added.add_argument("--at", default="", metavar="RFC3339", help="the time to count at (default: now)")


def _export(added: argparse.ArgumentParser) -> None:
    added.add_argument("--policy", required=True, metavar="NAME|FILE", help="the appraisal policy")
    added.add_argument(
        "--reference",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a reference value, or a list of them, as JSON; may be repeated",
    )
    added.add_argument("--project-number", default="", metavar="N", help="of the project that holds the pool")
    added.add_argument("--pool", default="", metavar="ID", help="the Workload Identity pool")
    added.add_argument("--at", default="", metavar="RFC3339", help="the time to export at (default: now)")
