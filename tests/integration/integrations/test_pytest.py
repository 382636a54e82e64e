"""The fixtures for a user's own tests."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

APP = """
from flux import Context, Flux

flux = Flux("sqlite:////nowhere/at/all.db")


@flux.job
async def double(n: int) -> int:
    return 2 * n


@flux.job(max_retries=1, backoff=["1h"])
async def second(ctx: Context) -> int:
    if ctx.attempt == 1:
        raise OSError("again")
    return ctx.attempt
"""

INI = """
[pytest]
addopts = -p no:cacheprovider
filterwarnings = error
asyncio_default_fixture_loop_scope = function
pythonpath = .
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(app=APP)
    pytester.makeconftest('pytest_plugins = ["flux.integrations.pytest"]')
    return pytester


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_the_fixtures(project: pytest.Pytester, mode: str) -> None:
    project.makefile(".ini", pytest=f"{INI}asyncio_mode = {mode}\nflux_app = app:flux\n")
    project.makepyfile(
        test_it="""
        import pytest
        from app import double, flux, second


        @pytest.mark.asyncio
        async def test_in_a_sandbox(flux_sandbox):
            assert flux_sandbox.flux is flux
            job, late = await double.enqueue(n=2), await second.enqueue()
            await flux_sandbox.drain()
            assert await job.result() == 4
            await flux_sandbox.drain("2h")
            assert await late.result() == 2


        def test_inline(flux_inline):
            job = double.enqueue_sync(n=3)
            assert job.result_sync() == 6
            assert list(flux_inline.jobs) == [job.id]


        @pytest.mark.asyncio
        async def test_each_sandbox_is_empty(flux_sandbox):
            assert await flux_sandbox.jobs() == []
        """
    )
    project.runpytest_subprocess("-q").assert_outcomes(passed=3)


def test_a_fixture_of_ones_own_wins(project: pytest.Pytester) -> None:
    project.makefile(".ini", pytest=INI)
    project.makepyfile(
        test_it="""
        import pytest
        import app


        @pytest.fixture
        def flux_app():
            return app.flux


        def test_inline(flux_inline):
            assert app.double.enqueue_sync(n=3).result_sync() == 6
        """
    )
    project.runpytest_subprocess("-q").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("line", "said"),
    [("", "*which Flux is tested?*"), ("flux_app = app:APP_NAME", "*app:APP_NAME is 'str'*")],
)
def test_what_is_not_an_application_is_said(project: pytest.Pytester, line: str, said: str) -> None:
    project.makepyfile(app="APP_NAME = 'shop'")
    project.makefile(".ini", pytest=f"{INI}{line}\n")
    project.makepyfile(test_it="def test_inline(flux_inline): ...")
    result = project.runpytest_subprocess("-q")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([said])
