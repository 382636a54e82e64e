"""Fixtures for jobs in tests: ``pytest_plugins = ["flux.integrations.pytest"]`` in the top ``conftest.py``.

Which application is tested is in the ini file (``flux_app = "shop.jobs:flux"``), or in a ``flux_app`` fixture of your
own, which wins. No entry point on purpose: what does not use these fixtures does not load them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Any

import pytest

from flux.sdk.app import Flux
from flux.sdk.inline import InlineDoor
from flux.testing import Sandbox, inline, sandbox


def _async_fixture(function: Callable[..., AsyncIterator[Any]]) -> Any:
    if find_spec("pytest_asyncio") is None:
        return pytest.fixture(function)  # anyio's plugin runs these as they are
    # In its strict mode pytest-asyncio leaves alone what was not made by itself.
    import pytest_asyncio

    return pytest_asyncio.fixture(function)


def pytest_addoption(parser: pytest.Parser) -> None:
    """See pytest."""
    parser.addini("flux_app", "The Flux object that is tested, as module:attribute.")


@pytest.fixture
def flux_app(pytestconfig: pytest.Config) -> Flux:
    """The application that is tested: the ini option ``flux_app``, unless you have a fixture of this name."""
    spec = str(pytestconfig.getini("flux_app"))
    if ":" not in spec:
        raise pytest.UsageError('which Flux is tested? flux_app = "module:attribute" in the ini file says it')
    found = resolve_name(spec)
    if not isinstance(found, Flux):
        raise pytest.UsageError(f"flux_app: {spec} is {type(found).__name__!r} and not a Flux object")
    return found


@_async_fixture
async def flux_sandbox(flux_app: Flux) -> AsyncIterator[Sandbox]:
    """The real engine on a store in memory, whose clock the test moves: ``await flux_sandbox.drain("1h")``."""
    async with sandbox(flux_app) as box:
        yield box


@pytest.fixture
def flux_inline(flux_app: Flux) -> Iterator[InlineDoor]:
    """Every enqueue runs its handler before it returns; ``flux_inline.jobs`` are the jobs by id."""
    with inline(flux_app) as door:
        yield door
