"""What can be done with the schedules in the store? Verbs, as those of master/storage.py."""

from collections.abc import Callable

from msgspec import UNSET, UnsetType

from master import kept_secrets, schedule_rows, schedule_views, scheduling
from master.audit import Act
from master.changes import Added, NewTask
from master.database import Database, Urgency, Verb
from master.plan import Plan
from master.planning import PlanMade
from master.schedule import Schedule
from master.schedule_views import Due
from master.scheduling import Aim, Fired
from master.secrets import Sealed
from master.transaction import Needs
from wire.schedules import ScheduleView
from wire.views import Page

DIRECT = Needs(direct=True)


class ScheduleBook:
    """`wall` is the clock that people read; verbs ask it in the transaction that decides."""

    def __init__(self, database: Database, wall: Callable[[], float]):
        self._database = database
        self._wall = wall

    # ---- changing

    def add(self, schedule: Schedule, act: Act, sealed: Sealed | None = None) -> Verb[Schedule]:
        """`sealed`: its secrets. Raises Conflict: the name is taken, or there are too many."""
        return self._database.writing(lambda tx: scheduling.add(tx, schedule, act, sealed), DIRECT)

    def change(
        self,
        id: str,
        edit: Callable[[Schedule, float], Schedule],
        cause: str,
        act: Act,
        sealed: Sealed | UnsetType | None = UNSET,
    ) -> Verb[Schedule]:
        """`edit` is called in the writer's thread, maybe more than once. Raises NotDecided,
        NotFound, Conflict; see master/scheduling.py."""
        return self._database.writing(
            lambda tx: scheduling.change(tx, id, edit, self._wall(), cause, act, sealed), DIRECT
        )

    def run_now(self, id: str, new: NewTask, act: Act) -> Verb[Added]:
        """A firing by hand. Raises NotFound, Conflict."""
        return self._database.writing(
            lambda tx: scheduling.run_now(tx, id, new, self._wall(), act), DIRECT
        )

    def run_plan_now(
        self, id: str, new: Plan, act: Act, sealed: Sealed | None = None
    ) -> Verb[PlanMade]:
        """As `run_now`, of a schedule that makes plans."""
        return self._database.writing(
            lambda tx: scheduling.run_plan_now(tx, id, new, self._wall(), act, sealed), DIRECT
        )

    def fire(self, aim: Aim) -> Verb[Fired]:
        """Decide what has come up of one schedule, and make its task or plan."""
        return self._database.writing(lambda tx: scheduling.fire(tx, aim, self._wall()), DIRECT)

    def forget(self, age_s: float, limit: int) -> Verb[int]:
        """Firings that were due longer ago; the number of rows that are gone."""
        return self._database.writing(
            lambda tx: scheduling.forget(tx, self._wall() - age_s, limit), DIRECT, Urgency.CHORE
        )

    # ---- reading

    def due(self, now: float, limit: int) -> Verb[list[Schedule]]:
        """Those that fire by now, the first before the others."""
        return self._database.reading(lambda reader: schedule_views.due(reader, now, limit))

    def next_firing(self) -> Verb[float | None]:
        """When the first of them fires; None: none ever does."""
        return self._database.reading(schedule_views.next_firing)

    def held_up(self) -> Verb[list[str]]:
        """Ids of schedules with a firing that waits for nothing any more."""
        return self._database.reading(schedule_views.held_up)

    def record(self, id: str) -> Verb[Schedule]:
        """Raises NotFound."""
        return self._database.reading(lambda reader: schedule_rows.known(reader, id))

    def sealed(self, id: str) -> Verb[Sealed | None]:
        """Its secrets; None: it has none, or they were given up."""
        return self._database.reading(
            lambda reader: kept_secrets.from_row(reader.row("secrets_of_schedule", id=id))
        )

    def view(self, id: str) -> Verb[ScheduleView]:
        """Raises NotFound."""
        return self._database.reading(lambda reader: schedule_views.one(reader, id, self._wall()))

    def page(
        self, limit: int, cursor: str | None, text: str | None, state: str | None
    ) -> Verb[Page]:
        """Page of ScheduleView by name, without scripts."""
        return self._database.reading(
            lambda reader: schedule_views.page(reader, limit, cursor, text, state, self._wall())
        )

    def firings(
        self, schedule: str | None, state: str | None, limit: int, cursor: str | None
    ) -> Verb[Page]:
        """Page of FiringView, newest due instant first. Raises NotFound."""
        return self._database.reading(
            lambda reader: schedule_views.firings(reader, schedule, state, limit, cursor)
        )

    def coming(self, until_s: float) -> Verb[list[Due]]:
        """The timings of all that are due within so many seconds."""
        return self._database.reading(
            lambda reader: schedule_views.coming(reader, self._wall() + until_s)
        )

    def now(self) -> float:
        return self._wall()
