"""An image of a data service: what it is made of (spec), the exact bytes of it (lock), what came of it (built)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from shared.model.overrides import forbidden
from shared.model.package import DebianName, DebianVersion
from shared.model.value import Digest, Part, Value

ImageName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""Also the name of the directory, the jar and the executable in the image; underscores as in Bazel's targets."""
Kind = Literal["java", "java-jni", "python"]
Codec = Literal["gzip", "zstd", "stored"]
Text = Annotated[str, Field(max_length=4096, pattern=r"^[^\x00-\x1f\x7f]*$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
Place = Annotated[str, Field(pattern=r"^[A-Za-z0-9_./-]{1,500}$")]
PlaceOrNone = Annotated[str, Field(pattern=r"^[A-Za-z0-9_./-]{0,500}$")]
Url = Annotated[str, Field(pattern=r"^https?://[!-~]{1,2000}$")]


class DebianBase(Part):
    """A base assembled from Debian packages with all that they depend on; no maintainer script runs."""

    release: Literal["bookworm", "trixie"] = "bookworm"
    packages: Annotated[tuple[DebianName, ...], Field(min_length=1)]


class ImageBase(Part):
    """A base that is somebody's image, by digest; its layers are taken over byte for byte."""

    image: Annotated[str, Field(pattern=r"^[a-z0-9.:-]+(/[a-z0-9._-]+)+@sha256:[0-9a-f]{64}$")]
    release: Literal["bookworm", "trixie"] = "bookworm"
    """Of the Debian packages that go on top of it, and that the compile sandbox is made of."""


def _which_base(value: Any) -> str:
    """A mistake is then named in the kind of base that was meant."""
    given = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    return "image" if "image" in given else "debian"


Base = Annotated[
    Annotated[DebianBase, Tag("debian")] | Annotated[ImageBase, Tag("image")], Discriminator(_which_base)
]


class JarDependency(Part):
    """A jar on the class path. Exactly one of the three; the lock holds its sha256."""

    maven: Annotated[str, Field(pattern=r"^(\w[\w.-]*:\w[\w.-]*:\w[\w.-]*)?$")] = ""
    """`group:artifact:version`, fetched from the spec's Maven repository."""
    url: Url | Literal[""] = ""
    debian: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9+.-]+:/usr/share/java/[\w.-]+\.jar)?$")] = ""
    """`package:/usr/share/java/NAME.jar`: a jar out of a Debian package."""
    sha256: Digest | None = None
    """Of the jar; must be given for `url`."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(map(bool, (self.maven, self.url, self.debian))) != 1:
            raise ValueError("give one of maven, url and debian")
        if self.url and not self.sha256:
            raise ValueError("a jar by URL needs its sha256: nothing else vouches for it")
        return self


class Java(Part):
    main_class: Annotated[str, Field(pattern=r"^[\w.$]+$")]
    release: Annotated[int, Field(ge=8, le=25)] = 17
    """Of the language and of the class files."""
    jdk: tuple[DebianName, ...] = ("openjdk-17-jdk-headless",)
    """Packages that the compile sandbox is made of, with all that they depend on."""
    dependencies: tuple[JarDependency, ...] = ()
    maven_repository: Url = "https://repo.maven.apache.org/maven2"


class Native(Part):
    """Shared libraries beside the jar (kind java-jni)."""

    library: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    """The source tree's C++ files become `lib<library>.so`."""
    compiler: tuple[DebianName, ...] = ("clang-16", "libc++-16-dev", "libc++abi-16-dev", "lld-16")
    flags: tuple[Text, ...] = ()
    runtime: tuple[DebianName, ...] = (
        "libc++1-16",
        "libc++abi1-16",
        "libc6",
        "libunwind-16",
        "libgcc-s1",
        "gcc-12-base",
    )
    """A layer for each of them, in this order."""


