"""One Flux process: which parts it has, and its whole life from the first check to the exit code."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, cast

import msgspec

from flux.cli.exits import Exit, leave
from flux.cli.failures import CommandError, ExitCode
from flux.cli.parts import SchedulerPart, ServerPart, WorkerPart
from flux.cli.runtime import LAST_CHANCE, Part, run_loop, run_parts
from flux.cli.signals import IMMEDIATE, Wish
from flux.config import Settings, build_engine
from flux.engine.engine import Engine
from flux.engine.worker_options import Left

if TYPE_CHECKING:
    from flux.api.http import Application
    from flux.sdk.app import Flux

logger = logging.getLogger("flux.runtime")

EVERYTHING = ("worker", "scheduler", "dashboard", "api")
"""All parts, in the order in which they stop."""

AT_ONCE = 0.9
"""Seconds that a process has to hand back what it holds when it is told twice to leave."""


class Service(msgspec.Struct, kw_only=True):
    """What one process runs. ``parts`` are some of ``EVERYTHING``; ``app`` has the handlers, for a worker.

    ``workers`` takes the place of the worker when that is not to run in this process.
    """

    settings: Settings
    parts: Sequence[str]
    app: Flux | None = None
    workers: Part | None = None
    max_jobs: int | None = None
    max_memory: int | None = None
    started: Callable[[], None] | None = None

    def run(self) -> int:
        """Run until the end; the exit code. A worker that is to be recycled starts anew in this same process."""
        configure_logs(self.settings)
        self._check_ports()
        code = run_loop(self._main)
        if code == _RECYCLE:
            _start_anew()
        if code > IMMEDIATE:
            # Told twice: nothing that still runs (a thread, an exit hook) may hold this up.
            leave(code)
        return code

    async def _main(self) -> int:
        last = Exit()
        wish = Wish()
        wish.listen(lambda number: last.within(AT_ONCE, lambda: leave(IMMEDIATE + number)))
        code = await self._run(wish)
        last.within(LAST_CHANCE, _start_anew if code == _RECYCLE else lambda: leave(code))
        return code

    async def _run(self, wish: Wish) -> int:
        async with AsyncExitStack() as stack:
            engine = build_engine(self.settings)
            await engine.open()
            stack.push_async_callback(engine.close)
            if self.app is not None:
                await stack.enter_async_context(self.app.lifespan(engine))
            parts = [self._part(name, engine) for name in self.parts]
            if self._metrics_port is not None:
                parts.append(self._probes(engine, parts, self._metrics_port))
            if self.started is not None:
                self.started()
            await run_parts(parts, wish)
        if wish.now.is_set() and wish.signal is not None:
            return IMMEDIATE + wish.signal
        recycle = any(isinstance(part, WorkerPart) and part.left is Left.RECYCLE for part in parts)
        return _RECYCLE if recycle and not wish.stop.is_set() else ExitCode.DONE

    @property
    def _metrics_port(self) -> int | None:
        """Where metrics have a port of their own; the API serves them on its."""
        return self.settings.metrics_port if set(self.parts) <= {"worker", "scheduler"} else None

    def _probes(self, engine: Engine, parts: Sequence[Part], port: int) -> Part:
        from flux.api.app import create_probes

        def held_up() -> str | None:
            return next(
                (why for part in parts if isinstance(part, WorkerPart) and (why := part.held_up())), None
            )

        probes = create_probes(engine, held_up=held_up)
        return ServerPart("metrics server", probes, self.settings.metrics_host, port, companion=True)

    def _part(self, name: str, engine: Engine) -> Part:
        settings = self.settings
        if name == "worker" and self.workers is not None:
            return self.workers
        if name == "worker":
            handlers = {} if self.app is None else self.app.handlers()
            return WorkerPart(engine, handlers, settings, self.max_jobs, self.max_memory)
        if name == "scheduler":
            return SchedulerPart(engine, settings)
        if name == "dashboard":
            from flux.dashboard.app import create_dashboard

            dashboard = create_dashboard(engine, api_url=url(settings.api_host, settings.api_port))
            # Both are ASGI; the two only write its dictionaries differently.
            app = cast("Application", dashboard)
            return ServerPart(name, app, settings.dashboard_host, settings.dashboard_port)
        from flux.api.app import create_app

        return ServerPart(name, create_app(engine), settings.api_host, settings.api_port)

    def _check_ports(self) -> None:
        settings = self.settings
        if "api" in self.parts:
            _check_port(settings.api_host, settings.api_port, "API_PORT")
        if "dashboard" in self.parts:
            _check_port(settings.dashboard_host, settings.dashboard_port, "DASHBOARD_PORT")
        if self._metrics_port is not None:
            _check_port(settings.metrics_host, self._metrics_port, "FLUX_METRICS_PORT")


_RECYCLE = 64
"""Not an exit code: what ``_main`` says when the process is to start anew."""


def _start_anew() -> None:
    logger.info("starting anew")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def configure_logs(settings: Settings) -> None:
    """Send logs to stderr: text on a terminal, JSON lines elsewhere, unless the settings say which."""
    from flux.telemetry.logs import configure_logging

    json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    configure_logging(settings.log_level, json)


def url(host: str, port: int) -> str:
    """Where a browser on this machine finds a server."""
    shown = "localhost" if host in ("0.0.0.0", "::", "127.0.0.1", "::1") else host
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _check_port(host: str, port: int, setting: str) -> None:
    """Fail before anything has started, and with the name of the setting that helps."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CommandError(f"the host {host} cannot be listened on: {error}", ExitCode.USAGE) from None
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise CommandError(
                f"port {port} on {host} cannot be used: {error.strerror or error}\n{setting} chooses another"
            ) from None
