"""What a deployment does, as data: steps of plain commands, in the order of terraform/README.md.

The two projects learn of each other through one output each, and both of the image through one variable; each of these
is written by a command from Terraform's own state, before anything is applied too: a checkout that knows nothing of a
deployment would otherwise take its services away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from functions.ctl.deploy_commands import Command, Expanded, joined

PROJECTS = ("outer", "inner")
PACKAGE = "services"
"""Name of the image below the repository; cloudbuild.yaml pushes it under the commit as its tag."""
IMAGE_FILE = "terraform/outer/image.auto.tfvars.json"
FIRST_APPLY = "outer project, without a new image"
"""The first step that changes anything on Google Cloud."""
_CONTRACT_FILE = "terraform/inner/outer.auto.tfvars.json"
_IDENTITIES_FILE = "terraform/outer/inner.auto.tfvars.json"
# So long another Terraform that works on the same state is waited for: one that was told to stop, say.
_LOCK = "-lock-timeout=5m"


@dataclass(frozen=True)
class Step:
    """Commands that are done when the last one is; `name` completes "The step … failed"."""

    name: str
    commands: tuple[Command, ...]


@dataclass(frozen=True)
class Given:
    """What the operator names."""

    outer_vars: str
    inner_vars: str
    bucket: str
    image: str = ""
    unproved: bool = False
    """The operator answers for `image`; nobody asks whether two builders agree on it."""
    committed: bool = True
    """Whether the checkout must be a commit's."""

    def variables(self, project: str) -> str:
        return self.outer_vars if project == "outer" else self.inner_vars


@dataclass(frozen=True)
class Place:
    """Where the image is built, and from what: outputs of the outer project, and the checkout's commit."""

    project: str
    location: str
    repository: str
    builds_bucket: str
    revision: str


SHELL = Place(*(Expanded(f"${name}") for name in ("project", "location", "repository", "bucket", "revision")))
"""The same as a plan shows it, with a shell's variables that `naming` sets."""


def before(given: Given) -> tuple[Step, ...]:
    """Up to the image: identities, topics, repositories, networks of both projects."""
    return (
        Step("init", tuple(_init(given, project) for project in PROJECTS)),
        Step("what is deployed already", (_known_image(), _identities())),
        Step(FIRST_APPLY, (_apply(given, "outer"), _contract())),
        Step("inner project, without a new image", (_apply(given, "inner"), _identities())),
    )


def build(place: Place) -> Step:
    """The image of this commit, by two builders (cloudbuild.yaml): the second waits for the first one's statement."""
    return Step("image build", (_submit(place, ",_ROLE=rebuilder", "--async"), _submit(place, "")))


def after(given: Given, image: str) -> tuple[Step, ...]:
    """Both projects with the image, and the proof that nothing is left to do."""
    return (
        Step("image's digest", (_write_image(image),)),
        Step("outer project with the image", (_apply(given, "outer"), _contract())),
        Step("inner project with the image", (_apply(given, "inner"), _identities())),
    )


def proof(given: Given, project: str) -> Command:
    """Exit code 0: nothing to do, 2: something (https://developer.hashicorp.com/terraform/cli/commands/plan)."""
    return _terraform(
        project, "plan", "-input=false", _LOCK, "-detailed-exitcode", _variables(given, project)
    )


def outputs(project: str) -> Command:
    return _terraform(project, "output", "-json")


def revision() -> Command:
    return Command(("git", "rev-parse", "HEAD"))


def changes() -> Command:
    """What the commit does not hold of what is deployed.

    Which providers' bytes Terraform takes is the deployment's own: `terraform init` writes that.
    """
    own = (f":(exclude)terraform/{project}/.terraform.lock.hcl" for project in PROJECTS)
    return Command(("git", "status", "--porcelain", "--", ".", *own))


def digest(place: Place) -> Command:
    """Digest of the image of this commit; nothing if there is none. Of the repository, which is there before images.

    Tags are compared by jq: gcloud's filter takes a part of a tag for the tag.
    """
    image = joined(place.repository, f"/{PACKAGE}")
    return Command(
        (
            *("gcloud", "artifacts", "docker", "images", "list", place.repository, "--include-tags"),
            *("--format=json", "--quiet"),
        ),
        ("jq", "-r", "--arg", "image", image, "--arg", "revision", place.revision, _OF_THE_REVISION),
    )


# Tags are a list, or text with commas: that depends on gcloud's version.
_OF_THE_REVISION = (
    ".[] | select(.package == $image"
    ' and (.tags | if type == "string" then split(", *"; null) else . // [] end | index([$revision])))'
    " | .version"
)


def naming() -> Iterator[str]:
    """Where a shell gets the values from, for a proof and a build."""
    yield f'{outputs("outer").typed()} > "$proof/outer.json"'
    for name, path in (
        ("project", "contract.value.project"),
        ("location", "contract.value.location"),
        ("repository", "repository.value"),
        ("bucket", "builds_bucket.value"),
    ):
        yield f'{name}=$(jq -er .{path} "$proof/outer.json")'


def plan(given: Given, project: str) -> Command:
    """What an apply would do."""
    return _terraform(project, "plan", "-input=false", _LOCK, _variables(given, project))


def contract() -> Step:
    """What the inner project would learn of the outer one as that is now."""
    return Step("what crosses already", (_contract(),))


def _submit(place: Place, role: str, *more: str) -> Command:
    return Command(
        (
            *("gcloud", "builds", "submit", ".", "--config=cloudbuild.yaml"),
            joined("--project=", place.project),
            joined("--region=", place.location),
            joined("--gcs-source-staging-dir=gs://", place.builds_bucket, "/source"),
            joined("--substitutions=_REVISION=", place.revision, role),
            *more,
            "--quiet",
        )
    )


def _init(given: Given, project: str) -> Command:
    return _terraform(project, "init", "-input=false", f"-backend-config=bucket={given.bucket}")


def _apply(given: Given, project: str) -> Command:
    return _terraform(project, "apply", "-input=false", "-auto-approve", _LOCK, _variables(given, project))


def _variables(given: Given, project: str) -> str:
    return f"-var-file={given.variables(project)}"


# Of all outputs, not of one: Terraform has no answer for a single output of a state that is empty.
def _contract() -> Command:
    return Command(outputs("outer").words, ("jq", "{outer: .contract.value}"), _CONTRACT_FILE)


def _identities() -> Command:
    return Command(outputs("inner").words, ("jq", "{inner: .identities.value}"), _IDENTITIES_FILE)


def _known_image() -> Command:
    return Command(outputs("outer").words, ("jq", "{image: .contract.value.image}"), IMAGE_FILE)


def _write_image(image: str) -> Command:
    return Command(("jq", "-n", "--arg", "image", image, "{image: $image}"), (), IMAGE_FILE)


def _terraform(project: str, *arguments: str) -> Command:
    return Command(("terraform", f"-chdir=terraform/{project}", *arguments))