class Python(Part):
    requirements: tuple[Text, ...] = ()
    """PEP 508; resolved and pinned by hash in the lock."""
    pinned: PlaceOrNone = ""
    """A requirements file relative to the spec, every version and hash in it: the lock takes its files and no other."""
    interpreter: tuple[DebianName, ...] = (
        "python3.11-minimal",
        "libpython3.11-minimal",
        "libpython3.11-stdlib",
    )
    """Debian packages that become the interpreter's layer (without what they depend on: that is the base's)."""
    main: Annotated[str, Field(pattern=r"^[\w/]+\.py$")] = "main.py"
    """The program, relative to the source."""
    bytecode: bool | Literal["all"] = False
    """Compile interpreter and packages, in the sandbox: a service that imports much starts sooner, the build takes
    longer (about a second for 10 MB of source) and the image grows by about what is compiled. `all`: the sources
    as well."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if self.pinned and self.requirements:
            raise ValueError("give requirements or a file of pinned ones, not both")
        return self


class LaunchPolicy(Part):
    """`tee.launch_policy.*` labels: what Confidential Space lets the VM's operator change
    (https://cloud.google.com/confidential-computing/confidential-space/docs/create-customize-workloads#launch-policies).
    """

    allow_env_override: tuple[Variable, ...] = ()
    allow_cmd_override: bool = False
    log_redirect: Literal["always", "debugonly", "never"] = "always"
    monitoring: Literal["none", "hardened_memory", "debug_memory", "legacy_memory"] = "none"
    """Written in one spelling only: the old label and the new ones together fail a launch."""

    @field_validator("allow_env_override")
    @classmethod
    def _harmless(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if forbidden(name):
                raise ValueError(f"{name} runs code or redirects trust, so no image may let it be overridden")
        return names


class ImageSpec(Value):
    """`shared/data/images/NAME.yaml`."""

    name: ImageName
    kind: Kind
    source: Place
    """Directory of the sources, relative to the spec: the one line that a user changes."""
    include: tuple[Place, ...] = ()
    """Files and directories of the source that go in; none named: all."""
    leave_out: tuple[Place, ...] = ()
    """Of those, files and directories that do not."""
    base: Base
    java: Java | None = None
    native: Native | None = None
    python: Python | None = None
    env: dict[Variable, Text] = {}
    args: tuple[Text, ...] = ()
    """`Cmd`: arguments behind the entry point."""
    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = ()
    user: Annotated[str, Field(pattern=r"^[0-9]{1,5}:[0-9]{1,5}$")] = "0:0"
    labels: dict[Annotated[str, Field(pattern=r"^[a-z0-9._/-]{1,128}$")], Text] = {}
    launch_policy: LaunchPolicy = LaunchPolicy()
    exclude: tuple[Text, ...] = (
        "usr/share/doc/*",
        "usr/share/man/*",
        "usr/share/locale/*",
        "usr/share/lintian/*",
    )
    """Path patterns (fnmatch) that Debian packages bring and the image leaves out."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        wants = {
            "java": (True, False, False),
            "java-jni": (True, True, False),
            "python": (False, False, True),
        }
        has = (self.java is not None, self.native is not None, self.python is not None)
        if has != wants[self.kind]:
            raise ValueError(
                f"a {self.kind} image needs "
                + {"java": "java:", "java-jni": "java: and native:", "python": "python:"}[self.kind]
                + ", and no other of java:, native: and python:"
            )
        for label in self.labels:
            if label.startswith("tee."):
                raise ValueError(f"the label {label} is written from launch_policy: set it there")
        return self


class LockedInput(Part):
    """One pinned file."""

    role: Literal["base", "interpreter", "wheel", "jar", "native", "jdk", "compiler", "image"]
    name: Annotated[str, Field(min_length=1, max_length=300)]
    """Package or project name, `group:artifact`, or the file's own name."""
    version: Annotated[str, Field(max_length=200)] = ""
    url: Url
    sha256: Digest
    sha1: Annotated[str, Field(pattern=r"^([0-9a-f]{40})?$")] = ""
    """Debian archives: the key of snapshot.debian.org, where a file that left the pool still is."""
    size: Annotated[int, Field(ge=0)]
    debian: DebianVersion | None = None
    path: Annotated[str, Field(max_length=500)] = ""
    """For a jar out of a Debian package: its path inside."""

    @property
    def filename(self) -> str:
        return self.url.rsplit("/", 1)[-1]


class ImageLock(Value):
    """`shared/data/images/NAME.lock.json`: every byte that does not come from the source tree."""

    format: Literal["package-dmz/image-lock/v1"] = "package-dmz/image-lock/v1"
    image: ImageName
    resolved_from: Digest
    """Of the parts of the spec that were resolved (base, java, native, python): a lock of another spec is refused."""
    inputs: tuple[LockedInput, ...]
    """Sorted by role, name and URL; their order in the file means nothing."""


class BuiltLayer(Part):
    name: str
    digest: Digest
    """Of the blob as stored: the manifest names it."""
    diff_id: Digest
    """Of the uncompressed tar: the configuration names it."""
    size: Annotated[int, Field(ge=0)]
    media_type: str


class BuiltImage(Value):
    """What a build came to."""

    name: ImageName
    manifest: Digest
    """Confidential Space's `image_digest`."""
    config: Digest
    """Confidential Space's `image_id`."""
    layers: tuple[BuiltLayer, ...]
    lock: Digest
    codec: Codec
