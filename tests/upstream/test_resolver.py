"""uv's resolver over an index on loopback: what it chooses, what it never does, how it explains itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import Permanent, Transient
from shared.model.workload import Workload
from shared.ports.upstream import Pin, Upstream
from shared.settings import Settings
from shared.upstream import connect
from shared.upstream import resolver as resolver_module
from shared.upstream.resolver import UvResolver
from shared.upstream.static_metadata import StaticMetadata
from tests.upstream import support
from tests.upstream.package_index import PackageIndex, versions
from tests.upstream.support import Reply, Web


@pytest.fixture
def index(web: Web) -> PackageIndex:
    index = PackageIndex(web)
    for version in ("1.0", "1.1", "2.0"):
        index.wheel("leaf", version)
    index.wheel("app", "1.0", "leaf>=1.0")
    index.wheel("app", "1.1", "leaf<2")
    return index


@pytest.fixture
def resolver(index: PackageIndex, tmp_path: Path) -> UvResolver:
    return UvResolver(cache=tmp_path / "cache", index=index.url)


def test_the_newest_that_fit(resolver: UvResolver) -> None:
    assert resolver.resolve(["app"], (), (), "3.12") == (Pin("app", "1.1"), Pin("leaf", "1.1"))
    assert versions(resolver.resolve(["app", "leaf>=2"], (), (), "3.12.4")) == {"app": "1.0", "leaf": "2.0"}


def test_preferences_stay_where_they_fit(resolver: UvResolver) -> None:
    stay = [Pin("app", "1.0"), Pin("leaf", "1.0"), Pin("unrelated", "7")]
    assert versions(resolver.resolve(["app"], stay, (), "3.12")) == {"app": "1.0", "leaf": "1.0"}
    assert versions(resolver.resolve(["app", "leaf>1"], stay, (), "3.12"))["app"] == "1.0"


def test_what_is_forbidden_is_avoided(resolver: UvResolver) -> None:
    stay = [Pin("app", "1.0"), Pin("leaf", "1.0")]
    assert versions(resolver.resolve(["app"], stay, ["leaf!=1.0"], "3.12")) == {"app": "1.0", "leaf": "2.0"}


def test_overrides_replace_what_a_package_declares(index: PackageIndex, tmp_path: Path) -> None:
    resolver = UvResolver(cache=tmp_path / "cache", index=index.url, overrides=["leaf==2.0"])
    assert versions(resolver.resolve(["app==1.1"], (), (), "3.12")) == {"app": "1.1", "leaf": "2.0"}


def test_the_python_and_the_platform_count(index: PackageIndex, resolver: UvResolver) -> None:
    index.wheel("native", "1.0", tag="cp312-cp312-manylinux_2_28_x86_64")
    index.wheel("native", "1.1", tag="cp313-cp313-manylinux_2_28_x86_64")
    index.wheel("native", "1.2", tag="cp312-cp312-win_amd64")
    index.wheel("native", "1.3", tag="cp312-cp312-manylinux_2_99_x86_64")
    assert versions(resolver.resolve(["native"], (), (), "3.12")) == {"native": "1.0"}
    assert versions(resolver.resolve(["native"], (), (), "3.13")) == {"native": "1.1"}


@pytest.mark.parametrize(
    ("platform", "version"),
    [
        ("manylinux_2_17_x86_64", "1.0"),
        ("manylinux_2_35_x86_64", "1.1"),
        ("manylinux_2_36_x86_64", "1.2"),
        ("manylinux_2_39_x86_64", "1.3"),
        ("manylinux_2_99_x86_64", "1.3"),
        ("manylinux_2_41_aarch64", "2.0"),
    ],
)
def test_what_the_machines_glibc_can_run(
    index: PackageIndex, resolver: UvResolver, platform: str, version: str
) -> None:
    """22.04 has glibc 2.35, Debian 12 2.36, 24.04 2.39, Debian 13 2.41."""
    for each, tag in {"1.0": "2_17", "1.1": "2_34", "1.2": "2_36", "1.3": "2_39"}.items():
        index.wheel("native", each, tag=f"cp312-cp312-manylinux_{tag}_x86_64")
    index.wheel("native", "2.0", tag="cp312-cp312-manylinux_2_28_aarch64")
    assert versions(resolver.resolve(["native"], (), (), "3.12", (), platform)) == {"native": version}


@pytest.mark.parametrize("platform", ["", "linux_x86_64", "manylinux_2_16_x86_64", "manylinux_2_40_riscv64"])
def test_a_platform_that_no_resolver_knows(resolver: UvResolver, platform: str) -> None:
    with pytest.raises(Permanent, match="is no platform to resolve for"):
        resolver.resolve(["app"], (), (), "3.12", (), platform)


@pytest.mark.parametrize(
    ("requirements", "forbidden", "words"),
    [
        (["app==1.1", "leaf==2.0"], [], "app>=1.1 depends on leaf<2 and you require"),
        (["leaf>9"], [], "only leaf<=2.0 is available"),
        (["nobody"], [], "nobody was not found"),
        (["app"], ["leaf>9"], "leaf>9"),
    ],
)
def test_no_solution_is_a_sentence(
    resolver: UvResolver, requirements: list[str], forbidden: list[str], words: str
) -> None:
    with pytest.raises(Permanent, match=f"^No versions fit together: Because .*{words}") as raised:
        resolver.resolve(requirements, (), forbidden, "3.12")
    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith("unsatisfiable.")


def test_an_index_out_of_reach_is_transient(
    tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "_PASSED", ("UV_HTTP_RETRIES",))  # uv's own pauses take 10 s
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    web.routes["/simple/app/"] = Reply(status=503)
    with pytest.raises(Transient, match="cannot reach"):
        UvResolver(cache=tmp_path / "cache", index=f"{web.url}/simple/").resolve(["app"], (), (), "3.12")


def test_no_answer_in_time_is_transient(index: PackageIndex, tmp_path: Path) -> None:
    with pytest.raises(Transient, match="no answer within"):
        UvResolver(cache=tmp_path / "cache", index=index.url, timeout=0.001).resolve(["app"], (), (), "3.12")


@pytest.mark.parametrize(
    "line",
    [
        "-r /etc/passwd",
        "--index-url https://evil.example/simple",
        "app @ file:///etc/passwd",
        "app @ https://evil.example/app.whl",
        "-e .",
        "./folder",
        "/tmp/app.whl",
        "app\n-r /etc/passwd",
        "app==1.0 \\",
        "app; " + "(" * 900,
        "",
    ],
)
def test_only_requirements_by_name_reach_uv(resolver: UvResolver, line: str, index: PackageIndex) -> None:
    for requirements, forbidden in (([line], []), (["app"], [line])):
        with pytest.raises(Permanent, match=r"is not a requirement|does not name a package"):
            resolver.resolve(requirements, (), forbidden, "3.12")
    with pytest.raises(Permanent, match="preference"):
        resolver.resolve(["app"], [Pin("app", line or " ")], (), "3.12")


@pytest.mark.parametrize("python", ["", "3", "2.7", "3.12; x", "--help", "3.12.1.2"])
def test_only_a_python_version_reaches_uv(resolver: UvResolver, python: str) -> None:
    with pytest.raises(Permanent, match="not a version of Python"):
        resolver.resolve(["app"], (), (), python)


def test_the_surroundings_do_not_count(
    resolver: UvResolver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {
        "UV_INDEX_URL": "http://127.0.0.1:9/",
        "UV_CONSTRAINT": "/nowhere",
        "UV_OFFLINE": "1",
        "UV_CONFIG_FILE": "/nowhere/uv.toml",
        "UV_RESOLUTION": "lowest",
        "VIRTUAL_ENV": "/nowhere",
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "uv.toml").write_text('resolution = "lowest"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        resolver_module.tempfile, "tempdir", str(tmp_path)
    )  # uv looks upwards from where it works
    assert versions(resolver.resolve(["leaf"], (), (), "3.12")) == {"leaf": "2.0"}


# --- source distributions ---------------------------------------------------------------------------------------


def hostile_source(name: str, version: str, marker: Path, pkg_info: bytes) -> bytes:
    """A source distribution whose build would write `marker`."""
    top = f"{name}-{version}"
    code = f"open({str(marker)!r}, 'w').write('ran')\n"
    toml = "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
    members = {
        "PKG-INFO": pkg_info,
        "setup.py": code.encode(),
        "backend.py": code.encode(),
        "pyproject.toml": toml.encode(),
    }
    return support.tarred([(f"{top}/{path}", content) for path, content in members.items()])


OLD = b"Metadata-Version: 2.1\nName: src\nVersion: 1.0\n\n"


def test_nothing_of_a_source_distribution_runs(
    index: PackageIndex, resolver: UvResolver, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    index.source("src", "1.0", hostile_source("src", "1.0", marker, OLD))
    with pytest.raises(Permanent, match="src has no usable wheel, and nothing is built"):
        resolver.resolve(["src"], (), (), "3.12")
    assert not marker.exists()


@pytest.fixture
def upstream(index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    monkeypatch.setattr(connect.tempfile, "tempdir", str(tmp_path))
    settings = Settings("test-project", python_index=index.url, debian_mirror="http://127.0.0.1:9")
    workload = Workload.model_construct(overrides=())
    return connect.upstream(settings, workload)


def test_a_source_distribution_states_what_it_needs(
    index: PackageIndex, upstream: Upstream, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    stated = support.metadata("src", "1.0", ["leaf<2"])
    index.source("src", "1.0", hostile_source("src", "1.0", marker, stated))
    for requirements, preferences in ((["src==1.0"], ()), (["src"], [Pin("src", "1.0")]), (["src"], ())):
        pins = upstream.resolver.resolve(requirements, preferences, (), "3.12")
        assert versions(pins) == {"src": "1.0", "leaf": "1.1"}
    assert not marker.exists()


def test_an_old_source_distribution_needs_what_its_egg_info_says(
    index: PackageIndex, upstream: Upstream
) -> None:
    requires = b"leaf<2\n\n[:python_version < '3']\nleaf>9\n\n[more]\napp\n"
    members = {"PKG-INFO": OLD, "src.egg-info/PKG-INFO": OLD, "src.egg-info/requires.txt": requires}
    index.source("src", "1.0", support.tarred([(f"src-1.0/{path}", text) for path, text in members.items()]))
    assert versions(upstream.resolver.resolve(["src"], (), (), "3.12")) == {"src": "1.0", "leaf": "1.1"}
    assert "app" in versions(upstream.resolver.resolve(["src[more]"], (), (), "3.12"))


def test_of_many_source_distributions_the_fitting_one_is_found(
    index: PackageIndex, upstream: Upstream
) -> None:
    for version in ("1.0", "1.1", "1.2"):
        index.source("src", version, support.sdist("src", version))
    index.source("src", "1.3", b"broken")
    index.wheel("user", "1.0", "src<1.2")
    assert versions(upstream.resolver.resolve(["user"], (), (), "3.12")) == {"user": "1.0", "src": "1.1"}


def test_metadata_of_a_source_distribution_is_checked(index: PackageIndex, tmp_path: Path) -> None:
    index.source("src", "1.0")
    for requires in ("leaf\nEvil: header", "leaf @ nowhere x", "--option"):
        bad = StaticMetadata("src", "1.0", (requires,))
        resolver = UvResolver(tmp_path / "cache", index.url, sources=lambda _name, _version, bad=bad: [bad])
        with pytest.raises(Permanent, match=r"metadata of the source distribution src 1\.0 is malformed"):
            resolver.resolve(["src"], (), (), "3.12")


def test_build_requirements_come_from_the_file_itself(index: PackageIndex, upstream: Upstream) -> None:
    pyproject = '[build-system]\nrequires = ["leaf"]\nbuild-backend = "x"\n'
    index.source("src", "1.0", support.sdist("src", "1.0", pyproject))
    (file,) = upstream.index.files("src")
    assert upstream.build_requirements(file) == ("leaf",)


def test_what_the_asker_has_already_is_not_asked_for(resolver: UvResolver) -> None:
    """Neither as a requirement nor as somebody's dependency; the index need not know it."""
    found = resolver.resolve(["app==1.0", "mine", "leaf ; extra == 'all'"], (), (), "3.12", ["leaf", "mine"])
    assert found == (Pin("app", "1.0"),)


