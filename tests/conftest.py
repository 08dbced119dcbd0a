"""What all tests share: nothing of the shell they were started in reaches the programs."""

import os

import pytest


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("MSCHEDULE_"):
            monkeypatch.delenv(name)
