"""Who may do what, as it is: every route and every method of the real programs, tried by everybody.

What comes of it is compared with the tables of docs/operations.md, line by line.
"""

import http.client
import re
import urllib.parse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.fleet import Answer, Api, Fleet
from tests.offers import offers_of, route_of
from tests.routes_tried import ALL, API, EXAMPLES, NEVER, Build, Example, Request
from tests.things import LIMIT, OUTSIDE, PASSWORD, WITHIN, Caller, Things
from tests.web_peer import WebPeer, web_peer
from webserver.cookies import SESSION, VISITOR
from webserver.seals import seal_of
from wire.errors import Refusal

DOC = Path(__file__).resolve().parents[2] / "docs/operations.md"
ROLES = ("anyone", "viewer", "operator", "admin")
ADMITTED, REFUSED, UNKNOWN = "admitted", "refused", "asked who it is"


class Row(NamedTuple):
    """A line of the table of routes: the least role, and what limited operators may."""

    route: str
    least: str
    limited: str


ROUTES = [
    Row(*cells) for cells in re.findall(r"^\| `([A-Z]+ /\S*)` \| (\w+) \| ([a-z ]*?) ?\|$",
    DOC.read_text(), re.MULTILINE)
]  # fmt: skip
KEPT: dict[tuple[Build, str], Request] = {}
STEERED = [
    row
    for row in ROUTES
    if re.match(r"POST /(tasks|schedules|plans)/{", row.route)
    and not row.route.endswith("/put-back")  # shown only where a host has failed at an item
]
METHODS = re.findall(r"^\| `([a-z_]+(?:\([a-z_]+\))?)` \| ([a-z, ]+) \|", DOC.read_text(), re.M)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    with Fleet(tmp_path_factory.mktemp("who"), []) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def peer(fleet):
    with web_peer(fleet.join_string("web")) as peer:
        yield peer


@pytest.fixture(scope="module")
def things(fleet, peer):
    things = Things(fleet.api, peer)
    for where in (WITHIN, OUTSIDE):
        things.where = where
        things.targets()
    return things


@pytest.fixture(scope="module")
def callers(fleet, peer, things):
    """alice, bob, otto and lisa, each by a password; and nobody."""
    code = (fleet.master.state_dir / "setup-code").read_text().strip()
    peer.call("set_up", code=code, name="alice", password=PASSWORD)
    found = {"nobody": Caller("nobody", "anyone")}
    for name, role in (("alice", "admin"), ("bob", "viewer"), ("otto", "operator")):
        found[name] = Caller(name, role)
    found["lisa"] = Caller("lisa", "operator")
    for name in ("bob", "otto", "lisa"):
        person = {"name": name, "role": found[name].role, "password": PASSWORD}
        things.post("/api/v1/people", person | ({"hosts": LIMIT} if name == "lisa" else {}))
    for caller in list(found.values())[1:]:
        caller.session = peer.log_in(caller.name, PASSWORD)
        made = peer.call("add_token", caller.session, name="all", role=caller.role)
        caller.token = made["secret"]
    return found


# ---- routes


@pytest.mark.parametrize("name", ["nobody", "bob", "otto", "alice"])
def test_each_route_is_for_those_of_its_role_and_nobody_else(fleet, things, callers, name):
    caller = callers[name]
    things.where = OUTSIDE
    walk(fleet, things, callers, caller, lambda row: expected(row, caller))


def test_an_operator_with_a_limit_may_on_own_hosts_what_others_may(fleet, things, callers):
    lisa = callers["lisa"]
    things.where = WITHIN
    walk(
        fleet,
        things,
        callers,
        lisa,
        lambda row: REFUSED if row.limited == NEVER else expected(row, lisa),
    )


def test_an_operator_with_a_limit_may_change_nothing_elsewhere(fleet, things, callers):
    rows = [row for row in ROUTES if row.limited]
    things.where = OUTSIDE
    walk(fleet, things, callers, callers["lisa"], lambda row: REFUSED, rows)


