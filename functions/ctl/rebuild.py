"""`./dmz rebuild`: one builder's vote. Build an image from source, sign what came of it, hand it on.

1. Everything that can be wrong with what was given is found before anything is built.
2. No layer and no compile root comes from a cache: somebody else may have written it. Inputs do; their hashes are
   checked on every use.
3. The sources are looked at before and after the build: a vote is about one state of them.
4. The envelope is verified before it leaves (signer.signed).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from functions.ctl.inputs import BadInput
from functions.ctl.publishing import Publish, publisher
from functions.local.layout import Layout
from shared.appraisal import statement
from shared.appraisal.signer import FileSigner, Signer, new_key, signed
from shared.errors import Permanent
from shared.events import Event, ImageBuilt, derived_id, timestamp
from shared.image import spec as specs
from shared.image.inputs import Cache
from shared.image.make import make
from shared.image.revision import revision, tree
from shared.model.provenance import Build
from shared.model.value import printable

KMS_ENDPOINT = "DMZ_KMS_ENDPOINT"
"""http://127.0.0.1:PORT of another Cloud KMS than Google's, for tests."""
_TOPIC = "image-built"


def rebuild(arguments: argparse.Namespace, layout: Layout, inputs: Cache | None = None) -> int:
    """Exit code 0; BadInput for what is wrong before anything is built. `inputs`: of pinned files, else this user's."""
    if arguments.new_key:
        return _new_key(arguments.new_key)
    try:  # 1
        path, signer, publish, named = _given(arguments, layout, os.environ)
        before = tree(specs.read(path), path)
    except Permanent as error:
        raise BadInput(str(error)) from error
    with ExitStack() as ending:
        scratch = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="dmz-rebuild-")))
        inputs = inputs or Cache()
        ending.enter_context(_cache(scratch))  # 2
        started = time.time()
        made = make(
            str(path),
            arguments.layout or scratch / "image",
            scratch / "layers",  # 2
            arguments.codec,
            inputs,
            _show,
        )
        payload = statement.statement(
            made.built, made.lock, named, arguments.builder, started=started, finished=time.time()
        )
        config_json = made.config_json
    if tree(made.spec, path) != before:  # 3
        raise Permanent(f"The sources of {made.spec.name} changed while they were built; build again.")
    envelope = signed(payload, signer)  # 4
    if arguments.config:
        _write(arguments.config, config_json)
    if arguments.out:
        _write(arguments.out, envelope + "\n")
    else:
        print(envelope)
    _say(_told(statement.read(payload), signer))
    if publish:
        publish(event(made.spec.name, envelope, config_json, time.time()))
        _say(f"Published {_TOPIC} to {arguments.publish}.")
    return 0


@contextmanager
def _cache(instead: Path) -> Iterator[None]:
    """For what a build keeps besides its inputs and layers."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(instead)
    try:
        yield
    finally:
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before


def event(image: str, envelope: str, config_json: str, now: float) -> Event:
    """The event that carries a vote; the same vote is the same event."""
    data = ImageBuilt.check(
        {"image": image, "envelope": envelope, "config": config_json}, f"The event {_TOPIC}"
    )
    return Event(
        type=_TOPIC,
        id=derived_id("", _TOPIC, data.subject),
        source="/package-dmz/rebuilder",
        time=timestamp(now),
        data=data,
    )


def signer_of(key: str, environment: Mapping[str, str]) -> Signer:
    """The signer that `--key` names: a file, or a key version of Cloud KMS."""
    if not key.startswith("gcpkms:"):
        return FileSigner(Path(key))
    # Google's libraries take a second to import: a key in a file need not wait for them.
    from shared.gcp import kms

    return kms.KmsSigner(key, endpoint=environment.get(KMS_ENDPOINT) or kms.ENDPOINT)


def _given(
    arguments: argparse.Namespace, layout: Layout, environment: Mapping[str, str]
) -> tuple[Path, Signer, Publish | None, str]:
    """Path of the spec, the signer, where to publish, and the name of the sources."""
    for name in ("spec", "key", "builder"):
        if not getattr(arguments, name):
            option = "SPEC" if name == "spec" else f"--{name}"
            raise Permanent(f"{option} is missing: ./dmz rebuild SPEC --key FILE --builder URI.")
    path = specs.find(arguments.spec)
    image = specs.read(path)
    lock = specs.read_lock(image, path)
    signer = signer_of(arguments.key, environment)
    named = arguments.revision or revision(image, path)
    # What cannot be stated is known before the image is: a build without result is a waste of an hour.
    Build.check(
        {
            "image": image.name,
            "revision": named,
            "lock": lock.digest,
            "codec": arguments.codec,
            "manifest": lock.digest,
            "config": lock.digest,
            "builder": arguments.builder,
            "finished": 0,
            "statement": signer.key_id,
        },
        "What is to be stated",
    )
    for file in (arguments.out, arguments.config):
        if file and (file.is_dir() or not os.access(file.parent, os.W_OK | os.X_OK)):
            raise Permanent(f"{file} cannot be written: name a file in a directory that you may write to.")
    return path, signer, publisher(arguments.publish, layout) if arguments.publish else None, named


def _new_key(path: Path) -> int:
    try:
        made = new_key(path)
    except Permanent as error:
        raise BadInput(str(error)) from error
    _say(f"The private key is in {path}, readable by you alone; its id is {made.key_id}. The public key:")
    print(made.public_pem, end="")
    return 0


def _told(build: Build, signer: Signer) -> str:
    return (
        f"{build.builder} built {build.image} at {build.revision} with the lock {build.lock}:\n"
        f"  manifest       {build.manifest}\n"
        f"  configuration  {build.config}\n"
        f"  statement      {build.statement}, signed with {signer.key_id}"
    )


def _show(text: str) -> None:
    if sys.stderr.isatty():
        _say(printable(text, 200))


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Permanent(f"{path} cannot be written: {error.strerror}.") from error
