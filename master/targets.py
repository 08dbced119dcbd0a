"""Which agents does an expression name?

The language is ClusterShell's node sets: `web[01-20],db1`, `web*`, `@env:prod&@role:db!db7`,
operators `,` (or) `&` (and) `!` (without) `^` (one of both), read from left to right.
`@label:value` are the hosts that carry a label, `@NAME` those of a saved group, `@*` is every
host. The library expands ranges; names are looked up here and only here, never in files of this
machine.

A name or range must exist: a typing error is refused, not skipped. Wildcards and
groups match what is there.
"""

import copy
import fnmatch
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet, NodeSetException
from ClusterShell.RangeSet import RangeSet
from msgspec import Struct

from wire.errors import InvalidValue

MAX_EXPRESSION_BYTES = 4096
MAX_RANGE_PRODUCT = 100_000
NAMED_IN_ERRORS = 20  # hosts listed in one sentence

_OPERATIONS: dict[str, Callable[[set[str], set[str]], set[str]]] = {
    ",": set.union,
    "&": set.intersection,
    "!": set.difference,
    "^": set.symmetric_difference,
}
_LAST_NUMBER = re.compile(r"^(.*?)(\d+)(\D*)$")


class Host(Struct, frozen=True):
    """What choosing needs to know of an agent."""

    id: str
    hostname: str
    labels: dict[str, str]
    claims: str | None = None  # another hostname that is not accepted: only its id names it


class Fleet:
    """The hosts of one moment, looked up by id, by name, by label and by saved group.

    `groups`: {name: expression}.
    """

    def __init__(self, hosts: Iterable[Host], groups: Mapping[str, str] | None = None):
        self._saved = groups or {}
        self._given: Mapping[str, set[str]] = {}
        self._meant: dict[str, set[str]] = {}
        self._is_forgiving = False
        self.by_id = {host.id: host for host in hosts}
        self.by_name: dict[str, list[str]] = {}
        self.by_label: dict[str, dict[str, set[str]]] = {}
        by_name = sorted(self.by_id.values(), key=lambda host: (natural(host.hostname), host.id))
        self._rank = {host.id: rank for rank, host in enumerate(by_name)}
        self._renamed = {host.hostname: host for host in by_name if host.claims is not None}
        for host in by_name:
            if host.claims is not None:
                continue
            self.by_name.setdefault(host.hostname, []).append(host.id)
            for label, value in host.labels.items():
                self.by_label.setdefault(label, {}).setdefault(value, set()).add(host.id)

    def knowing(self, given: Mapping[str, set[str]]) -> "Fleet":
        """The same hosts, where `@NAME` stands for the ids that are given under NAME, whatever
        label or saved group is called so. Ids that are not of a host are left out."""
        other = copy.copy(self)
        other._given = {name: ids & self.by_id.keys() for name, ids in given.items()}
        other._meant = {}
        return other

    def forgiving(self) -> "Fleet":
        """The same hosts, for an expression that was sound when it was written down: names that
        nobody bears any more, or several, are passed over, and saved groups that are gone."""
        other = copy.copy(self)
        other._is_forgiving = True
        other._meant = {}
        return other

    def meant(self, expression: str) -> frozenset[str]:
        """As `resolve`, in no order."""
        return frozenset(self._chosen(expression, ()))

    def resolve(self, expression: str) -> list[str]:
        """Agent ids that the expression names, in order of their hostnames.

        Raises InvalidValue (field `targets`) when it can't be read, is too large,
        names a host that is not there, or one that two agents bear.
        """
        return sorted(self._chosen(expression, ()), key=self._rank.__getitem__)

    def known_ids(self, ids: Iterable[str]) -> list[str]:
        """The ids without repeats, in their order; InvalidValue names those that are not there."""
        wanted = list(dict.fromkeys(ids))
        missing = [id for id in wanted if id not in self.by_id]
        if missing:
            raise _wrong(f"no host has the id {some(missing)}; ids are those of /api/v1/agents")
        return wanted

    def _chosen(self, expression: str, within: tuple[str, ...]) -> set[str]:
        """`within`: the saved groups whose meaning this is part of."""
        _check_length(expression)
        chosen: set[str] = set()
        for operator, operand in _operands(expression):
            chosen = _OPERATIONS[operator](chosen, self._operand(operand, within))
        return chosen

    def _operand(self, operand: str, within: tuple[str, ...]) -> set[str]:
        if operand.startswith("@"):
            return self._groups(operand, within)
        if "*" in operand or "?" in operand:
            return self._wildcard(operand)
        return self._names(operand)

    def _groups(self, operand: str, within: tuple[str, ...]) -> set[str]:
        if operand == "@*":
            return {id for id, host in self.by_id.items() if host.claims is None}
        found: set[str] = set()
        for group in _expand(operand[1:]):
            found |= self._group(group, within)
        return found

    def _group(self, group: str, within: tuple[str, ...]) -> set[str]:
        if group in self._given:
            return self._given[group]
        label, colon, value = group.partition(":")
        if not colon:
            return self._saved_group(group, within)
        values = self.by_label.get(label, {})
        if value == "*":
            return set().union(*values.values())
        return values.get(value, set())

    def _saved_group(self, name: str, within: tuple[str, ...]) -> set[str]:
        """Circles are refused when a group is saved: here one only must not go round for ever."""
        if name in self._meant:
            return self._meant[name]
        if name not in self._saved or name in within:
            if self._is_forgiving:
                return set()
            raise _wrong(
                f"there is no saved group @{name}; hosts with a label are @label:value, all are @*"
            )
        try:
            meant = self._chosen(self._saved[name], (*within, name))
        except InvalidValue as error:
            said = str(error).removeprefix("targets: ")
            raise _wrong(f"in @{name}, {said}") from None
        self._meant[name] = meant
        return meant

    def _wildcard(self, operand: str) -> set[str]:
        names: set[str] = set()
        for mask in _expand(operand):
            names.update(fnmatch.filter(self.by_name, mask))
        return self._ids(sorted(names))

    def _names(self, operand: str) -> set[str]:
        """Hostnames; an id may stand where one does."""
        names = _expand(operand)
        ids = {name for name in names if name in self.by_id}
        missing = [name for name in names if name not in self.by_name and name not in ids]
        if self._is_forgiving:
            return ids | self._ids(name for name in names if len(self.by_name.get(name, ())) == 1)
        for name in missing:
            if (host := self._renamed.get(name)) is not None:
                raise _wrong(
                    f"the host {name} calls itself {host.claims} now: until an admin has accepted "
                    f"that, only its id {host.id} names it"
                )
        if missing:
            raise _wrong(f"there is no host named {some(missing)}")
        return ids | self._ids(name for name in names if name not in ids)

    def _ids(self, names: Iterable[str]) -> set[str]:
        ids: set[str] = set()
        for name in names:
            bearers = self.by_name[name]
            if len(bearers) > 1:
                raise _wrong(
                    f"the hostname {name} is borne by {len(bearers)} agents: "
                    f"{some(sorted(bearers))}; name the one that is meant by its id"
                )
            ids.update(bearers)
        return ids


