"""What acceptance tests share: fleets of real programs, used from outside only."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.fleet import Api, Fleet


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """web01, web02 and db1, for the tests of one file; for those that kill nothing."""
    with Fleet(tmp_path_factory.mktemp("fleet"), ["web01", "web02", "db1"]) as started:
        yield started


@pytest.fixture
def api(fleet: Fleet) -> Api:
    """The API of `fleet`, as its admin."""
    return fleet.api


@pytest.fixture
def make_fleet(tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """Fleets for one test: make_fleet(["web01"], slots=1); for those that kill and restart."""
    with ExitStack() as stack:
        made: list[Fleet] = []

        def make(agents: list[str] | None = None, **options: Any) -> Fleet:
            root = tmp_path / f"fleet{len(made)}"
            root.mkdir()
            made.append(stack.enter_context(Fleet(root, agents or ["web01"], **options)))
            return made[-1]

        yield make
