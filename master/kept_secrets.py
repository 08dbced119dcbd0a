"""How are the secrets of plans and schedules kept, whose tasks are made later?

Apart from what is written down, and sealed together. What is written down has their names, each
with an empty value; the values are put back when a task is made of it. So an empty value that
comes back with an edit stands for the one that is kept.
"""

from collections.abc import Callable, Collection, Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from master.secrets import Sealed, Values, Vault
from wire.errors import InvalidValue, SecretsUnreadable
from wire.plans import PlanSpec, PlanStep
from wire.requests import Submission

WHOLE = ""  # the place of the one task of a schedule

_ALL = "all"  # the name of what is sealed


class Kept(Struct, frozen=True, omit_defaults=True):
    """The secrets of one task. `parameters`: those of the saved script of that name."""

    secrets: dict[str, str] = {}
    secret_files: dict[str, str] = {}
    parameters: dict[str, str] = {}
    script: str = ""

    def __bool__(self) -> bool:
        return bool(self.secrets or self.secret_files or self.parameters)

    def __repr__(self) -> str:
        return "Kept"


Places = Mapping[str, Kept]  # by the place of the task
SecretsOf = Callable[[Submission], Collection[str]]  # which parameters of its script are secret

_decode = msgspec.json.Decoder(dict[str, Kept]).decode


def place_of(step: int, task: int) -> str:
    """Of a task in a plan; both count from 0."""
    return f"{step}.{task}"


# ---- apart


def of_task(task: Submission, secret_parameters: Collection[str]) -> tuple[Submission, Kept]:
    """(the task as it is written down, its secrets)."""
    kept = Kept(task.secrets, task.secret_files)
    bare = replace(
        task,
        secrets=dict.fromkeys(task.secrets, ""),
        secret_files=dict.fromkeys(task.secret_files, ""),
    )
    if task.saved is not None:
        given = task.saved.parameters
        secret = {name: given[name] for name in given if name in secret_parameters}
        kept = replace(kept, parameters=secret, script=task.saved.script)
        shown = replace(task.saved, parameters={**given, **dict.fromkeys(secret, "")})
        bare = replace(bare, saved=shown)
    return bare, kept


def of_plan(spec: PlanSpec, secrets_of: SecretsOf) -> tuple[PlanSpec, Places]:
    """As `of_task`, of all its tasks."""
    places: dict[str, Kept] = {}

    def bare(step: int, place: int, task: Submission) -> Submission:
        written, kept = of_task(task, secrets_of(task))
        if kept:
            places[place_of(step, place)] = kept
        return written

    return _each(spec, bare), places


# ---- together


def put_back(task: Submission, kept: Kept | None) -> Submission:
    """The task with the values that are kept of it where it has empty ones."""
    if not kept:
        return task
    saved = task.saved
    if saved is not None and saved.script == kept.script:
        values = {name: value for name, value in saved.parameters.items() if value}
        saved = replace(saved, parameters={**saved.parameters, **kept.parameters, **values})
    return replace(
        task,
        secrets=_filled(task.secrets, kept.secrets),
        secret_files=_filled(task.secret_files, kept.secret_files),
        saved=saved,
    )


def put_back_plan(spec: PlanSpec, places: Places) -> PlanSpec:
    return _each(spec, lambda step, place, task: put_back(task, places.get(place_of(step, place))))


def check_values(task: Submission) -> None:
    """Raises InvalidValue for a secret without a value."""
    for field, named in (("secrets", task.secrets), ("secret_files", task.secret_files)):
        empty = [name for name, value in named.items() if not value]
        if empty:
            raise InvalidValue(
                f"{field}: {empty[0]} has no value: give it; one that was given before stays only "
                "where its owner edits",
                field=field,
            )


def _filled(given: dict[str, str], kept: dict[str, str]) -> dict[str, str]:
    return {name: value or kept.get(name, "") for name, value in given.items()}


def _each(spec: PlanSpec, change: Callable[[int, int, Submission], Submission]) -> PlanSpec:
    steps = [
        PlanStep(
            step.name,
            [change(number, place, task) for place, task in enumerate(step.tasks)],
            step.needs,
        )
        for number, step in enumerate(spec.steps)
    ]
    return replace(spec, steps=steps)


# ---- sealed


def sealed(vault: Vault, holder: str, places: Places) -> Sealed | None:
    """`holder`: such as plan ID, where alone it opens again. None: there are no secrets."""
    if not any(places.values()):
        return None
    return vault.seal(holder, Values({_ALL: msgspec.json.encode(places).decode()}))[0]


def opened(vault: Vault, holder: str, found: Sealed | None) -> Places:
    """Raises SecretsUnreadable."""
    if found is None:
        return {}
    try:
        return _decode(vault.open(holder, [found]).variables[_ALL])
    except SecretsUnreadable:
        raise SecretsUnreadable(
            f"the secrets of {holder} do not open with the master's key: give them anew, or "
            "bring back the secrets.key of then"
        ) from None


def from_row(row: tuple[str | None, bytes | None] | None) -> Sealed | None:
    """What the store has of it."""
    if row is None or row[0] is None or row[1] is None:
        return None
    return Sealed(_ALL, "variable", row[0], bytes(row[1]))
