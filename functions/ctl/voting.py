"""`./dmz attestation builders` and `publish`: who votes about an image, and a vote handed on after it was signed."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from functions.ctl.appraise import read_file
from functions.ctl.publishing import publisher
from functions.ctl.rebuild import event, signer_of
from functions.local.layout import Layout
from shared.appraisal import statement
from shared.appraisal.builders import Builders
from shared.appraisal.dsse import read
from shared.errors import Permanent
from shared.events import Event
from shared.model.value import printable

_DAY = 86400


def builders(arguments: argparse.Namespace) -> int:
    """Print the policy of the builders that are given as URI=KEY; Permanent if it would let too few decide."""
    listed = [{"id": uri, "keys": [_public(key)]} for uri, key in map(_pair, arguments.builders)]
    policy = {
        "threshold": len(listed) if arguments.threshold is None else arguments.threshold,
        "validity_seconds": arguments.days * _DAY,
        "builders": listed,
    }
    Builders.check(policy, "The policy of these builders")
    print(yaml.dump(policy, Dumper=_Readable, sort_keys=False, allow_unicode=True), end="")
    return 0


def publish(arguments: argparse.Namespace, layout: Layout) -> int:
    """Publish what `./dmz rebuild` has signed; Permanent or Transient if it cannot be."""
    send = publisher(arguments.to, layout)
    for found in list(_votes(arguments)):
        send(found)
        print(f"Published {found.type} {found.id} to {printable(arguments.to, 100)}.")
    return 0


def _votes(arguments: argparse.Namespace) -> Iterator[Event]:
    config = read_file(arguments.config).decode(errors="replace")
    for path in arguments.envelopes:
        envelope = read_file(path).decode(errors="replace").strip()
        build = statement.read(read(envelope).unverified_payload)
        yield event(build.image, envelope, config, time.time())


def _pair(text: str) -> tuple[str, str]:
    uri, equals, key = text.partition("=")
    if not (uri and equals and key):
        raise Permanent(f"'{printable(text, 200)}' is no URI=KEY: a builder's URI, and its key.")
    return uri, key


def _public(key: str) -> str:
    """The public half of a key version of Cloud KMS, or of what a file holds: a public key, or a private one."""
    if not key.startswith("gcpkms:"):
        text = read_file(Path(key)).decode(errors="replace")
        if "PUBLIC KEY" in text:
            return text
    return signer_of(key, os.environ).public_pem


class _Readable(yaml.SafeDumper):
    """Keys as blocks of lines."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _text)
