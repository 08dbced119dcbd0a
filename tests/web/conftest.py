import pytest

from tests.web.fake_master import ALICE, FakeMaster
from webserver import make_app


@pytest.fixture
def master():
    return FakeMaster()


@pytest.fixture
async def client(aiohttp_client, master):
    """Alice's programs: each request carries her token."""
    return await aiohttp_client(make_app(master), headers={"Authorization": f"Bearer {ALICE}"})


@pytest.fixture
async def stranger(aiohttp_client, master):
    """Somebody without a token; keeps cookies, as a browser does."""
    return await aiohttp_client(make_app(master))
