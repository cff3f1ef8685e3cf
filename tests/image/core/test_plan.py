"""From a spec to a plan: who gives the layers, and what the configuration takes from whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import Permanent
from shared.image import base_image, debian, python
from shared.image.base_image import BaseImage
from shared.image.build import plan
from shared.image.plan import Ready
from shared.model.image import ImageBase, ImageSpec, LaunchPolicy, LockedInput
from tests.image.core.support import CONFIG, LOCK, SPEC, layer

BASE = layer("base", {})
OVER = layer("packages", {})
READY = Ready("somebody's", Path("blob"), "sha256:" + "0" * 64, "sha256:" + "1" * 64, "x")


@pytest.fixture(autouse=True)
def _kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "base_layer", lambda *_: BASE)
    monkeypatch.setattr(python, "layers", lambda *_: (OVER,))
    monkeypatch.setattr(python, "config", lambda _: CONFIG)
    env = {"PATH": "/opt/java/bin", "BASE": "1"}
    monkeypatch.setattr(base_image, "base_image", lambda *_: BaseImage((READY, READY), env))


def inputs(_: LockedInput) -> Path:
    raise AssertionError("a plan reads no input")


def test_a_debian_base() -> None:
    made = plan(SPEC, Path("spec.yaml"), LOCK, inputs)
    assert made.layers == (BASE, OVER)
    assert made.config.env == CONFIG.env
    assert made.config.labels["tee.launch_policy.log_redirect"] == "always"


def spec(**changes: object) -> ImageSpec:
    return SPEC.model_copy(update=changes)


def test_somebodys_base_brings_its_environment_and_the_spec_has_the_last_word() -> None:
    base = ImageBase(image="ghcr.io/some/base@sha256:" + "0" * 64)
    made = plan(spec(base=base, env={"BASE": "2"}), Path("spec.yaml"), LOCK, inputs)
    assert made.layers == (READY, READY, OVER)
    assert made.config.env == {"PATH": "/opt/java/bin", "LANG": "C.UTF-8", "BASE": "2"}


def test_what_the_spec_says_is_in_the_configuration() -> None:
    said = spec(args=("-v",), ports=(1, 2), user="7:8", labels={"a": "b"}, env={"A": "1"})
    made = plan(said, Path("spec.yaml"), LOCK, inputs).config
    assert (made.cmd, made.ports, made.user) == (("-v",), (1, 2), "7:8")
    assert (made.labels["a"], made.env["A"]) == ("b", "1")


def test_the_launch_policy_is_in_the_labels() -> None:
    policy = LaunchPolicy(allow_env_override=("FCP_OPTS",), monitoring="hardened_memory")
    made = plan(spec(launch_policy=policy), Path("spec.yaml"), LOCK, inputs).config
    assert made.labels["tee.launch_policy.allow_env_override"] == "FCP_OPTS"
    assert made.labels["tee.launch_policy.hardened_monitoring"] == "memoryOnly"


def test_another_images_lock_is_refused() -> None:
    lock = LOCK.model_copy(update={"image": "other"})
    with pytest.raises(
        Permanent, match=r"^The lock is of the image other, the spec of sample; lock the spec anew\.$"
    ):
        plan(SPEC, Path("spec.yaml"), lock, inputs)
