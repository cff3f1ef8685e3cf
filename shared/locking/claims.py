"""What a VM claims to have, held against its workload and the verdicts before a lock is made of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shared.errors import Permanent
from shared.model.lock import LockedEnvironment, LockedGeneric
from shared.model.manifest import ClaimedManifest, Environment
from shared.model.package import in_interpreter
from shared.model.value import Digest
from shared.model.verdict import Verdict
from shared.model.workload import Workload

_MAX_GENERIC = 16 * 1024**3
"""Bytes of all files by URL of a run."""


def environments(manifest: ClaimedManifest) -> tuple[Environment, ...]:
    """Environments that the install made or changed; what dpkg manages comes as archives."""
    return tuple(
        environment
        for environment in manifest.environments
        if not environment.managed_by_dpkg and any(not package.in_base for package in environment.packages)
    )


def check_readable(manifest: ClaimedManifest) -> None:
    """What nobody can read was held, and nothing can be looked for in its place: nothing is fetched for such a run."""
    if not manifest.unreadable:
        return
    first, count = manifest.unreadable[0], len(manifest.unreadable)
    purl, others = first.package(manifest.release).purl, f", as {count - 1} others are" if count > 1 else ""
    raise Permanent(
        f"{purl} is held{others}: {first.reason}. Nothing can replace it: have the workload's install script leave it "
        f"out, or{' take another runtime_version, or' if first.in_base else ''} install it under a name and a version "
        "that its ecosystem allows."
    )


def check_base(manifest: ClaimedManifest, verdicts: Mapping[str, Verdict]) -> None:
    """Python packages of the base image are not installed from the lock, so nothing can replace a refused one."""
    for environment in manifest.environments:
        for package in environment.packages if not environment.managed_by_dpkg else ():
            purl = package.package().purl
            verdict = verdicts.get(purl)
            if package.in_base and (verdict is None or verdict.decision != "allow"):
                own = in_interpreter(environment.path)
                raise Permanent(
                    f"{purl} is refused ({verdict.reason if verdict else 'it has no verdict'}), and it "
                    f"{'came with the interpreter, lying' if own else 'is part of the base image'} in "
                    f"{environment.path}: have the workload's install script replace it, take another "
                    f"{'interpreter' if own else 'runtime_version'}, or change the policy."
                )


def lock_generic(
    manifest: ClaimedManifest, workload: Workload, verdicts: Mapping[str, Verdict]
) -> tuple[LockedGeneric, ...]:
    """Files fetched by URL; nothing replaces a refused one.

    1. The workload's author wrote the URL. 2. The policy allows the file. 3. All of them have a bearable size.
    4. The interpreter is what the workload declares.
    """
    _check_interpreter(manifest, workload)  # 4
    named = workload.urls
    for file in manifest.generic:
        if file.url not in named:  # 1
            raise Permanent(
                f"{file.url} is refused: the workload does not name it. If it is to be fetched, write the whole URL "
                "into the install script, between blanks or quotes, or into the workload's `files`."
            )
        verdict = verdicts.get(file.package().purl)
        if verdict is None or verdict.decision != "allow":  # 2
            reason = verdict.reason if verdict else "it has no verdict"
            raise Permanent(
                f"{file.url} is refused ({reason}), needed by the workload itself; nothing can replace it."
            )
    files = {
        (f.sha256, f.url): LockedGeneric(url=f.url, sha256=f.sha256, size=f.size) for f in manifest.generic
    }
    if (total := sum(file.size for file in files.values())) > _MAX_GENERIC:  # 3
        raise Permanent(
            f"The files by URL are said to have {total} bytes in all, which is more than {_MAX_GENERIC}; have the "
            "install script fetch fewer."
        )
    return tuple(files[key] for key in sorted(files))


def check_contents(environments: Iterable[LockedEnvironment]) -> None:
    """One content is one package: bytes are fetched once, and so proved under one name (`shared.upstream.proof`)."""
    found: dict[Digest, str] = {}
    for environment in environments:
        for file in (each for package in environment.packages for each in (package, *package.build)):
            other = found.setdefault(file.sha256, file.filename)
            if other != file.filename:
                raise Permanent(
                    f"{other} and {file.filename} have one content, {file.sha256}, and it is one package alone: the "
                    "index offers it under the name of another one; refused. Leave out the one that it is not."
                )


def _check_interpreter(manifest: ClaimedManifest, workload: Workload) -> None:
    """What Python the machine is said to have been given; the inner VM's own words are held to this later.

    1. A file passes for an interpreter only where the workload declares one. 2. It is that one, by URL and sha256.
    3. It has the minor version by which the author chose it. 4. A workload that declares one was installed with it.
    """
    wanted = workload.interpreter
    said = {(file.url, file.sha256, file.interpreter) for file in manifest.generic if file.interpreter}
    for url, digest, version in sorted(said):
        if wanted is None:  # 1
            raise Permanent(
                f"The outer VM took {url} for its interpreter, and the workload declares none; refused."
            )
        if (url, digest) != (wanted.url, wanted.sha256):  # 2
            raise Permanent(
                f"The outer VM took {url} with {digest} for its interpreter; the workload pins {wanted.url} with "
                f"{wanted.sha256}: refused."
            )
        if not version.startswith(f"{wanted.version}."):  # 3
            raise Permanent(
                f"The outer VM says that {url} is Python {version}; the workload declares {wanted.version}: refused."
            )
    if len(said) != (wanted is not None):  # 4
        raise Permanent(
            f"The workload declares Python {wanted.version if wanted else ''} from {wanted.url if wanted else ''}, and "
            f"the outer VM names {len(said)} interpreters; it was not installed with that one, refused."
        )
