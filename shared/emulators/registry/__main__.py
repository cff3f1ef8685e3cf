"""`python -m shared.emulators.registry --config FILE`: serve until SIGTERM or SIGINT."""

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path

from shared.emulators.registry import config as configuration
from shared.emulators.registry.app import App
from shared.emulators.registry.http import Server
from shared.errors import DmzError


def main(arguments: list[str] | None = None) -> int:
    """Run the emulator; returns the exit status."""
    parser = argparse.ArgumentParser(prog="registry", description="A local stand-in for Artifact Registry.")
    parser.add_argument("--config", type=Path, required=True, help="JSON configuration; see config.py")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="registry %(levelname)s %(message)s")
    try:
        config = configuration.load(options.config)
        app = App(config)
        server = Server((config.host, config.port), app)
    except (DmzError, OSError) as error:
        print(f"registry: {error}", file=sys.stderr)
        return 1

    def stop(_number: int, _frame: object) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if config.port_file:
        partial = config.port_file.with_suffix(".partial")
        partial.write_text(f"{server.server_address[1]}\n")
        partial.replace(config.port_file)
    with server:
        server.serve_forever()
    app.store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
