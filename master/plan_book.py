"""What can be done with the plans in the store? Verbs, as those of master/storage.py."""

from collections.abc import Sequence

from msgspec import Struct

from master import kept_secrets, plan_views, planning
from master.audit import Act
from master.database import Database, Urgency, Verb
from master.plan import Decision, HostRun, Part, Plan, decide
from master.planning import Advanced, Aim, PlanMade
from master.secrets import Sealed
from master.transaction import Needs
from wire.plans import PlanView
from wire.views import Page

DIRECT = Needs(direct=True)


class Situation(Struct, frozen=True):
    """A plan, all of its tasks, and what is to become of it."""

    plan: Plan
    parts: list[Part]
    decision: Decision


class PlanBook:
    def __init__(self, database: Database):
        self._database = database

    # ---- changing

    def add(self, plan: Plan, act: Act, sealed: Sealed | None = None) -> Verb[PlanMade]:
        """`sealed`: the secrets of its tasks. Raises Conflict for another body under the same
        key."""
        return self._database.writing(lambda tx: planning.add(tx, plan, act, sealed), DIRECT)

    def advance(self, id: str, aim: Aim | None) -> Verb[Advanced]:
        """Do what is next, once. Raises what making a task raises."""
        return self._database.writing(lambda tx: planning.advance(tx, id, aim), DIRECT)

    def cancel(self, id: str, act: Act) -> Verb[Advanced]:
        """Repeating it changes nothing. Raises NotFound."""
        return self._database.writing(lambda tx: planning.cancel(tx, id, act), DIRECT)

    def resume(self, id: str, again: str, owner: str, owner_id: str, act: Act) -> Verb[Plan]:
        """Raises NotFound, Conflict."""
        return self._database.writing(
            lambda tx: planning.resume(tx, id, again, owner, owner_id, act), DIRECT
        )

    def forget(self, before: float, limit: int) -> Verb[int]:
        """Plans that ended before then; the number of rows that are gone."""
        return self._database.writing(
            lambda tx: planning.forget(tx, before, limit), DIRECT, Urgency.CHORE
        )

    # ---- reading

    def situation(self, id: str) -> Verb[Situation]:
        """Raises NotFound."""
        return self._database.reading(
            lambda reader: _situation(planning.known(reader, id), planning.parts_of(reader, id))
        )

    def sealed(self, id: str) -> Verb[Sealed | None]:
        """The secrets of its tasks; None: it has none, or they were given up."""
        return self._database.reading(
            lambda reader: kept_secrets.from_row(reader.row("secrets_of_plan", id=id))
        )

    def host_runs(self, parts: Sequence[Part]) -> Verb[list[HostRun]]:
        """Raises Conflict when one of the tasks is no longer kept."""
        return self._database.reading(lambda reader: planning.host_runs(reader, parts))

    def made_by_key(self, key: str, created_by: str, body_hash: str) -> Verb[str | None]:
        """The id of the plan that this key has made already. Raises Conflict."""
        return self._database.reading(
            lambda reader: planning.made_by_key(reader, key, created_by, body_hash)
        )

    def held_up(self) -> Verb[list[str]]:
        """Ids of plans that wait for nothing any more."""
        return self._database.reading(lambda reader: [id for (id,) in reader.rows("plans_held_up")])

    def view(self, id: str) -> Verb[PlanView]:
        """Raises NotFound."""
        return self._database.reading(lambda reader: plan_views.one(reader, id))

    def page(self, limit: int, cursor: str | None) -> Verb[Page]:
        """Page of PlanLine, newest first."""
        return self._database.reading(lambda reader: plan_views.page(reader, limit, cursor))


def _situation(plan: Plan, parts: list[Part]) -> Situation:
    return Situation(plan, parts, decide(plan, parts))
