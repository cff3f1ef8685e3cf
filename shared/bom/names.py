"""Under which names the documents of a lock lie beside it in the generic repository. Pure."""

from __future__ import annotations

from shared.model.value import Digest

SBOM, VEX = "sbom.cdx.json", "vex.cdx.json"


def place(lock: Digest, document: Digest, filename: str) -> tuple[str, str, str]:
    """(package, version, file name). The lock names the package, the document's own hash its version.

    One lock may be approved again on newer advisories: that is another document, beside the first.
    """
    return f"bom-{lock.removeprefix('sha256:')}", document.removeprefix("sha256:"), filename


def is_document(name: str, sha256: Digest) -> bool:
    """Whether a stored file, `package:version:filename`, is such a document: it installs nothing, whatever it says."""
    package, _, rest = name.partition(":")
    return package.startswith("bom-") and rest in {f"{sha256[7:]}:{SBOM}", f"{sha256[7:]}:{VEX}"}
