"""What is there to see? Lists, groups, the grid, output. Nothing here changes anything.

Every method runs in a greenlet of its own, for a person that the gate has admitted.
"""

from collections import Counter

from msgspec.structs import replace

from master import hosts
from master.audit_log import LATEST_MS, Filters
from master.beside import beside
from master.events import Ring
from master.live import Live
from master.queue_hub import QueueHub
from master.reach import check_reach, reach_of, would_pass
from master.rights import Person
from master.roster import Presence, Roster, state_of
from master.search import Wanted
from master.storage import Storage
from master.task import QUEUE
from utils import VERSION, iso
from wire.audit import AuditPage, GetAudit
from wire.errors import InvalidValue
from wire.requests import (
    ById,
    GetGrid,
    GetGroups,
    GetOutput,
    JustAuth,
    ListAgents,
    ListRuns,
    ListRunsOfAgent,
    ListTasks,
)
from wire.states import ENDED_RUN, AgentState, RunState, Standing, TaskState
from wire.views import AgentView, GridView, GroupsView, OutputView, Page, StatusView

MAX_PAGE = 10_000
MAX_OUTPUT_BYTES = 1 << 20


class Board:
    """Answers the web's calls that look at something."""

    def __init__(self, storage: Storage, roster: Roster, ring: Ring, live: Live, queues: QueueHub):
        self._storage = storage
        self._queues = queues
        self._roster = roster
        self._ring = ring
        self._live = live
        self._ranks = hosts.Ranks()

    def get_status(self, person: Person, asked: JustAuth) -> StatusView:
        """Are hand-outs held, who is there, how much goes on?"""
        active = self._storage.count_active_tasks().wait()
        agents, now, held = self._roster.all(), self._live.now(), self._live.held
        counts, standings, renamed = beside(lambda: _counted(agents, now))
        return StatusView(
            version=VERSION,
            held=held.reason if held else None,
            held_since=iso(held.since) if held else None,
            online=counts[AgentState.ONLINE],
            stale=counts[AgentState.STALE],
            offline=counts[AgentState.OFFLINE],
            tasks_active=active,
            pending=standings[Standing.PENDING],
            quarantined=standings[Standing.QUARANTINED],
            renamed=renamed,
        )

    # ---- hosts

    def get_agents(self, person: Person, asked: ListAgents) -> Page:
        """From memory alone, which has of every host what the list shows."""
        check_limit(asked.limit)
        wanted = hosts.check(asked)
        agents, version, now = self._roster.all(), self._roster.names_version, self._live.now()
        return beside(lambda: hosts.page(agents, self._ranks.of(version, agents), wanted, now))

    def get_agent(self, person: Person, asked: ById) -> AgentView:
        """All that is known of a host, and whether the person may run scripts there."""
        view = self._live.agent(self._storage.agent(asked.id).wait())
        fleet = self._roster.fleet()
        view.may_run = would_pass(
            person, lambda: check_reach(reach_of(person, fleet), {view.id: view.hostname})
        )
        return view

    def get_runs_of_agent(self, person: Person, asked: ListRunsOfAgent) -> Page:
        limit = check_limit(asked.limit)
        if asked.agent not in self._roster:
            self._storage.agent(asked.agent).wait()  # raises NotFound
        return self._storage.runs_of_agent(asked.agent, limit, asked.cursor).wait()

    # ---- tasks and runs

    def get_tasks(self, person: Person, asked: ListTasks) -> Page:
        limit = check_limit(asked.limit)
        if asked.state:
            check_state(asked.state, TaskState)
        wanted = Wanted(
            state=TaskState(asked.state) if asked.state else None,
            text=(asked.text or "").strip() or None,
            created_by=asked.created_by or None,
            agent=self._one_agent(asked.agent) if asked.agent else None,
        )
        page = self._storage.tasks(limit, asked.cursor, wanted).wait()
        return replace(page, items=[self._queues.paced(view) for view in page.items])

    def _one_agent(self, name: str) -> str:
        """The id of the host that is meant by its id or hostname."""
        ids = self._roster.named(name.strip())
        if not ids:
            raise InvalidValue(f"agent: there is no host {name[:80]!r}", field="agent")
        if len(ids) > 1:
            raise InvalidValue(
                f"agent: the hostname {name} is borne by {len(ids)} agents; name one by its id: "
                f"{', '.join(sorted(ids)[:20])}",
                field="agent",
            )
        return ids[0]

    def get_runs(self, person: Person, asked: ListRuns) -> Page:
        limit = check_limit(asked.limit)
        if asked.state is not None:
            check_state(asked.state, RunState)
        task = self._storage.task_record(asked.task).wait()
        page = self._storage.runs(asked.task, limit, asked.cursor, asked.state).wait()
        if task.mode == QUEUE:
            items = self._storage.beginnings(task.id, [view.seq for view in page.items]).wait()
            shown = [replace(view, item=items.get(view.seq)) for view in page.items]
            return replace(page, items=shown)
        return replace(page, items=[self._live.run(view, task) for view in page.items])

    def get_groups(self, person: Person, asked: GetGroups) -> GroupsView:
        return self._storage.groups(asked.task, check_limit(asked.limit), asked.states).wait()

    def get_grid(self, person: Person, asked: GetGrid) -> GridView:
        """`since` is taken first: what changes meanwhile comes twice rather than never."""
        limit = check_limit(asked.limit)
        if asked.offset < 0:
            raise InvalidValue(f"offset is {asked.offset}; it takes 0 or more", field="offset")
        since = self._ring.since(None).next
        grid = self._storage.grid(asked.task, asked.offset, limit).wait()
        return replace(grid, since=since)

    def get_audit(self, person: Person, asked: GetAudit) -> AuditPage:
        wanted = Filters(
            who=asked.who or None,
            action=asked.action or None,
            object=asked.object or None,
            result=asked.result or None,
            since_ms=_ms(asked.since, "since", -LATEST_MS),
            until_ms=_ms(asked.until, "until", LATEST_MS),
        )
        limit = check_limit(asked.limit)
        return self._storage.audit_records(limit, asked.cursor, wanted).wait()

    def get_output(self, person: Person, asked: GetOutput) -> OutputView:
        limit = max(0, min(asked.limit, MAX_OUTPUT_BYTES))
        offset = max(0, asked.offset)
        view = self._storage.output(asked.run, offset, limit, asked.attempt).wait()
        gone = view.state in ENDED_RUN and self._live.state(view.agent) is AgentState.OFFLINE
        return replace(view, ended=view.ended or gone)


def _counted(
    agents: list[Presence], now: float
) -> tuple[Counter[AgentState], Counter[Standing], int]:
    """Enrolled hosts by state, all by standing, and how many have a hostname to be accepted."""
    enrolled = [agent for agent in agents if agent.standing is Standing.ENROLLED]
    return (
        Counter(state_of(agent, now) for agent in enrolled),
        Counter(agent.standing for agent in agents),
        sum(agent.claims is not None for agent in enrolled),
    )


def _ms(at: float | None, field: str, otherwise: int) -> int:
    if at is None:
        return otherwise
    if not -1e11 < at < 1e11:
        raise InvalidValue(f"{field} is {at}, which is no time", field=field)
    return round(at * 1000)


def check_limit(limit: int) -> int:
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidValue(f"limit is {limit}; it takes 1 to {MAX_PAGE}", field="limit")
    return limit


def check_state(state: str, states: type[RunState] | type[TaskState]) -> None:
    if state not in states.__members__:
        raise InvalidValue(
            f"state is {state!r}; it takes one of {', '.join(states)}", field="state"
        )
