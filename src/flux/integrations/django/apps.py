"""The Django application, which owns the ``Flux`` object of the process."""

from __future__ import annotations

from functools import cached_property

from django.apps import AppConfig
from django.conf import settings

from flux.integrations.django.connections import DjangoFlux


class FluxConfig(AppConfig):
    """``flux.integrations.django`` in INSTALLED_APPS."""

    name = "flux.integrations.django"
    label = "flux"
    verbose_name = "Flux"

    @cached_property
    def flux(self) -> DjangoFlux:
        """Of ``settings.FLUX_URL``; of the environment and ``flux.toml`` when there is no such setting."""
        return DjangoFlux(getattr(settings, "FLUX_URL", None))
