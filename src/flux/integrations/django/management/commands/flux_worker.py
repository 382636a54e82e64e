"""``manage.py flux_worker``: run the jobs that the ``jobs`` modules of the installed applications declare."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.module_loading import autodiscover_modules

from flux.domain.errors import FluxError
from flux.integrations.django import get_flux
from flux.sdk.app import Flux


class Command(BaseCommand):
    """A worker, and a scheduler, until SIGTERM or Ctrl+C: once it finishes what runs, twice it hands it back."""

    help = "Run the jobs of this project until SIGTERM or Ctrl+C."

    def add_arguments(self, parser: CommandParser) -> None:
        """See ``BaseCommand``."""
        parser.add_argument("--concurrency", type=int, help="Jobs at the same time (WORKER_CONCURRENCY, 10).")
        parser.add_argument("--queues", help='Such as "default,email:5" (WORKER_QUEUES, all).')
        parser.add_argument(
            "--no-scheduler",
            action="store_true",
            help="Leave schedules, retries and rescue to other processes.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """See ``BaseCommand``."""
        autodiscover_modules("jobs")
        flux = get_flux()
        try:
            asyncio.run(self._work(flux, options))
        except FluxError as error:
            raise CommandError(str(error)) from None

    async def _work(self, flux: Flux, options: dict[str, Any]) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with flux.worker(
            options["concurrency"], options["queues"], scheduler=not options["no_scheduler"]
        ) as worker:

            def leave() -> None:
                if stop.is_set():
                    worker.stop_now()
                stop.set()

            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, leave)
            self.stdout.write(f"{flux!r}: running {', '.join(sorted(flux.handlers())) or 'no handlers'}")
            self.stdout.flush()
            await stop.wait()
