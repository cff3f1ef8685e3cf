"""Resource names of Artifact Registry and their escaping.

An id's slash, plus and caret are escaped **within the name** (`files/pkg%2Ffile.whl`), and a client escapes the name
once more when it becomes part of a URL:
https://cloud.google.com/artifact-registry/docs/reference/rest/v1/projects.locations.repositories.files#File
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote


def escape(identifier: str) -> str:
    """The id as it stands in a resource name."""
    return identifier.replace("/", "%2F").replace("+", "%2B").replace("^", "%5E")


def unescape(text: str) -> str:
    """The id from a resource name or from a URL, however many of the two escapings it still has."""
    return unquote(unquote(text))


def timestamp(seconds: float) -> str:
    """`seconds` since 1970 as RFC 3339, as protobuf's JSON writes a Timestamp."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True)
class Names:
    """Full names below one project and location."""

    project: str
    location: str

    def parent(self) -> str:
        return f"projects/{self.project}/locations/{self.location}"

    def repository(self, repository: str) -> str:
        return f"{self.parent()}/repositories/{repository}"

    def package(self, repository: str, package: str) -> str:
        return f"{self.repository(repository)}/packages/{escape(package)}"

    def version(self, repository: str, package: str, version: str) -> str:
        return f"{self.package(repository, package)}/versions/{escape(version)}"

    def file(self, repository: str, key: str) -> str:
        return f"{self.repository(repository)}/files/{escape(key)}"

    def operation(self, identifier: str) -> str:
        return f"{self.parent()}/operations/{identifier}"
