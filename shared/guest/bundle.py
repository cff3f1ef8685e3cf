"""Packs the guest for a VM: the only module here that runs on the stage's side.

A VM gets three metadata values: a startup script, the guest as a zipapp, and its configuration.
"""

from __future__ import annotations

import base64
import io
import zipfile
from functools import cache
from pathlib import Path

from shared.errors import Permanent
from shared.guest.config import Config

MAX_VALUE = 256 * 1024
"""Bytes of one metadata value (https://cloud.google.com/compute/docs/metadata/setting-custom-metadata#limitations)."""
MAX_ALL = 512 * 1024

_HERE = Path(__file__).parent
_MAIN = "import sys\nfrom shared.guest.main import main\nsys.exit(main(sys.argv[1:]))\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)

STARTUP = """#!/bin/bash
# Fetches the DMZ guest from this VM's metadata and runs it.
set -euo pipefail
umask 022
mkdir -p /opt/dmz
/usr/bin/python3 -I - <<'EOF'
import base64, time, urllib.request
url = "http://metadata.google.internal/computeMetadata/v1/instance/attributes/dmz-guest"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for left in range(60, -1, -1):
    try:
        request = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
        guest = base64.b64decode(opener.open(request, timeout=10).read(), validate=True)
        break
    except OSError as error:
        print(f"dmz: metadata server: {error}", flush=True)
        if not left:
            raise SystemExit(1)
        time.sleep(2)
open("/opt/dmz/guest.pyz", "wb").write(guest)
EOF
exec /usr/bin/python3 -I /opt/dmz/guest.pyz
"""


def metadata(config: Config) -> dict[str, str]:
    """The metadata of a VM that does what `config` says; Permanent if a value is too large for the API."""
    values = {"startup-script": STARTUP, "dmz-guest": zipapp(), "dmz-config": config.to_json()}
    for name, value in values.items():
        if len(value.encode()) > MAX_VALUE:
            raise Permanent(
                f"The VM's metadata value {name} would have {len(value.encode())} bytes, {MAX_VALUE} are allowed: "
                f"shorten the scripts of the workload {config.workload.name}."
            )
    if sum(len(name) + len(value.encode()) for name, value in values.items()) > MAX_ALL:
        raise Permanent(f"The VM's metadata would exceed {MAX_ALL} bytes: shorten {config.workload.name}.")
    return values


@cache
def zipapp() -> str:
    """base64 of the guest as a zipapp (PEP 441): equal sources give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        _add(archive, "__main__.py", _MAIN.encode())
        _add(archive, "shared/__init__.py", b"")
        for path in sorted(_HERE.glob("*.py")):
            if path.name != Path(__file__).name:
                _add(archive, f"shared/guest/{path.name}", path.read_bytes())
    return base64.b64encode(buffer.getvalue()).decode()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    info.create_system = 3
    archive.writestr(info, data, compresslevel=9)