def test_pages_of_what_others_do_offer_a_limited_operator_nothing_to_press_there(
    fleet, things, callers
):
    lisa, things.where = callers["lisa"], OUTSIDE
    walk(
        fleet,
        things,
        callers,
        lisa,
        lambda row: REFUSED if row.limited and "{" in row.route else expected(row, lisa),
        [row for row in ROUTES if row.route.startswith("GET ") and not row.limited],
    )


@pytest.mark.parametrize("where", [WITHIN, OUTSIDE])
@pytest.mark.parametrize("name", ["bob", "otto", "lisa", "alice"])
def test_a_page_offers_just_what_is_not_refused(fleet, things, callers, name, where):
    things.where = where
    check_offers(fleet, things, callers[name])


def test_a_page_offers_a_limited_operator_what_their_own_things_take(fleet, things, callers):
    lisa = callers["lisa"]
    check_offers(fleet, replace(things, api=fleet.connect(lisa.token), where=WITHIN), lisa)


def check_offers(fleet: Fleet, things: Things, caller: Caller) -> None:
    """Of each act on a task, a run, a schedule or a plan: its page has the button, or else it is
    refused."""
    api, wrong = fleet.connect(None), []
    for row in STEERED:
        example = EXAMPLES[row.route]
        request = example.build(things, caller)
        path = placed(row, request)
        page = path.rpartition("/")[0]
        shown = answered(api, "GET", page, None, browser(caller, row, request)[0])
        assert shown.status == 200, f"GET {page}: {told(shown)}"
        offered = {way for _, way in offers_of(page, shown.body.decode())}
        came, answer = attempt(api, row, example, request, caller)
        if (path in offered) != (came == ADMITTED):
            wrong.append(f"{row.route}: offered is {path in offered}, and {came}: {told(answer)}")
    assert not wrong, "\n".join(wrong)


def expected(row: Row, caller: Caller) -> str:
    if row.least == "anyone":
        return ADMITTED
    if caller.role == "anyone":
        return UNKNOWN
    return ADMITTED if ROLES.index(caller.role) >= ROLES.index(row.least) else REFUSED


def walk(fleet, things, callers, caller, wanted, rows=ROUTES):
    """Try these routes; what differs from the table is told at the end, all of it."""
    api = fleet.connect(None)
    wrong = []
    for row in rows:
        example = EXAMPLES[row.route]
        whose = caller if caller.session else callers["alice"]
        changes = not row.route.startswith("GET ") and wanted(row) == ADMITTED
        request = built(example, things, whose, anew=changes)
        came, answer = attempt(api, row, example, request, leaving(things, caller, example))
        if came != wanted(row):
            wrong.append(f"{row.route}: {caller.name} is {came}, not {wanted(row)}: {told(answer)}")
        wrong += refused_offers(row, answer, wanted)
        if example.ends == ALL and caller.session:
            caller.session = things.peer.log_in(caller.name, PASSWORD)
    assert not wrong, "\n".join(wrong)


def refused_offers(row: Row, answer: Answer, wanted: Callable[[Row], str]) -> list[str]:
    """What a page shows to press that would be refused to whom it is shown."""
    if answer.status != 200 or not answer.headers.get("content-type", "").startswith("text/html"):
        return []
    page = row.route.partition(" ")[2]
    routes = {one.route: one for one in ROUTES}
    found = []
    for method, path in offers_of(page, answer.body.decode()):
        route = route_of(method, path, routes)
        if route is None or wanted(routes[route]) == REFUSED:
            found.append(f"{row.route} offers {method} {path}, which is refused")
    return found


def told(answer: Answer) -> str:
    return f"{answer.status} {answer.headers.get('location', '')} {answer.body[:300]!r}"


def leaving(things: Things, caller: Caller, example: Example) -> Caller:
    """The caller in another browser, where the session of that one is going to end."""
    if not (example.ends and caller.token):
        return caller
    opened = things.peer.call("log_in_by_token", caller.token)
    return replace(caller, session=opened["secret"])


