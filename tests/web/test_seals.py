"""The seals of forms; and doors that are tried with any cookie and any header."""

import asyncio

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from tests.web.fake_master import ALICE, FakeMaster
from webserver.cookies import LONGEST
from webserver.door import Door, session_secret, way_back
from webserver.proxies import SEEN, Seen
from webserver.seals import fits, seal_of
from wire.errors import Forbidden, Refusal, Unauthenticated

SECRET = "mss_" + "k" * 43


def test_a_seal_is_of_one_cookie_alone():
    assert fits(SECRET, seal_of(SECRET))
    assert not fits(SECRET, seal_of(SECRET + "x"))
    assert not fits("mss_other", seal_of(SECRET))


def test_a_seal_does_not_tell_its_cookie():
    assert SECRET not in seal_of(SECRET)
    assert len(seal_of(SECRET)) == 64


def test_without_a_cookie_no_seal_fits():
    assert not fits("", seal_of(""))


@given(cookie=st.text(max_size=50), seal=st.text(max_size=80))
def test_any_text_is_a_seal_that_does_not_fit(cookie, seal):
    assert not fits(cookie, seal)
    assert fits(cookie, seal_of(cookie)) is (cookie != "")


def request_of(headers, method="GET"):
    request = make_mocked_request(method, "/api/v1/tasks", headers)
    request[SEEN] = Seen("192.0.2.1", False, "web.example")
    return request


LINE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=700)


@given(cookie=LINE)
def test_any_cookie_header_is_a_secret_or_none(cookie):
    found = session_secret(request_of({"Cookie": cookie}))
    assert found is None or (found in cookie and found.isascii() and len(found) <= LONGEST)


@given(value=LINE)
def test_any_session_cookie_is_a_secret_or_none(value):
    found = session_secret(request_of({"Cookie": f"mschedule_session={value}"}))
    assert found is None or found.isprintable()


@given(
    authorization=st.none() | LINE | LINE.map("Bearer {}".format),
    cookie=LINE.map("mschedule_session={}".format),
    form_token=LINE,
    method=st.sampled_from(["GET", "POST", "PATCH", "DELETE"]),
)
def test_no_header_but_a_good_one_lets_anybody_in(authorization, cookie, form_token, method):
    headers = {"Cookie": cookie, "X-CSRF-Token": form_token}
    if authorization is not None:
        headers["Authorization"] = authorization
    door = Door(FakeMaster())
    with pytest.raises((Unauthenticated, Forbidden)):
        asyncio.run(door.api_caller(request_of(headers, method)))


@given(path=st.text(max_size=60))
def test_the_way_back_never_leaves_the_site(path):
    way = way_back(path)
    assert way.startswith("/") and not way.startswith("//") and "\\" not in way
    assert way.isprintable()


# ---- what a door remembers


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


async def test_a_door_remembers_only_so_many():
    master = FakeMaster()
    master.people |= {f"token-number-{n}": master.people[ALICE] for n in range(50)}
    door = Door(master, most_known=10)
    request = request_of({})
    for n in range(50):
        await door.confirm(f"token-number-{n}", request)
    assert len(door._known) == 10
    await door.confirm("token-number-49", request)
    assert len(master.asked("whoami")) == 50


async def test_a_door_asks_again_after_a_moment_and_forgets_what_has_ended():
    master, clock = FakeMaster(), Clock()
    door = Door(master, now=clock)
    request = request_of({"Cookie": f"mschedule_session={ALICE}"})
    await door.confirm(ALICE, request)
    assert door.known_caller(request) is not None
    clock.now = 1.9
    del master.people[ALICE]
    assert (await door.confirm(ALICE, request)).name == "alice"
    clock.now = 2.1
    with pytest.raises(Refusal):
        await door.confirm(ALICE, request)
    assert door.known_caller(request) is None
