"""`python -m shared.emulators.confidential_space --config FILE`: serve until SIGTERM or SIGINT; see config.py for FILE.

SIGUSR1 rotates the key that signs OIDC tokens. Containers end with this process, however it ends.
"""

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from shared.emulators.confidential_space import config as configuration
from shared.emulators.confidential_space.platform import Platform
from shared.emulators.vm import preflight
from shared.errors import DmzError


def _serve(config: configuration.Config) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    preflight.require(containers=True)
    platform = Platform(config)
    # A new key takes a moment: in a thread, for this one may be in the middle of anything.
    signal.signal(
        signal.SIGUSR1, lambda *_: threading.Thread(target=platform.signer.rotate, daemon=True).start()
    )
    try:
        if platform.engine.swept:
            print(f"removed what an earlier run left: {', '.join(platform.engine.swept)}", file=sys.stderr)
        for file, port in (
            (config.port_file, platform.port),
            (config.issuer_port_file, platform.issuer_port),
        ):
            if file:
                partial = file.with_name(f".{file.name}")
                partial.write_text(f"{port}\n", encoding="ascii")
                partial.rename(file)
        print(f"{platform.port} {platform.issuer_port}", flush=True)
        stop.wait()
    finally:
        platform.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="A local stand-in for Confidential Space.")
    parser.add_argument("--config", type=Path, required=True, help="JSON configuration; see config.py")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        _serve(configuration.parse(arguments.config.read_text(encoding="utf-8")))
    except (DmzError, OSError) as error:
        print(str(error), file=sys.stderr)
        return 1
    # Pulls and connections that still run in threads have nobody left to serve.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
