"""What every test shares: Hypothesis profiles, and the fixtures of real servers (see `tests.servers`).

`ci` is deterministic, so that a red run is red again; `dev` explores. The profile is `ci` where the
environment says CI, `dev` elsewhere, and HYPOTHESIS_PROFILE decides over both.
"""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.servers.fixtures"]

settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("dev", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(autouse=True)
def our_log_as_it_was() -> Iterator[None]:
    """What one test does to Flux's logger, every test after it in the same process would have to bear."""
    ours = logging.getLogger("flux")
    ours.disabled, ours.propagate = False, True
    ours.setLevel(logging.NOTSET)
    yield
    ours.setLevel(logging.NOTSET)