def built(example: Example, things: Things, whose: Caller, anew: bool) -> Request:
    """What only looks, or is refused, leaves things as they are for the next to try."""
    if anew:
        return example.build(things, whose)
    key = (example.build, things.where)
    if key not in KEPT:
        kept_callbacks = len(things.callbacks)
        KEPT[key] = example.build(things, whose)
        del things.callbacks[kept_callbacks:]
    return KEPT[key]


def attempt(
    api: Api, row: Row, example: Example, request: Request, caller: Caller
) -> tuple[str, Answer]:
    """What comes of it, and the answer."""
    method, path = row.route.partition(" ")[0], placed(row, request)
    path += f"?{request.query}" if request.query else ""
    if row.route in API:
        headers = program(caller, example)
        answer = answered(api, method, path, request.body, headers)
    else:
        headers, form = browser(caller, row, request)
        answer = answered(api, method, path, form if method == "POST" else None, headers)
    location = answer.headers.get("location", "")
    if answer.status == example.also:
        return ADMITTED, answer
    leads_to_log_in = location.startswith("/login") and row.least != "anyone"
    if answer.status == 401 or (leads_to_log_in and not (example.ends and caller.session)):
        return UNKNOWN, answer
    if answer.status == 403:
        return REFUSED, answer
    return ADMITTED if answer.status < 400 else "neither", answer


def placed(row: Row, request: Request) -> str:
    """The path of the route, about the things of the request."""
    path = row.route.partition(" ")[2]
    for name, value in request.places.items():
        path = path.replace(f"{{{name}}}", value)
    return path


def program(caller: Caller, example: Example) -> dict[str, str]:
    """The credential of a program: a token, or the session of the browser that it runs in."""
    if caller.token is None or caller.session is None:
        return {}
    if example.by_session:
        cookie = f"{SESSION}={caller.session}"
        return {"Cookie": cookie, "X-CSRF-Token": seal_of(caller.session)}
    return {"Authorization": f"Bearer {caller.token}"}


def browser(caller: Caller, row: Row, request: Request) -> tuple[dict[str, str], bytes]:
    """Cookies, and the form as a page of ours has it."""
    cookies = {SESSION: caller.session} if caller.session else {}
    sealed_by = caller.session or ""
    if row.route in ("POST /login", "POST /setup"):
        cookies, sealed_by = {VISITOR: "a-visitor"}, "a-visitor"
    form = {**(request.body or {}), "csrf": seal_of(sealed_by)}
    headers = {
        "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    return headers, urllib.parse.urlencode(form).encode()


def answered(api: Api, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
    """Of a stream of events, which has no end, only how it begins."""
    if not path.endswith("/events"):
        return api.call(method, path, body, headers)
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=api.timeout_s)
    try:
        connection.request(method, path, headers=headers)
        return Answer(connection.getresponse().status, {}, b"")
    finally:
        connection.close()


# ---- methods


def test_a_host_may_speak_for_itself_and_do_nothing_else(things, peer):
    register = things.register()
    things.send(register)
    check_methods(peer, register["id"], "agent key")

    things.post(f"/api/v1/agents/{register['id']}/revoke")
    check_methods(peer, register["id"], "refused key")


def test_a_stranger_may_ask_to_register_and_nothing_else(peer):
    check_methods(peer, "a key that nobody knows", "stranger key")


def test_a_web_server_may_do_nothing_of_its_own(peer):
    for method, who in METHODS:
        if who in ROLES[1:]:
            assert code_of(peer, "web", method) in ("unauthenticated", "malformed"), method


def check_methods(peer: WebPeer, key: str, role: str) -> None:
    for method, who in METHODS:
        admitted = code_of(peer, key, method) != "forbidden"
        assert admitted == (role in who.split(", ")), f"{method} as {role}"


def code_of(peer: WebPeer, key: str, method: str) -> str:
    name, _, kind = method.rstrip(")").partition("(")
    try:
        peer.call_as(key, name, {"type": kind, "payload": {}} if kind else {})
    except Refusal as refusal:
        return refusal.code
    return "ok"
