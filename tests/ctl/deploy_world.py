"""A checkout with its two files of variables, the stand-ins at work, and `./dmz deploy` as a process."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from functions.local import metadata, project
from functions.local.layout import CHECKOUT
from functions.local.ports import choose
from tests.build import kms
from tests.ctl.deploy_builders import KEY, ROLES, Builders
from tests.ctl.deploy_cloud import Cloud, served
from tests.terraform import harness

BUCKET = "dmz-state"
OUTER = {"project": "dmz-outer-test", "operators": ["group:operators@example.com"]}
INNER = {"project": "dmz-inner-test", "deployer": "group:deployers@example.com"}
STATES = {(BUCKET, f"package-dmz/{project}/default.tfstate") for project in ("outer", "inner")}
# The command line's own checkout is this one; a test deploys from another.
_MAIN = """
import functools, sys
from pathlib import Path
from functions.ctl import cli, deploy
deploy.deploy = functools.partial(deploy.deploy, root=Path(sys.argv.pop(1)))
sys.exit(cli.main())
"""
_DMZ = f"""#!/bin/sh
exec {shlex.quote(sys.executable)} -P -m functions.ctl "$@"
"""
# As with a provider that comes from a registry: the schema stand-ins' need no lock.
_TERRAFORM = """#!/bin/sh
{real} "$@" || exit
case " $* " in
  *" init "*) echo '# Maintained automatically by "terraform init".' > "${{1#-chdir=}}/.terraform.lock.hcl" ;;
esac
"""
# Ends the deployment, its parent, before its COUNT-th command is begun, as a lost machine would.
_WRAPPER = """#!/bin/sh
echo . >> "$DMZ_TEST_COUNT"
if [ "$(wc -l < "$DMZ_TEST_COUNT")" -eq "$DMZ_TEST_KILL_AT" ]; then kill -9 "$PPID"; exit 137; fi
exec {real} "$@"
"""


@dataclass(frozen=True)
class World:
    """Where it is deployed from, and what it speaks to."""

    folder: Path
    root: Path
    cloud: Cloud
    environment: Mapping[str, str]
    builders: Builders

    def words(self, *more: str, root: Path | None = None) -> tuple[str, ...]:
        files = (f"--{name}-vars={self.folder / name}.tfvars.json" for name in ("outer", "inner"))
        start = (sys.executable, "-P", "-c", _MAIN, os.fspath(root or self.root), "deploy")
        return (*start, *files, f"--state-bucket={BUCKET}", *more)

    def deploy(
        self, *more: str, root: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """One deployment, its complaints between its words."""
        return subprocess.run(
            self.words(*more, root=root),
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=580,
        )

    def variables(self, name: str, value: Mapping[str, Any]) -> None:
        (self.folder / f"{name}.tfvars.json").write_text(json.dumps(value))

    def state(self, project: str) -> dict[str, Any]:
        """Terraform's state as the bucket holds it."""
        _, content = self.cloud.objects[BUCKET, f"package-dmz/{project}/default.tfstate"]
        found: dict[str, Any] = json.loads(content)
        return found

    def wrapped(self) -> dict[str, str]:
        """A PATH on which every command of a deployment is counted, and may end it."""
        bin = self.folder / "bin"
        bin.mkdir(exist_ok=True)
        for name in ("terraform", "gcloud", "jq", "git"):
            tool = bin / name
            tool.write_text(
                _WRAPPER.format(real=shlex.quote(shutil.which(name, path=self.environment["PATH"]) or name))
            )
            tool.chmod(0o755)
        return {"PATH": f"{bin}:{self.environment['PATH']}", "DMZ_TEST_COUNT": str(self.folder / "count")}


@contextlib.contextmanager
def world(folder: Path, providers: Mapping[str, str]) -> Iterator[World]:
    """Everything in `folder`; `providers` is where Terraform finds the schema stand-ins."""
    root = checkout(folder / "checkout")
    cloud = Cloud()
    token = folder / "token"
    token.write_text("none-of-anybody")
    ports = choose(["operator"], None)
    servers = metadata.MetadataServers(ports, project.settings({}, tpu=1, registry=2), b"k" * 32)
    with served(cloud) as address, kms.ring(*(KEY.format(role) for role in ROLES)) as (keys, ring):
        builders = Builders(cloud, {role: ring[KEY.format(role)] for role in ROLES})
        cloud.signs = builders.built
        environment = _environment(providers, address, folder, token) | {
            **metadata.environment(ports["operator"]),
            "DMZ_KMS_ENDPOINT": keys,
        }
        made = World(folder, root, cloud, environment, builders)
        made.variables("outer", OUTER)
        made.variables("inner", INNER)
        yield made
    servers.close()


def checkout(root: Path) -> Path:
    """A commit of terraform/ with a cloudbuild.yaml that gcloud reads and nobody carries out."""
    shutil.copytree(harness.TERRAFORM, root / "terraform", ignore=shutil.ignore_patterns(*harness.OPERATORS))
    for name in (".gcloudignore", ".gitignore", "cloudbuild.yaml"):
        shutil.copy(CHECKOUT / name, root)
    (root / "dmz").write_text(_DMZ)
    (root / "dmz").chmod(0o755)
    subprocess.run(("git", "-C", root, "init", "-q"), check=True)
    commit(root)
    return root


def commit(root: Path) -> None:
    """All that is in the checkout, always as the same commit."""
    git = ("git", "-C", root, "-c", "user.name=Test", "-c", "user.email=test@example.com")
    dates = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2026-11-22T00:00:00Z")
    for words in (("add", "-A"), ("commit", "-q", "-m", "All of it")):
        subprocess.run((*git, *words), check=True, env={**os.environ, **dates})


def _environment(providers: Mapping[str, str], address: str, folder: Path, token: Path) -> dict[str, str]:
    kept = {key: value for key, value in providers.items() if not key.startswith(("CLOUDSDK_", "DMZ_"))}
    real, tools = shutil.which("terraform", path=kept["PATH"]), folder / "tools"
    tools.mkdir()
    (tools / "terraform").write_text(_TERRAFORM.format(real=real))
    (tools / "terraform").chmod(0o755)
    return kept | {
        "PATH": f"{tools}:{kept['PATH']}",
        "PYTHONPATH": os.fspath(CHECKOUT),
        "GOOGLE_OAUTH_ACCESS_TOKEN": token.read_text(),
        "GOOGLE_STORAGE_CUSTOM_ENDPOINT": f"{address}/storage/v1/",
        "CLOUDSDK_CONFIG": os.fspath(folder / "gcloud"),
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": os.fspath(token),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_ARTIFACTREGISTRY": f"{address}/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBUILD": f"{address}/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{address}/storage/v1/",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "NO_COLOR": "1",
        "TF_CLI_ARGS": "-no-color",
    }
