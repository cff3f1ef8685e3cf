"""Every gcloud, terraform, jq and ./dmz command of the documents and of what the code prints is one of the tool's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.ctl import deploy_script
from functions.ctl import deploy_steps as steps
from functions.local.layout import CHECKOUT
from shared import entry
from shared.settings import Settings
from tests.docs import checking, commands
from tests.docs.commands import Found

_READERS = (
    (
        ("*.md", "docs/*.md", "docs/**/*.md", "events/*.md", "terraform/**/*.md", "shared/data/**/*.md"),
        commands.in_document,
    ),
    (("functions/**/*.py", "shared/**/*.py"), commands.in_source),
    (("terraform/**/*.tf",), commands.in_terraform),
    (("cloudbuild.yaml",), commands.in_build),
)


def everything() -> Iterator[Found]:
    for patterns, reader in _READERS:
        for path in sorted({path for pattern in patterns for path in CHECKOUT.glob(pattern)}):
            yield from reader(path, str(path.relative_to(CHECKOUT)))


ALL = list(everything())


def of(tool: str, found: list[Found] | None = None) -> list[Found]:
    if tool != "./dmz" and shutil.which(tool) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{tool} is not on PATH.", pytrace=False)
        pytest.skip(f"{tool} is not on PATH.")
    return [one for one in (ALL if found is None else found) if one.tool == tool]


def wrong(tool: str, scratch: Path, found: list[Found] | None = None) -> list[str]:
    chosen = of(tool, found)
    if tool == "gcloud":
        return list(checking.gcloud(chosen, scratch))
    check = {"terraform": checking.terraform, "jq": checking.jq, "./dmz": checking.dmz}[tool]
    return [said for one in chosen for said in check(one)]


@pytest.mark.parametrize("tool", commands.TOOLS)
def test_commands_are_the_tools_own(tool: str, tmp_path: Path) -> None:
    assert wrong(tool, tmp_path) == []


def test_all_places_are_read() -> None:
    """Each kind of place has commands: an extraction that finds nothing would let everything pass."""
    places = {(one.tool, one.where.split(":")[0]) for one in ALL}
    for expected in (
        ("gcloud", "README.md"),
        ("gcloud", "events/README.md"),
        ("gcloud", "cloudbuild.yaml"),
        ("gcloud", "functions/ctl/deploy_tools.py"),
        ("gcloud", "functions/ctl/run.py"),
        ("gcloud", "terraform/inner/variables.tf"),
        ("terraform", "terraform/README.md"),
        ("jq", "terraform/README.md"),
        ("./dmz", "CONTRIBUTING.md"),
        ("./dmz", "docs/images.md"),
        ("./dmz", "functions/ctl/image_options.py"),
        ("./dmz", "cloudbuild.yaml"),
    ):
        assert expected in places
    assert len([one for one in ALL if one.whole]) > 60


@pytest.mark.parametrize(
    ("right", "bad"),
    [
        ("gcloud pubsub topics publish t --message=m", "gcloud pubsub topics publish t --mesage=m"),
        ("gcloud pubsub topics publish t --message=m", "gcloud pubsub topics publish --message=m"),
        ("gcloud pubsub topics publish t --message=m", "gcloud pubsub topic publish t --message=m"),
        ("terraform -chdir=x apply -var-file=f", "terraform -chdir=x apply -varfile=f"),
        ("terraform -chdir=x plan -detailed-exitcode", "terraform -chdir=x plan --detailed-exit"),
        ("terraform state rm a.b", "terraform state remove a.b"),
        ("terraform apply -auto-approve", "terraform aply -auto-approve"),
        ("terraform init -backend-config=x", "terraform init -backend-config"),
        ("jq '{a: .b}'", "jq '{a: .b'"),
        ("jq -n --arg a b '{a: $a}'", "jq -n --arg a b '{a: $b}'"),
        ("jq -r .a", "jq --raww .a"),
        ("./dmz run --keep", "./dmz run --kept"),
        ("./dmz image lock NAME", "./dmz image locks NAME"),
        ("./dmz image lock NAME", "./dmz image lock"),
        ("./dmz status", "./dmz state"),
    ],
)
def test_a_wrong_command_is_seen(right: str, bad: str, tmp_path: Path) -> None:
    for text, expected in ((right, 0), (bad, 1)):
        (found,) = commands.of_script(f"$ {text}"[2:], "seeded")
        assert len(wrong(found.tool, tmp_path, [found])) == expected, text


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("a.md", "Say:\n\n    ./dmz run --kept   # so\n"),
        ("a.md", "```sh\nx=$(./dmz run --kept | cat) && true\n```\n"),
        ("a.md", "| `./dmz run [FILE] --kept` | it |\n"),
        ("a.md", "| `./dmz image build\\|locks` | it |\n"),
        ("a.md", "```sh\ncat f | ./dmz run \\\n  --kept > g\n```\n"),
        ("a.py", 'raise E(f"no {x}; run `./dmz run --kept {x}` again.")\n'),
        ("a.py", 'print("end it with ./dmz run --kept.")\n'),
        ("a.tf", 'description = "What `./dmz run --kept` says."\n'),
        ("a.yaml", "steps:\n- script: |\n    docker run x ./dmz run --kept\n"),
        ("a.yaml", "# So:\n#   ./dmz run \\\n#     --kept\nsteps: []\n"),
    ],
)
def test_a_wrong_command_is_found_wherever_it_stands(kind: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / kind
    path.write_text(text)
    readers = {
        ".md": commands.in_document,
        ".py": commands.in_source,
        ".tf": commands.in_terraform,
        ".yaml": commands.in_build,
    }
    assert wrong("./dmz", tmp_path, list(readers[path.suffix](path, kind)))
    path.write_text(text.replace("--kept", "--keep").replace("locks", "lock"))
    found = list(readers[path.suffix](path, kind))
    assert found
    assert wrong("./dmz", tmp_path, found) == []


def printed() -> Iterator[str]:
    """Commands that the code puts together."""
    yield from deploy_script.typed(steps.Given("/outer.tfvars", "/inner.tfvars", "state"))
    yield entry.command("dmz-inner-1", "us-central1-a", Settings("my-project"))


def test_what_is_put_together_is_checked_too(tmp_path: Path) -> None:
    found = [one for line in printed() for one in commands.of_script(line, line)]
    assert {one.tool for one in found} == {"terraform", "gcloud", "jq", "./dmz"}
    for tool in ("terraform", "gcloud", "jq", "./dmz"):
        assert wrong(tool, tmp_path, found) == []
