"""Where the local platform keeps things."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.errors import Permanent

CHECKOUT = Path(__file__).resolve().parent.parent.parent
KINDS = ("sdk", "docker", "memory")
"""What may stand behind Pub/Sub and Firestore: see `functions.local.backing`."""
_LEAST_FREE = 256 * 1024 * 1024
"""Bytes: with less, an emulator would fail halfway into its first file."""


@dataclass(frozen=True)
class Layout:
    """State belongs to one checkout and may go when nothing runs; caches are shared and may go always."""

    home: Path
    """`.dmz` in the checkout, or DMZ_HOME."""
    cache: Path

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def configs(self) -> Path:
        return self.home / "config"

    @property
    def registry(self) -> Path:
        """What the private repositories hold; survives `down`."""
        return self.home / "registry"

    @property
    def machines(self) -> Path:
        return self.home / "vms"

    @property
    def scratch(self) -> Path:
        """Temporary files of the stages."""
        return self.home / "tmp"

    @property
    def journal(self) -> Path:
        """What was published to an emulator that holds it in memory alone (`shared.journal`)."""
        return self.home / "journal"

    @property
    def gcloud(self) -> Path:
        """A configuration directory for gcloud of the platform's own: never the user's accounts."""
        return self.home / "gcloud"

    @property
    def token_key(self) -> Path:
        return self.home / "token.key"

    @property
    def lock(self) -> Path:
        """Held by the one supervisor of this state directory."""
        return self.home / "lock"

    @property
    def platform(self) -> Path:
        """Written when everything answers, removed at the end."""
        return self.home / "platform.json"

    @property
    def ended(self) -> Path:
        """Why the last platform ended by itself; not there if it did not."""
        return self.home / "ended"

    def prepare(self) -> None:
        """Make the directories; Permanent if that is not possible."""
        for directory in (
            self.home,
            self.logs,
            self.configs,
            self.registry,
            self.machines,
            self.scratch,
            self.journal,
            self.gcloud,
            self.cache,
        ):
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise Permanent(
                    f"The directory {directory} cannot be made: {error.strerror}; "
                    "name another place in DMZ_HOME (state) or XDG_CACHE_HOME (caches)."
                ) from error
            if not os.access(directory, os.W_OK | os.X_OK):
                raise Permanent(
                    f"The directory {directory} cannot be written to; "
                    "name another place in DMZ_HOME (state) or XDG_CACHE_HOME (caches)."
                )
            free = shutil.disk_usage(directory).free
            if free < _LEAST_FREE:
                raise Permanent(
                    f"The disk of {directory} has {free // 2**20} MB left; at least "
                    f"{_LEAST_FREE // 2**20} MB are needed: "
                    "free some, or name another place in DMZ_HOME (state) or XDG_CACHE_HOME (caches)."
                )


def layout(environment: Mapping[str, str], home: Path | None = None) -> Layout:
    """The places that the environment asks for."""
    cache = environment.get("XDG_CACHE_HOME") or os.fspath(Path.home() / ".cache")
    state = home or Path(environment.get("DMZ_HOME") or CHECKOUT / ".dmz")
    return Layout(home=state.absolute(), cache=Path(cache).absolute() / "package-dmz")


def explained(error: OSError) -> str:
    """The operating system's refusal as one sentence."""
    where = f" ({error.filename})" if error.filename else ""
    what = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"The disk is full{where}: free some space, or name another place in DMZ_HOME and XDG_CACHE_HOME."
        )
    return f"The operating system refused{where}: {what}."
