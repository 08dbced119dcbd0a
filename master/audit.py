"""Who did what, when, from where? Each act is written in the transaction that it changes.

A verb of the store that changes something on behalf of somebody takes the Act, and appends
its record; so neither the change nor the record is ever there without the other. An act that
changes nothing, such as a second cancel, has none. Records are never changed, deleted or
forgotten with old tasks. They hold no script, no password, no token.
"""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from master.chain import Entry
from master.rows import to_json
from master.transaction import Tx

OK = "ok"
MAX_CHARACTERS = 200  # of one value; what is longer is cut


class Act(Struct, frozen=True):
    """An attempt to change something: who, with what right, from where, and what.

    `kind` is session, token, agent, system (the master itself) or nobody (not known who).
    `credential` is the id of the session or token, never its secret.
    `action` is a noun and a verb: task.submit, agent.revoke, session.start.
    """

    who: str
    kind: str
    action: str
    credential: str = ""
    address: str = ""


class Note(Struct, frozen=True):
    """An act with its outcome: what is appended as a record."""

    act: Act
    object: str  # kind:id, as in task:0123…; empty where the act has no object
    result: str = OK
    detail: dict[str, Any] = {}


def of_system(action: str) -> Act:
    """What the master does by itself."""
    return Act("master", "system", action)


def of_agent(id: str, action: str, address: str) -> Act:
    return Act(id, "agent", action, address=address)


def append(tx: Tx, act: Act, object: str, **detail: Any) -> None:
    """Put the record of an act beside what it has changed."""
    write(tx, Note(act, object, detail=detail))


def write(tx: Tx, *notes: Note) -> None:
    for note in notes:
        act = note.act
        tx.put_act(
            Entry(
                at_ms=round(tx.now * 1000),
                who=_plain(act.who),
                kind=act.kind,
                credential=_plain(act.credential),
                address=_plain(act.address),
                action=act.action,
                object=_plain(note.object),
                result=note.result,
                detail=to_json(_bounded(note.detail)),
            )
        )


def _plain(text: str) -> str:
    """One line that can be shown: what was refused may hold anything."""
    text = text[:MAX_CHARACTERS]
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def _bounded(value: Any) -> Any:
    match value:
        case str():
            return value[:MAX_CHARACTERS]
        case dict():
            return {str(key)[:MAX_CHARACTERS]: _bounded(one) for key, one in value.items()}
        case bool() | int() | float() | None:
            return value
        case Iterable():
            return [_bounded(one) for one in value]
    return str(value)[:MAX_CHARACTERS]