class Previews:
    """The last previews by their digest, so that a changed fleet can be named host by host."""

    def __init__(self, most: int = 200):
        self._ids: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._most = most

    def remember(self, ids: Iterable[str]) -> str:
        """The digest of the ids."""
        kept = frozenset(ids)
        digest = digest_of(kept)
        self._ids[digest] = kept
        self._ids.move_to_end(digest)
        while len(self._ids) > self._most:
            self._ids.popitem(last=False)
        return digest

    def change_since(self, digest: str, ids: Iterable[str], names: Mapping[str, str]) -> str:
        """A sentence that says what came and what went since the preview with that digest."""
        before = self._ids.get(digest)
        now = set(ids)
        if before is None:
            return f"the hosts are other ones than in the preview: now {len(now)}"
        came, went = now - before, before - now
        parts = []
        if came:
            parts.append("new: " + some(sorted(names.get(id, id) for id in came)))
        if went:
            parts.append("gone: " + some(sorted(names.get(id, id) for id in went)))
        return "the hosts changed since the preview; " + "; ".join(parts)


def digest_of(ids: Iterable[str]) -> str:
    """SHA-256, hex, of the sorted ids with a newline after each."""
    return hashlib.sha256("".join(id + "\n" for id in sorted(ids)).encode()).hexdigest()


