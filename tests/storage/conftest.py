"""A store on a real file, whose clock the test turns."""

import pytest

from master.storage import Storage
from tests.storage.cast import Clock, House


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def house(tmp_path, clock):
    store = Storage(tmp_path / "store.sqlite", clock=clock)
    house = House(store, clock, tmp_path / "store.sqlite")
    yield house
    house.store.close()
