"""On which hosts may a person act? All of them, or those that an expression names now.

The limit is resolved anew at each act, so that a host that gets the label is within from then
on, and one that loses it is not. An expression that cannot be resolved any more lets nobody
through. What a view says of somebody's rights comes of the same checks as a refusal.
"""

from collections.abc import Callable, Mapping

from master.beside import beside
from master.rights import OPERATOR, Person, covers
from master.targets import NAMED_IN_ERRORS, Fleet, some
from wire.errors import Forbidden, InvalidValue, Refusal


def reach_of(person: Person, fleet: Fleet) -> frozenset[str] | None:
    """The ids of the hosts that a person is limited to; None: no limit. Raises Forbidden."""
    expression = person.hosts
    if expression is None:
        return None
    try:
        return frozenset(beside(lambda: fleet.resolve(expression)))
    except InvalidValue as error:
        raise Forbidden(
            f"{person.name} is limited to {expression}, which names no hosts now ({error}); "
            "an admin can mend it"
        ) from None


def check_reach(
    reach: frozenset[str] | None, hosts: Mapping[str, str], who: str = "you are"
) -> None:
    """`hosts`: {id: hostname} that are to be acted on. Forbidden names those out of reach."""
    names = beyond(reach, hosts)
    if names:
        raise Forbidden(
            f"{who} limited to other hosts than {some(names)}",
            details={"hosts": names[:NAMED_IN_ERRORS], "count": len(names)},
        )


def beyond(reach: frozenset[str] | None, hosts: Mapping[str, str]) -> list[str]:
    """The hostnames of those of `hosts` that are out of reach."""
    if reach is None:
        return []
    return [name for id, name in hosts.items() if id not in reach]


def would_pass(person: Person, check: Callable[[], object]) -> bool:
    """May the person do what operators do, if `check` has nothing against it? That is the check of
    the act itself, which only people with a limit need."""
    if not covers(person.role, OPERATOR):
        return False
    if person.hosts is None:
        return True
    try:
        check()
    except Refusal:
        return False
    return True
