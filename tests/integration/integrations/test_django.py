"""Flux in a Django project of its own, run as its users run it: `manage.py flux_worker` and `flux worker`."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.places import clean_environment

PATIENCE = 60.0

PROJECT = {
    "manage.py": """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
""",
    "settings.py": """
from pathlib import Path
HERE = Path(__file__).parent
SECRET_KEY = "not a secret"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["shop", "flux.integrations.django"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": HERE / "shop.sqlite3",
        # Two writers at once wait for each other instead of failing.
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 30},
    }
}
FLUX_URL = f"sqlite:///{HERE / 'flux.db'}"
""",
    "shop/__init__.py": "",
    "shop/models.py": """
from django.db import models

class Order(models.Model):
    state = models.CharField(max_length=20, default="new")
""",
    "shop/jobs.py": """
import os

from django.db import connection
from flux.integrations.django import get_flux

flux = get_flux()

@flux.job(max_retries=0)
def pay(order: int) -> str:
    from shop.models import Order
    # The thread is the worker's; the attempt before has left no connection in it.
    assert connection.connection is None
    Order.objects.filter(pk=order).update(state="paid")
    return Order.objects.get(pk=order).state

@flux.job(max_retries=0)
async def ship(order: int) -> str:
    from shop.models import Order
    await Order.objects.filter(pk=order).aupdate(state="shipped")
    return (await Order.objects.aget(pk=order)).state

@flux.job(max_retries=0, isolation="process")
def audit(order: int) -> int:
    from shop.models import Order
    assert Order.objects.filter(pk=order).exists()
    return os.getpid()

@flux.job(max_retries=0, chunk=10)
def count(orders: list[int]) -> list[int]:
    from shop.models import Order
    return [Order.objects.filter(pk=order).count() for order in orders]
""",
    "use.py": """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django
django.setup()

from django.db import transaction
from flux import Enqueue, JobState
from flux.integrations.django import enqueue_on_commit, get_flux
from shop.jobs import audit, count, flux, pay, ship
from shop.models import Order

assert flux is get_flux()
order = Order.objects.create()

enqueued = []

@flux.middleware
async def watch(enqueue: Enqueue, call_next):
    accepted = await call_next(enqueue)
    enqueued.append([job.id for job in accepted])
    return accepted

with transaction.atomic():
    enqueue_on_commit(pay.request(order=order.pk), pay.request(order=order.pk))
    assert enqueued == [], "before the commit"
assert [len(ids) for ids in enqueued] == [2], enqueued
try:
    with transaction.atomic():
        enqueue_on_commit(pay.request(order=order.pk))
        raise KeyError
except KeyError:
    pass
assert len(enqueued) == 1, "a rolled back transaction enqueues nothing"

for job_id in enqueued[0]:
    assert flux.result_sync(job_id, timeout=40) == "paid"
for _ in range(5):
    # One after the other, so that threads are used again.
    assert pay.enqueue_sync(order=order.pk).result_sync(timeout=40) == "paid"
before = len(enqueued)
enqueue_on_commit(ship.request(order=order.pk))
assert len(enqueued) == before + 1, "no transaction: at once"
assert flux.result_sync(enqueued[-1][0], timeout=40) == "shipped"
assert audit.enqueue_sync(order=order.pk).result_sync(timeout=40) != os.getpid()
assert count.enqueue_sync(order.pk).result_sync(timeout=40) == 1
flux.close_sync()
print("all is well")
""",
}


class Project:
    """A Django project in a folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        for name, text in PROJECT.items():
            path = home / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        self.environ = clean_environment(DJANGO_SETTINGS_MODULE="settings")
        self._started: list[subprocess.Popen[str]] = []

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", *args],
            cwd=self.home,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def start(self, *args: str) -> subprocess.Popen[str]:
        with (self.home / "worker.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, *args],
                cwd=self.home,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._started.append(process)
        return process

    @property
    def log(self) -> str:
        return (self.home / "worker.log").read_text()

    def end(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path)
    done = made.run("manage.py", "migrate", "--run-syncdb", "--verbosity", "0")
    assert done.returncode == 0, done.stderr
    yield made
    made.end()


@pytest.mark.parametrize(
    "command",
    [
        ("-W", "error", "manage.py", "flux_worker", "--concurrency", "4"),
        ("-m", "flux", "worker", "shop.jobs:flux"),
    ],
    ids=["manage", "flux"],
)
def test_a_project_and_its_worker(project: Project, command: tuple[str, ...]) -> None:
    worker = project.start(*command)
    # `flux worker` has no scheduler, and nothing here needs one.
    done = project.run("use.py")
    assert done.returncode == 0, f"{done.stderr}\n{project.log}"
    assert done.stdout == "all is well\n"
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE) == 0, project.log


def test_the_command_says_what_it_runs_and_what_is_wrong(project: Project) -> None:
    worker = project.start("manage.py", "flux_worker", "--queues", "mail", "--no-scheduler")
    until = time.monotonic() + PATIENCE
    while "running audit, count, pay, ship" not in project.log:
        assert worker.poll() is None, project.log
        assert time.monotonic() < until, project.log
        time.sleep(0.05)
    worker.send_signal(signal.SIGINT)
    assert worker.wait(PATIENCE) == 0, project.log
    done = project.run("manage.py", "flux_worker", "--concurrency", "0")
    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: --concurrency '0'")
    assert "Traceback" not in done.stderr


def test_a_project_that_did_not_install_it(project: Project) -> None:
    settings = project.home / "settings.py"
    settings.write_text(settings.read_text().replace(', "flux.integrations.django"', ""))
    done = project.run("use.py")
    assert done.returncode == 1
    assert "LookupError: No installed app with label 'flux'" in done.stderr
