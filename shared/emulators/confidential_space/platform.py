"""The two servers of the emulator, and what stands behind them."""

import datetime
import os
import shutil
import threading
from collections.abc import Callable

from shared import journal
from shared.emulators import tokens
from shared.emulators.confidential_space import issuer, keys
from shared.emulators.confidential_space.compute import Compute
from shared.emulators.confidential_space.config import Config
from shared.emulators.confidential_space.machine import World
from shared.emulators.confidential_space.pull import Puller
from shared.emulators.confidential_space.roots import Roots
from shared.emulators.registry.http import Reply, Request, Server
from shared.emulators.vm import spec
from shared.emulators.vm.engine import Engine
from shared.errors import Permanent


class Platform:
    """Both servers answer once this is made; `close` ends them and every container."""

    def __init__(self, config: Config) -> None:
        key = tokens.load_key(config.token_key)
        self.engine = Engine(
            spec.Platform(None, config.state, key, config.pubsub, journal=journal.directory(os.environ))
        )
        # The engine's lock is ours by now: nobody else uses what lies here.
        shutil.rmtree(config.state / "launcher", ignore_errors=True)
        self._roots = Roots(config.state / "roots")
        self.signer = keys.Signer(keys.authority(config.ca, datetime.datetime.now(datetime.UTC)))
        self._servers: list[Server] = []
        try:
            issuing = _Late()
            self.issuer_port = self._listen(config.issuer_listen, issuing)
            here = f"http://{config.issuer_listen[0]}:{self.issuer_port}"
            issuing.handle = issuer.Issuer(self.signer, here)
            world = World(
                engine=self.engine,
                puller=Puller(config.registries),
                roots=self._roots,
                signer=self.signer,
                token_key=key,
                hosts={issuer.HOST: here, **config.backends},
                state=config.state,
                limits=config.limits,
                version=config.version,
                support=config.support,
            )
            self._compute = Compute(config.settings, world)
            self.port = self._listen(config.listen, self._compute)
        except BaseException:
            self._stop_servers()
            self.engine.close()
            raise
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
        self._stop_servers()
        self._compute.close()
        self.engine.close()
        self._roots.clear()

    def _listen(self, address: tuple[str, int], handle: Callable[[Request], Reply]) -> int:
        try:
            server = Server(address, handle)
        except OSError as error:
            raise Permanent(
                f"Nothing can listen on {address[0]}:{address[1]}: {error.strerror}; choose another address."
            ) from None
        self._servers.append(server)
        return int(server.server_address[1])

    def _stop_servers(self) -> None:
        for server in self._servers:
            server.server_close()


class _Late:
    """Stands for a handler that needs to know the port before it can be made."""

    handle: Callable[[Request], Reply]

    def __call__(self, request: Request) -> Reply:
        return self.handle(request)
