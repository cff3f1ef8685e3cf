"""`./dmz deploy` with the real Terraform and the real gcloud; what they speak to is on loopback.

The providers are the schema stand-in (tests/terraform/standin), the state's bucket, Cloud Build and Artifact Registry
are tests/ctl/deploy_cloud.py.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from functions.ctl import deploy_steps as steps
from functions.local.layout import CHECKOUT
from tests.ctl.deploy_world import INNER, OUTER, STATES, World, commit, world
from tests.terraform import harness

NEEDED = ("terraform", "gcloud", "jq", "git")
DIGEST = "sha256:" + "1" * 64
REPOSITORY = "projects/dmz-outer-test/locations/us-central1/repositories/dmz-services"
IMAGE = f"us-central1-docker.pkg.dev/dmz-outer-test/dmz-services/services@{DIGEST}"
pytestmark = pytest.mark.skipif(
    not os.environ.get("CI") and not all(map(shutil.which, NEEDED)),
    reason=f"A deployment needs {', '.join(NEEDED)}.",
)


@pytest.fixture(scope="module")
def providers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    with harness.providers(tmp_path_factory.mktemp("providers")) as environment:
        yield environment


@pytest.fixture
def cloud_world(tmp_path: Path, providers: Mapping[str, str]) -> Iterator[World]:
    with world(tmp_path, providers) as made:
        yield made
        assert made.cloud.unknown == []


def deployed(made: World, image: str = IMAGE) -> None:
    """Both projects have the image, five stages and the console, and hold no lock."""
    assert made.state("outer")["outputs"]["contract"]["value"]["image"] == image
    services = [
        one
        for project in ("outer", "inner")
        for one in made.state(project)["resources"]
        if one["type"] == "google_cloud_run_v2_service"
    ]
    images = {one["instances"][0]["attributes"]["template"][0]["containers"][0]["image"] for one in services}
    assert (len(services), images) == (6, {image})
    states = {key for key in made.cloud.objects if key[0] == next(iter(STATES))[0]}
    assert states == STATES


def test_a_deployment_ends_with_an_empty_plan_and_another_checkout_takes_nothing_away(
    cloud_world: World, tmp_path: Path
) -> None:
    done = cloud_world.deploy("--yes")
    assert done.returncode == 0, done.stdout
    assert f"Deployed {IMAGE}" in done.stdout
    assert "sealed by route only" in done.stdout
    console = re.search(r"the console +(https://console-\d+\.us-central1\.run\.app) ", done.stdout)
    assert console
    assert cloud_world.state("outer")["outputs"]["console_url"]["value"] == console[1]
    assert f"./dmz submit quickstart --project={OUTER['project']}\n" in done.stdout
    deployed(cloud_world)
    assert [build["substitutions"]["_ROLE"] for build in cloud_world.cloud.builds] == ["rebuilder", "builder"]
    assert {build["projectId"] for build in cloud_world.cloud.builds} == {OUTER["project"]}
    names = sent(cloud_world)
    assert "cloudbuild.yaml" in names
    assert [name for name in names if ".terraform" in name or "auto.tfvars" in name or ".git/" in name] == []

    # Somebody else's machine: it knows nothing of what crossed, and has the same commit.
    subprocess.run(("git", "clone", "-q", cloud_world.root, tmp_path / "another"), check=True)
    done = cloud_world.deploy("--yes", root=tmp_path / "another")
    assert done.returncode == 0, done.stdout
    applied = re.findall(r"Resources: (\d+) added, (\d+) changed, (\d+) destroyed", done.stdout)
    assert applied == [("0", "0", "0")] * 4
    assert len(cloud_world.cloud.builds) == 2


def sent(made: World) -> list[str]:
    """The files that Cloud Build was sent."""
    archives = (value for (_, name), value in made.cloud.objects.items() if name.startswith("source/"))
    _, archive = next(archives)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive))) as files:
        return files.getnames()


def test_killed_before_the_last_command_of_any_step_it_goes_on(cloud_world: World) -> None:
    """Each time it gets one step further than the last time, on the same state."""
    wrapped = cloud_world.wrapped()
    count = Path(wrapped["DMZ_TEST_COUNT"])
    # The first two are asked whether they are there.
    at, codes = 0, []
    while True:
        at += 6
        count.write_text("")
        done = cloud_world.deploy("--yes", **wrapped, DMZ_TEST_KILL_AT=str(at))
        codes.append(done.returncode)
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stdout
        assert at < 60
    assert len(codes) > 4
    deployed(cloud_world)
    roles = [build["substitutions"]["_ROLE"] for build in cloud_world.cloud.builds]
    assert roles.count("builder") == 1


def test_the_plan_is_a_script_that_does_the_same(cloud_world: World) -> None:
    shown = cloud_world.deploy("--plan")
    assert shown.returncode == 0, shown.stdout
    assert cloud_world.cloud.objects == {}
    done = subprocess.run(
        "sh",
        input=shown.stdout,
        env=dict(cloud_world.environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    deployed(cloud_world)


def test_what_is_left_to_do_is_said(cloud_world: World) -> None:
    never = cloud_world.root / "terraform" / "inner" / "never.tf"
    never.write_text('output "now" {\n  value = timestamp()\n}\n')
    commit(cloud_world.root)
    done = cloud_world.deploy("--yes", f"--image={IMAGE}", "--unproved")
    assert done.returncode == 1
    assert "the plan of inner is not empty" in done.stdout.splitlines()[-1]
    assert cloud_world.cloud.builds == []


def test_a_step_that_fails_ends_it_with_its_name_under_terraforms_words(cloud_world: World) -> None:
    cloud_world.variables("inner", INNER | {"project": OUTER["project"]})
    done = cloud_world.deploy("--yes")
    assert done.returncode == 1
    assert "The inner project must not be the outer one." in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith("dmz: The step inner project, without a new image failed (terraform ended with")
    assert cloud_world.cloud.builds == []


def test_a_failed_build_deploys_nothing(cloud_world: World) -> None:
    cloud_world.cloud.built = lambda _: ""
    done = cloud_world.deploy("--yes")
    assert done.returncode == 1
    assert "dmz: The step image build failed (gcloud ended with" in done.stdout.splitlines()[-1]
    assert cloud_world.state("outer")["outputs"]["contract"]["value"]["image"] is None


def test_an_image_in_the_variables_does_not_win_unseen(cloud_world: World) -> None:
    other = IMAGE.replace("1" * 64, "2" * 64)
    cloud_world.variables("outer", OUTER | {"image": other})
    done = cloud_world.deploy("--yes", f"--image={IMAGE}", "--unproved")
    assert done.returncode == 1
    assert f"Terraform deployed {other}, not {IMAGE}" in done.stdout


def test_an_image_of_no_commit_is_not_built(cloud_world: World) -> None:
    (cloud_world.root / "more.py").write_text("")
    done = cloud_world.deploy("--yes")
    assert done.returncode == 1
    assert "the checkout has changes that no commit holds" in done.stdout.splitlines()[-1]
    assert cloud_world.cloud.builds == []
    # Nothing was begun, nor is it with an image that is there already.
    assert cloud_world.cloud.objects == {}
    done = cloud_world.deploy("--yes", f"--image={IMAGE}")
    assert "the checkout has changes that no commit holds" in done.stdout.splitlines()[-1]
    assert cloud_world.cloud.objects == {}


def test_an_image_that_one_builder_made_is_not_deployed_and_is_built_again(cloud_world: World) -> None:
    """As after a build that failed behind its push: the tag is there, what was signed is not."""
    cloud_world.builders.silent = ("builder",)
    done = cloud_world.deploy("--yes")
    assert done.returncode == 1
    assert "No statement of the builder about" in done.stdout.splitlines()[-1]
    assert cloud_world.state("outer")["outputs"]["contract"]["value"]["image"] is None
    assert len(cloud_world.cloud.images) == 1

    cloud_world.builders.silent = ()
    (tagged,) = cloud_world.cloud.images
    # gcloud's own filter takes a part of a tag for the tag.
    cloud_world.cloud.images.append((REPOSITORY, tagged[1] + "0", "sha256:" + "2" * 64))
    done = cloud_world.deploy("--yes", f"--image={IMAGE}")
    assert done.returncode == 1
    assert "Nobody has stated" in done.stdout.splitlines()[-1]
    done = cloud_world.deploy("--yes")
    assert done.returncode == 0, done.stdout
    assert "It is built again." in done.stdout
    assert len(cloud_world.cloud.builds) == 4
    deployed(cloud_world)


def test_every_step_is_a_command_of_four_programs() -> None:
    given = steps.Given("/o.tfvars", "/i.tfvars", "bucket")
    commands = [each for step in (*steps.before(given), *steps.after(given, IMAGE)) for each in step.commands]
    assert {each.words[0] for each in commands} <= set(NEEDED)
    assert json.dumps([each.typed() for each in commands])


def test_a_teardown_as_the_page_says_leaves_the_keys_and_two_buckets(cloud_world: World) -> None:
    done = cloud_world.deploy("--yes", f"--image={IMAGE}", "--unproved")
    assert done.returncode == 0, done.stdout
    (script,) = (block for block in blocks("docs/operations.md") if " destroy " in block)
    kept = re.sub(r"^gcloud .*\n", "", script, flags=re.MULTILINE)
    assert kept.count("terraform") == script.count("terraform")
    done = subprocess.run(
        ("sh", "-e", "-x"),
        input=re.sub(r"/etc/package-dmz/(\w+)\.tfvars", rf"{cloud_world.folder}/\1.tfvars.json", kept),
        env={
            **cloud_world.environment,
            "TF_CLI_ARGS_apply": "-auto-approve -no-color",
            "TF_CLI_ARGS_destroy": "-auto-approve -no-color",
        },
        cwd=cloud_world.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=580,
    )
    assert done.returncode == 0, done.stdout
    for project in ("outer", "inner"):
        left = [one for one in cloud_world.state(project)["resources"] if one["mode"] == "managed"]
        assert left == []
    assert "google_kms_crypto_key.signing" in done.stdout


def blocks(name: str) -> list[str]:
    """The shell's blocks of a document."""
    return re.findall(r"^```sh\n(.*?)^```", (CHECKOUT / name).read_text(), re.MULTILINE | re.DOTALL)
