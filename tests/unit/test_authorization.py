"""Who may do what: every method of the master, tried by everybody, against the documentation.

The table in docs/operations.md is made from the one that decides: run with
MSCHEDULE_WRITE_DOCS=1 to write it anew.
"""

import os
import re
from inspect import signature
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from master.cm import ConnectionManager
from master.methods import Desks
from master.reception import ForPeople
from master.rights import ANYONE, ROLES, Person, covers
from tests.wire_peers import client_of
from wire.calls import Method
from wire.errors import Forbidden, Refusal, Unauthenticated
from wire.keys import make_keys
from wire.server import Server

DOC = Path(__file__).resolve().parents[2] / "docs/operations.md"
BEGIN = "<!-- who may what: made by tests/unit/test_authorization.py -->\n"
END = "<!-- end of who may what -->"

PEOPLE = {
    "viewer-token": Person("bob", "viewer"),
    "operator-token": Person("otto", "operator", credential="t1"),
    "limited-token": Person("lisa", "operator", hosts="@env:test"),
    "admin-token": Person("alice", "admin"),
}
WRITE = bool(os.environ.get("MSCHEDULE_WRITE_DOCS"))

PEERS = ("stranger", "agent", "refused", "web")


class Room:
    """Stands for every room of the master: says yes to all, and remembers what it was given."""

    def __init__(self, name: str, given: list[tuple[str, tuple[Any, ...]]]):
        self._name = name
        self._given = given

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def method(*arguments: Any, **_: Any) -> Any:
            self._given.append((name, arguments))
            return {}

        return method


class Gate:
    def admit(self, auth, least):
        person = PEOPLE.get(auth.token)
        if least == ANYONE:
            return Person("", ANYONE, kind="nobody", address=auth.address)
        if person is None:
            raise Unauthenticated
        if not covers(person.role, least):
            raise Forbidden
        return person


class Done:
    """A verb of the store that is over at once."""

    def then(self, done):
        done(None)


class House:
    """The real table behind the real server; the rooms behind the table are stand-ins."""

    def __init__(self):
        self.given: list[tuple[str, tuple[Any, ...]]] = []
        self.notes: list[Any] = []
        self.keys = make_keys()
        self.roles: dict[str, tuple[str, str]] = {}
        self.now = 1000.0
        storage: Any = Room("storage", self.given)
        storage.note = self._note
        rooms: dict[str, Any] = {
            name: Room(name, self.given)
            for name in (*signature(ConnectionManager).parameters, *signature(Desks).parameters)
        }
        roster: Any = Room("roster", self.given)
        roster.is_web = lambda key: True
        rooms |= {
            "storage": storage,
            "gate": Gate(),
            "clock": lambda: self.now,
            "roster": roster,
        }
        rooms["desks"] = Desks(**{name: rooms.pop(name) for name in signature(Desks).parameters})
        self.methods = ConnectionManager(**rooms).methods()
        self.server = Server(self.keys, self.methods, lambda key: self.roles[key])
        self.endpoint = f"tcp://127.0.0.1:{self.server.bind('tcp://127.0.0.1:0')}"
        self.server.start()

    def _note(self, *notes):
        self.notes += notes
        return Done()

    def enrol(self, role="web", id=""):
        keys = make_keys()
        self.roles[keys.public] = (role, id)
        return keys

    def rows(self):
        """(name, method), a typed one as name(type)."""
        for name, entry in self.methods.items():
            if isinstance(entry, Method):
                yield name, entry
            else:
                yield from ((f"{name}({kind})", method) for kind, method in entry.items())


@pytest.fixture(scope="module")
def house():
    house = House()
    yield house
    house.server.stop()


def some(form):
    """A message of this form with as little in it as may be."""
    hints = get_type_hints(form)
    return {
        field.name: _some(hints[field.name])
        for field in msgspec.structs.fields(form)
        if field.required
    }