def test_a_requirement_of_an_extra_that_nobody_asked_for_does_not_count(resolver: UvResolver) -> None:
    assert versions(resolver.resolve(["app==1.0", "leaf<2 ; extra == 'all'"], (), (), "3.12")) == {
        "app": "1.0",
        "leaf": "2.0",
    }


def test_an_override_does_not_undo_a_pin(index: PackageIndex, tmp_path: Path) -> None:
    """uv has an override take the place of every requirement, also of those that are asked for."""
    index.wheel("leaf", "2.1")
    resolver = UvResolver(cache=tmp_path / "cache", index=index.url, overrides=["leaf>=2"])
    assert versions(resolver.resolve(["app==1.1", "leaf==2.0"], (), (), "3.12")) == {
        "app": "1.1",
        "leaf": "2.0",
    }
    with pytest.raises(Permanent, match="No versions fit together"):
        resolver.resolve(["app==1.1", "leaf==1.1"], (), (), "3.12")


def test_an_override_that_pins_what_is_forbidden_yields(index: PackageIndex, tmp_path: Path) -> None:
    resolver = UvResolver(cache=tmp_path / "cache", index=index.url, overrides=["leaf==1.0", "other<2"])
    found = resolver.resolve(["app==1.0"], (), ["leaf!=1.0", "leaf!=2.0"], "3.12")
    assert versions(found) == {"app": "1.0", "leaf": "1.1"}
    held = UvResolver(cache=tmp_path / "cache", index=index.url, overrides=["leaf==1.0"])
    assert versions(held.resolve(["app==1.1"], (), ["leaf!=2.0"], "3.12")) == {"app": "1.1", "leaf": "1.0"}
