"""What the API says of the master, and what an admin may tell it."""

from tests.web.fake_master import BOB, OTTO
from wire.errors import Unavailable
from wire.views import StatusView


async def test_it_says_how_the_master_is(client, master):
    master.answer("get_status", StatusView("0.1.0", None, None, 40, 1, 2, 3))
    response = await client.get("/api/v1/status")
    said = {
        "version": "0.1.0",
        "held": None,
        "held_since": None,
        "online": 40,
        "stale": 1,
        "offline": 2,
        "tasks_active": 3,
    }
    assert (await response.json()).items() >= said.items()


async def test_it_says_when_to_come_back_while_the_master_is_away(client, master):
    master.answer("get_status", Unavailable("the master cannot be reached"))
    response = await client.get("/api/v1/status")
    assert response.status == 503
    assert int(response.headers["Retry-After"]) > 0
    assert (await response.json())["error"]["code"] == "unavailable"


async def test_it_says_whose_token_it_is(stranger):
    response = await stranger.get("/api/v1/whoami", headers={"Authorization": f"Bearer {OTTO}"})
    assert (await response.json()).items() >= {"name": "otto", "role": "operator"}.items()


async def test_it_releases_held_handouts(client, master):
    master.answer("release_handouts", {})
    response = await client.post("/api/v1/handouts/release")
    assert (response.status, await response.json()) == (200, {})


async def test_it_leaves_the_release_to_admins(stranger):
    response = await stranger.post(
        "/api/v1/handouts/release", headers={"Authorization": f"Bearer {BOB}"}
    )
    assert response.status == 403