def fold(names: Iterable[str]) -> str:
    """`web[01-20],db1` of many names; only the last number of a name is folded.

    Folding every number of names like ip-10-3-7-9 takes minutes for ten thousand.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    whole: list[str] = []
    for name in set(names):
        match = _LAST_NUMBER.match(name)
        if match:
            groups.setdefault((match[1], match[3]), []).append(match[2])
        else:
            whole.append(name)
    whole += [_folded(front, digits, back) for (front, back), digits in groups.items()]
    return ",".join(sorted(whole, key=natural))


def _folded(front: str, digits: list[str], back: str) -> str:
    if len(digits) == 1:
        return f"{front}{digits[0]}{back}"
    numbers = RangeSet()
    numbers.update(digits)
    return f"{front}[{numbers}]{back}"


def check_expression(expression: str, field: str) -> None:
    """InvalidValue for `field`, if it can't be read; what it names is not looked at."""
    try:
        _check_length(expression)
        for _, operand in _operands(expression):
            if operand != "@*":
                _expand(operand.removeprefix("@"))
    except InvalidValue as error:
        said = str(error).removeprefix("targets: ")
        raise InvalidValue(f"{field}: {said}", field=field) from None


def groups_in(expression: str) -> set[str]:
    """The saved groups that an expression names; none for one that can't be read."""
    return {name for name in _after_at(expression) if ":" not in name and name != "*"}


def labels_in(expression: str) -> set[tuple[str, str]]:
    """What stands as @label:value in an expression; nothing for one that can't be read."""
    named = (name.partition(":") for name in _after_at(expression) if ":" in name)
    return {(label, value) for label, _, value in named}


def _after_at(expression: str) -> set[str]:
    try:
        operands = [operand for _, operand in _operands(expression) if operand.startswith("@")]
        return {name for operand in operands for name in _expand(operand[1:])}
    except InvalidValue:
        return set()


def _check_length(expression: str) -> None:
    if len(expression.encode()) > MAX_EXPRESSION_BYTES:
        raise _wrong(f"the expression is longer than {MAX_EXPRESSION_BYTES} bytes")


def _operands(expression: str) -> list[tuple[str, str]]:
    """[(operator, operand)] in order; the first operator is a union with nothing."""
    found = []
    operator, start, inside = ",", 0, False
    text = expression + ","
    for at, character in enumerate(text):
        if character in "[]":
            inside = character == "["
        elif character in _OPERATIONS and not inside:
            found.append((operator, text[start:at].strip()))
            operator, start = character, at + 1
    if inside:
        raise _wrong(f"a bracket is not closed in {expression!r}")
    if any(not operand for _, operand in found):
        raise _wrong(
            f"a name is missing in {expression!r}; write for example web[01-20],db1 or @env:prod"
        )
    return found


def _expand(operand: str) -> list[str]:
    """Every name that the ranges of one operand make; refused before it grows."""
    if re.search(r"\s", operand):
        raise _wrong(f"{operand!r} has white space; put a comma between names")
    if "[" not in operand and "]" not in operand:
        return [operand]
    if _product(operand) > MAX_RANGE_PRODUCT:
        raise _wrong(f"{operand!r} makes more than {MAX_RANGE_PRODUCT} names")
    try:
        return list(NodeSet(operand, resolver=RESOLVER_NOGROUP))
    except (NodeSetException, ValueError) as error:
        raise _wrong(f"{operand!r} can't be read: {error}") from error


def _product(operand: str) -> int:
    """How many names the ranges multiply to, without making them; 0 for what can't be read."""
    total = 1
    for content in re.findall(r"\[([^\]]*)\]", operand):
        total *= sum(_width(part) for part in content.split(","))
    return total


def _width(part: str) -> int:
    match = re.fullmatch(r"\s*(\d{1,18})(?:-(\d{1,18}))?(?:/(\d{1,18}))?\s*", part)
    if match is None:
        raise _wrong(f"{part!r} is not a range; write for example [01-20] or [1,3,5-9]")
    first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
    if step == 0 or last < first:
        raise _wrong(f"{part!r} is not a range; write for example [01-20] or [1,3,5-9]")
    return (last - first) // step + 1


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sorts web2 before web10."""
    return [
        (1, int(part), part) if part.isdecimal() else (0, 0, part)
        for part in re.split(r"(\d+)", name)
        if part
    ]


def some(names: list[str]) -> str:
    more = len(names) - NAMED_IN_ERRORS
    return ", ".join(names[:NAMED_IN_ERRORS]) + (f" and {more} more" if more > 0 else "")


def _wrong(sentence: str) -> InvalidValue:
    return InvalidValue(f"targets: {sentence}", field="targets")
