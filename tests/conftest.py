"""What all tests share: nothing of the shell they were started in reaches the programs."""

import os

import pytest
from hypothesis import HealthCheck, settings

# The same examples each time, however slow the machine: what fails, fails for everybody.
settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("MSCHEDULE_"):
            monkeypatch.delenv(name)
