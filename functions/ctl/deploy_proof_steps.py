"""Commands that prove, where Terraform is applied, that two builders agree on an image: fetched, then counted.

What builders have signed lies in the provenance bucket, below services/REVISION: ROLE-BUILD.json is a statement,
config-ROLE-BUILD.json the image's configuration (cloudbuild.yaml, step `provenance`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from functions.ctl import deploy_steps as steps
from functions.ctl.deploy_commands import Command, Expanded, Verbatim, joined

ROLES = ("builder", "rebuilder")
_URI = "https://cloudbuild.googleapis.com/projects/"
# Ten years: it is asked what was built once. How long a vote admits anything else is for builders.yaml to say.
_DAYS = "--days=3650"
# Which revisions are said to have come to a digest. Unproved: a hint where to look, no more.
# What is no statement is passed over: it must not be in the way of another image.
_SAID = (
    "(try (fromjson | .payload | @base64d | fromjson"
    ' | select(.subject[0].name == "services" and "sha256:" + .subject[0].digest.sha256 == $digest)'
    " | .predicate.buildDefinition.externalParameters.revision) catch empty)"
)
_PROVED = '.image == "services" and .revision == $revision and .manifest == $digest and .state == "agreed"'


@dataclass(frozen=True)
class Evidence:
    """Where statements are, whose they must be, and where they are read: outputs of the outer project, a folder."""

    project: str
    bucket: str
    keys: tuple[str, str]
    """Key versions of the builder and of the rebuilder, gcpkms://…."""
    folder: str

    def path(self, name: str) -> str:
        return joined(self.folder, f"/{name}")


_KEYS = (Expanded("$builder_key"), Expanded("$rebuilder_key"))
SHELL = Evidence(Expanded("$project"), Expanded("$provenance"), _KEYS, Expanded("$proof"))


def listed(evidence: Evidence, revision: str) -> Command:
    """Names of all that is kept about a revision; nothing if there is nothing."""
    return _list(joined("gs://", evidence.bucket, "/services/", revision, "/*"))


def all_listed(evidence: Evidence) -> Command:
    """Names of all statements of the builder."""
    return _list(_all(evidence))


def fetched(evidence: Evidence, revision: str) -> Command:
    return _copy(joined("gs://", evidence.bucket, "/services/", revision, "/*.json"), evidence.path(""))


def all_fetched(evidence: Evidence) -> Command:
    return _copy(_all(evidence), evidence.path("all/"))


def said(digest: str, files: Sequence[str]) -> Command:
    """Revisions that statements name with this digest, one on each line."""
    return _said(digest, files, f"inputs | {_SAID}", "-rnR")


def policy(evidence: Evidence) -> Command:
    """Both builders, and both must agree."""
    who = (
        joined(_URI, evidence.project, f"/{role}=", key)
        for role, key in zip(ROLES, evidence.keys, strict=True)
    )
    return Command(("./dmz", "attestation", "builders", *who, _DAYS), (), evidence.path("builders.yaml"))


def reference(evidence: Evidence, revision: str, config: str, statements: Sequence[str]) -> Command:
    """What the builders agree on. All that they ever said about the revision counts."""
    options = ("--builders", evidence.path("builders.yaml"), "--config", config, "--revision", revision)
    return Command(
        ("./dmz", "attestation", "reference", *options, *statements), (), evidence.path("reference.json")
    )


def proved(evidence: Evidence, revision: str, digest: str) -> Command:
    """Exit code 0 if they agree on this image of this revision."""
    given = ("--arg", "revision", revision, "--arg", "digest", digest)
    return Command(("jq", "-e", *given, _PROVED, evidence.path("reference.json")))


def typed(image: str) -> Iterator[str]:
    """The proof as a shell does it. `image`: the operator's, or nothing if the script knows digest and revision."""
    yield "# proof that two builders agree on the image"
    if image:
        yield from steps.naming()
    output = 'jq -er .{}.value "$proof/outer.json"'
    for name, one in (("provenance", "provenance_bucket"), *((f"{role}_key",) * 2 for role in ROLES)):
        yield f"{name}=$({output.format(one)})"
    if image:
        yield f"digest={image.partition('@')[2]}"
        yield 'mkdir "$proof/all"'
        yield all_fetched(SHELL).typed()
        files = (Verbatim('"$proof"/all/builder-*.json'),)
        first = _said(Expanded("$digest"), files, f"first(inputs | {_SAID})", "-ernR")
        yield f"revision=$({first.typed()})"
    yield fetched(SHELL, Expanded("$revision")).typed()
    yield from policy(SHELL).lines()
    yield 'set -- "$proof"/config-builder-*.json'
    statements = [Verbatim(f'"$proof"/{role}-*.json') for role in ROLES]
    yield from reference(SHELL, Expanded("$revision"), Expanded("$1"), statements).lines()
    yield proved(SHELL, Expanded("$revision"), Expanded("$digest")).typed()


def _said(digest: str, files: Sequence[str], what: str, how: str) -> Command:
    # jq would join a file's last line with the next file's first one where it has no end; grep ends it.
    return Command(("grep", "-ah", "", *files), ("jq", how, "--arg", "digest", digest, what))


def _all(evidence: Evidence) -> str:
    return joined("gs://", evidence.bucket, "/services/**/builder-*.json")


def _list(what: str) -> Command:
    return Command(("gcloud", "storage", "objects", "list", what, "--format=value(name)", "--quiet"))


def _copy(what: str, to: str) -> Command:
    return Command(("gcloud", "storage", "cp", what, to, "--quiet"))
