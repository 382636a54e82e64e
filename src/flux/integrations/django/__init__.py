"""Flux in Django: ``INSTALLED_APPS = [..., "flux.integrations.django"]`` and ``FLUX_URL = "sqlite:///flux.db"``.

Handlers are declared in a ``jobs`` module of your applications, and ``manage.py flux_worker`` runs them::

    # shop/jobs.py
    flux = get_flux()

    @flux.job
    def send_receipt(order: int) -> None: ...

    # shop/views.py
    with transaction.atomic():
        order = Order.objects.create(...)
        enqueue_on_commit(send_receipt.request(order=order.pk))
"""

from __future__ import annotations

from typing import Any

import django
from django.apps import apps as registry
from django.db import transaction

from flux.sdk.app import Flux
from flux.sdk.handler import Request

__all__ = ["enqueue_on_commit", "get_flux"]


def get_flux() -> Flux:
    """The application of ``settings.FLUX_URL`` (without it, of the environment)."""
    from flux.integrations.django.apps import FluxConfig

    if not registry.apps_ready and not registry.loading:
        # `flux worker shop.jobs:flux` and the children of isolated handlers import a jobs module and nothing before it.
        django.setup()

    config = registry.get_app_config("flux")
    if not isinstance(config, FluxConfig):
        raise RuntimeError(f'the label "flux" belongs to {config.name}, not to flux.integrations.django')
    return config.flux


def enqueue_on_commit(*requests: Request[Any], using: str | None = None) -> None:
    """Enqueue when the transaction that is open on the database ``using`` commits, all in one; at once when none is.

    A rolled back transaction enqueues nothing. A process that dies between the two commits enqueues nothing either.
    """
    # Read now and not at the commit: whoever forgot INSTALLED_APPS hears of it in the view.
    flux = get_flux()
    transaction.on_commit(lambda: _enqueue(flux, requests), using=using)


def _enqueue(flux: Flux, requests: tuple[Request[Any], ...]) -> None:
    flux.enqueue_many_sync(requests)
