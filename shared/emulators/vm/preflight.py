"""What this machine lacks for running VMs, said before anything starts: one sentence per lack, each with a remedy."""

import os
import shutil
import sys
from pathlib import Path

from shared.emulators.vm import confine, idmap
from shared.emulators.vm.slirp import TUN
from shared.errors import Permanent

_TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "slirp4netns": "slirp4netns",
    "tar": "tar",
    "find": "findutils",
}
_UNPACKING = ("tar", "find")
_SUBORDINATE = {"newuidmap": "uidmap", "newgidmap": "uidmap"}
_USER_NAMESPACES = Path("/proc/sys/user/max_user_namespaces")
# Ubuntu 23.10 and later, https://ubuntu.com/blog/ubuntu-23-10-restricted-unprivileged-user-namespaces
_APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")


def lacks(*, containers: bool = False) -> list[str]:
    """Sentences for a person; empty if VMs can run here, as far as can be seen without starting one.

    `containers`: they alone, which bring their roots along and have no way out.
    """
    if sys.platform != "linux" or os.uname().machine not in confine.ARCHITECTURES:
        return [f"VMs need Linux on {' or '.join(confine.ARCHITECTURES)}, and this is {os.uname().machine}."]
    found = []
    needed = {tool: package for tool, package in _TOOLS.items() if not containers or tool in _UNPACKING}
    tools = needed if idmap.as_root() else needed | _SUBORDINATE
    missing = {package for tool, package in tools.items() if not shutil.which(tool, path=_path())}
    if missing:
        found.append(
            f"Debian or Ubuntu packages are missing: `sudo apt-get install {' '.join(sorted(missing))}`."
        )
    if _number(_USER_NAMESPACES) == 0:
        found.append(f"User namespaces are off: `echo 10000 | sudo tee {_USER_NAMESPACES}`.")
    if not idmap.as_root():
        found += _lacks_of_a_user(containers=containers)
    return found


def require(*, containers: bool = False) -> None:
    """Permanent with all that is lacking."""
    if found := lacks(containers=containers):
        raise Permanent(" ".join(found))


def _lacks_of_a_user(*, containers: bool) -> list[str]:
    found = []
    if _number(_APPARMOR) == 1:
        found.append(
            f"AppArmor keeps user namespaces from users: `echo 0 | sudo tee {_APPARMOR}`, or run as root."
        )
    if not containers and not os.access(TUN, os.R_OK | os.W_OK):
        found.append(
            f"{TUN} is closed to this user: `sudo chmod 666 {TUN}` (udev's default), or run as root."
        )
    for table in (idmap.SUBUID, idmap.SUBGID):
        try:
            idmap.subordinate(table)
        except Permanent as error:
            found.append(str(error))
            break
    return found


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _path() -> str:
    """Users' PATHs often lack the places of administration."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