def _some(hint):
    if get_origin(hint) in (Union, UnionType):
        return _some(get_args(hint)[0])
    kind = get_origin(hint) or hint
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return some(kind)
    return {str: "x", int: 1, float: 0.0, bool: False, list: [], dict: {}, bytes: b""}[kind]


def attempt(house, client, name, method, token):
    payload = some(method.payload)
    payload["auth"] = {"token": token, "address": "10.0.0.9"}
    house.now += 61  # a minute's worth of refusals is bounded
    house.given.clear()
    house.notes.clear()
    try:
        client.call(name, payload, dict)
    except Refusal as refusal:
        return refusal.code
    return "ok"


def expected(least, token):
    if least == ANYONE:
        return "ok"
    person = PEOPLE.get(token)
    if person is None:
        return "unauthenticated"
    return "ok" if covers(person.role, least) else "forbidden"


@pytest.mark.parametrize("token", [None, "wrong-token", *PEOPLE])
def test_each_method_is_for_those_of_its_role_and_nobody_else(house, token):
    with client_of(house, house.enrol()) as client:
        for name, method in house.rows():
            if isinstance(method, ForPeople):
                outcome = attempt(house, client, name, method, token)
                assert outcome == expected(method.least, token), name
                assert bool(house.given) == (outcome == "ok"), name


def test_each_method_that_changes_something_is_given_its_act(house):
    with client_of(house, house.enrol()) as client:
        for name, method in house.rows():
            if isinstance(method, ForPeople) and method.action is not None:
                assert attempt(house, client, name, method, "admin-token") == "ok"
                act = house.given[0][1][-1]
                assert act.action == method.action, name
                assert act.who == ("" if method.least == ANYONE else "alice"), name


def test_each_refused_change_is_written_down(house):
    with client_of(house, house.enrol()) as client:
        for name, method in house.rows():
            if not isinstance(method, ForPeople) or method.least == ANYONE:
                continue
            outcome = attempt(house, client, name, method, None)
            noted = [(note.act.action, note.result) for note in house.notes]
            expected = [] if method.action is None else [(method.action, outcome)]
            assert noted == expected, name


def test_whoever_only_looks_has_a_name_that_says_so(house):
    looks = [
        name for name, method in house.rows() if isinstance(method, ForPeople) and not method.action
    ]
    known = {"whoami", "changes", "preview_schedule", "ping_agents"}
    assert [name for name in looks if not name.startswith("get_") and name not in known] == []


@pytest.mark.parametrize("role", PEERS)
def test_each_method_is_for_the_peers_of_its_roles_and_nobody_else(house, role):
    with client_of(house, house.enrol(role, "a" * 32)) as client:
        for name, method in house.rows():
            called, _, kind = name.rstrip(")").partition("(")
            payload: Any = {"type": kind, "payload": {}} if kind else {}
            try:
                client.call(called, payload, dict)
                code = "ok"
            except Refusal as refusal:
                code = refusal.code
            assert (code == "forbidden") == (role not in method.roles), name


# ---- the documentation


def table(house):
    lines = ["| method | who | act |", "|---|---|---|"]
    for name, method in house.rows():
        if isinstance(method, ForPeople):
            who, act = method.least, method.action or ""
        else:
            who, act = ", ".join(f"{role} key" for role in sorted(method.roles)), ""
        lines.append(f"| `{name}` | {who} | {act} |")
    return "\n".join(lines) + "\n"


def test_the_documentation_has_the_same_table(house):
    text = DOC.read_text()
    written = f"{BEGIN}\n{table(house)}\n{END}"
    if WRITE:
        pattern = re.escape(BEGIN) + ".*" + re.escape(END)
        DOC.write_text(re.sub(pattern, lambda _: written, text, flags=re.DOTALL))
    assert written in DOC.read_text()


def test_the_roles_in_it_are_those_that_there_are(house):
    assert {m.least for _, m in house.rows() if isinstance(m, ForPeople)} <= {ANYONE, *ROLES}
