"""Python repositories, as `https://REGION-python.pkg.dev/PROJECT/REPOSITORY/` serves them.

Upload is twine's form: https://docs.pypi.org/api/upload/. An existing file is answered 400 "Requested entity already
exists." (https://github.com/pypa/twine/issues/1007 shows Artifact Registry's answer). The index is HTML, PEP 503, with
data-requires-python and a sha256 fragment; the JSON form of PEP 691 is not known to exist there and so is not here.
"""

import html
import re
from collections.abc import Iterable
from email.message import Message
from urllib.parse import quote, unquote

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from shared.emulators.registry.blobs import Staged, Staging
from shared.emulators.registry.http import Reply, Request
from shared.emulators.registry.multipart import Multipart, boundary
from shared.emulators.registry.problems import Problem
from shared.emulators.registry.store import NewFile, Store, StoredFile

_FIELD_LIMIT = 4 << 20  # the long description is one of the fields
_SIMPLE = re.compile(r"simple/?(?:([^/]+)/?)?")
# Stricter than packaging, which lets quotes and slashes through in an sdist's name.
_FILENAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+!-]*")
_FILE = re.compile(r"([^/]+)/([^/]+)")


class PythonFiles:
    """Serves the paths below `https://REGION-python.pkg.dev/PROJECT/REPOSITORY/`."""

    def __init__(self, store: Store, project: str) -> None:
        self._store = store
        self._project = project

    def upload(self, request: Request, repository: str) -> Reply:
        """Take one file in twine's form; 400 if it is there already or is not what the form says."""
        multipart = Multipart(request.body, boundary(request.headers.get("content-type", "")))
        form: dict[str, str] = {}
        filename = None
        with self._store.stage() as staging:
            for headers in multipart.parts():
                name = _field_name(headers)
                if name == "content":
                    if filename is not None:
                        raise Problem(400, "The form has the field content twice.", plain=True)
                    filename = headers.get_filename() or ""
                    multipart.copy(staging.write)
                else:
                    # A list field (classifiers, requires_dist) repeats; the first value is of no use here.
                    form.setdefault(name, multipart.text(_FIELD_LIMIT).decode(errors="replace"))
            self._add(repository, form, filename, staging)
        return Reply(content_type="text/plain; charset=utf-8")

    def _add(self, repository: str, form: dict[str, str], filename: str | None, staging: Staging) -> None:
        if filename is None:
            raise Problem(400, "The form has no field content.", plain=True)
        staged = staging.finish()
        new = _checked(form, filename, staged)
        if self._store.add(repository, new, staged) is None:
            raise Problem(400, "Requested entity already exists.", "ALREADY_EXISTS", plain=True)

    def serve(self, method: str, repository: str, path: str) -> Reply:
        """The index page or file at `path`, below the repository; 404 if there is none."""
        if method not in {"GET", "HEAD"}:
            raise Problem(405, f"Method {method} is not allowed here.")
        match = _FILE.fullmatch(path)
        file = self._store.file(repository, f"{match[1]}/{unquote(match[2])}") if match else None
        if file is None:  # files first: a project may be called "simple"
            if simple := _SIMPLE.fullmatch(path):
                return self._index(repository, simple[1], path)
            raise Problem(404, "Requested entity was not found.", plain=True)
        return Reply(
            content_type="application/octet-stream",
            path=self._store.blobs.path(file.sha256),
            headers={"ETag": f'"{file.sha256}"'},
        )

    def _index(self, repository: str, name: str | None, path: str) -> Reply:
        base = f"/{self._project}/{repository}"
        if name is None:
            links = "".join(
                f'<a href="{base}/simple/{package.name}/">{package.name}</a><br/>\n'
                for package in self._store.packages(repository)
            )
            return _page("Simple Index", links)
        canonical = canonicalize_name(unquote(name))
        if name != canonical or not path.endswith("/"):
            return Reply(code=301, headers={"Location": f"{base}/simple/{quote(canonical)}/"})
        files = self._store.files(repository, package=canonical)
        if not files:
            raise Problem(404, "Requested entity was not found.", plain=True)
        return _page(f"Links for {canonical}", _links(base, files))


def _links(base: str, files: Iterable[StoredFile]) -> str:
    lines = []
    for file in files:
        filename = str(file.meta["filename"])
        attribute = ""
        if file.meta["requires_python"]:
            attribute = f' data-requires-python="{html.escape(str(file.meta["requires_python"]))}"'
        href = f"{base}/{file.package}/{quote(filename)}#sha256={file.sha256}"
        lines.append(f'<a href="{href}"{attribute}>{html.escape(filename)}</a><br/>\n')
    return "".join(lines)


def _page(title: str, links: str) -> Reply:
    meta = '<meta name="pypi:repository-version" content="1.0">'
    head = f"<!DOCTYPE html>\n<html><head>{meta}<title>{title}</title></head>"
    content = f"{head}\n<body><h1>{title}</h1>\n{links}</body></html>\n"
    return Reply(
        content_type="text/html; charset=utf-8",
        content=content.encode(),
        headers={"Cache-Control": "no-cache"},
    )


def _field_name(headers: Message) -> str:
    name = headers.get_param("name", header="content-disposition")
    if not isinstance(name, str) or not name:
        raise Problem(400, "A part of the form has no name.", plain=True)
    return name


def _checked(form: dict[str, str], filename: str, staged: Staged) -> NewFile:
    """The file that the form describes.

    Checks: (1) it is an upload; (2) the file name is a wheel's or an sdist's; (3) name and (4) version are the file
    name's; (5) every digest given is the content's, and sha256 is given.
    """
    if form.get(":action") != "file_upload" or form.get("protocol_version", "1") != "1":  # 1
        raise Problem(400, "The form must have :action file_upload and protocol_version 1.", plain=True)
    name, version = _from_filename(filename)  # 2
    if canonicalize_name(form.get("name", "")) != name:  # 3
        raise Problem(400, f"The name {form.get('name')!r} is not that of the file {filename!r}.", plain=True)
    try:
        same = Version(form.get("version", "")) == version
    except InvalidVersion:
        same = False
    if not same:  # 4
        raise Problem(
            400, f"The version {form.get('version')!r} is not that of the file {filename!r}.", plain=True
        )
    for key, actual in (("sha256_digest", staged.sha256), ("md5_digest", staged.md5)):  # 5
        claimed = form.get(key, "" if key == "sha256_digest" else actual)
        if claimed.lower() != actual:
            raise Problem(400, f"The {key} {claimed!r} is not that of the content, {actual}.", plain=True)
    meta = {"filename": filename, "requires_python": form.get("requires_python", "")}
    return NewFile(f"{name}/{filename}", name, form["version"], meta)


def _from_filename(filename: str) -> tuple[str, Version]:
    refused = Problem(400, f"The file name {filename!r} is not that of a wheel or sdist.", plain=True)
    if not _FILENAME.fullmatch(filename):
        raise refused
    try:
        if filename.endswith(".whl"):
            name, version, _, _ = parse_wheel_filename(filename)
        else:
            name, version = parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion) as error:
        raise Problem(
            400, f"The file name {filename!r} is not that of a wheel or sdist.", plain=True
        ) from error
    return name, version
