"""What can be done with what the master remembers? Domain verbs, each one transaction.

Every method returns a Verb that has not begun. `verb.wait()` blocks the calling
greenlet until it is committed and returns its result or raises; `verb.then(done)`
returns at once and calls `done(result or exception)` on the hub after the commit.

A verb that changes something on behalf of somebody takes the Act, and writes its record into
the audit log in the same transaction.

A verb may raise, besides what it names, StoreFull, Unavailable and Busy. It leaves
nothing behind then, except that after Unavailable it may have been done.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from master import (
    again,
    audit,
    audit_log,
    dead_letters,
    enrolment,
    groups,
    intake,
    joining,
    ledger,
    output,
    queue_again,
    queue_intake,
    queue_views,
    retention,
    sealing,
    search,
    steering,
    views,
)
from master.audit import Act, Note, of_system
from master.callback_store import CallbackStore
from master.chain import Link
from master.changes import (
    Added,
    Appended,
    Changed,
    Enrolled,
    Filled,
    Finished,
    Hold,
    ItemsTaken,
    NewSecret,
    NewTask,
    PollAnswer,
    PutBackTaken,
    QueueState,
    Retried,
    Retry,
    Seen,
)
from master.database import Database, Urgency, Verb
from master.group_store import GroupStore
from master.ledger import Level
from master.people_store import PeopleStore
from master.plan_book import PlanBook
from master.records import Agent, Run, Task
from master.schedule_book import ScheduleBook
from master.script_store import ScriptStore
from master.secrets import Vault
from master.specs import Specs
from master.transaction import Needs
from master.web_servers import WebServers
from wire.audit import AuditPage
from wire.messages import Done, Output, Poll, Register, Result
from wire.queues import AttemptView, QueueView
from wire.requests import TaskChanges
from wire.states import RunState, Standing
from wire.views import AgentView, GridView, GroupsView, OneRun, OutputView, Page, TaskView

DIRECT = Needs(direct=True)
BY_MASTER = of_system("join_token.add")  # at the command line, by who may read the store


class Storage:
    """The store of one master, in a directory that nobody else uses (the caller locks it).

    `clock` is the wall clock, so that tests can turn it; schedules go by
    `wall` where that is another one. `vault` None: tasks with secrets are
    kept, and cannot be handed out or repeated. Raises StoreTooNew.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        wall: Callable[[], float] | None = None,
        readers: int = 2,
        vault: Vault | None = None,
    ):
        self._database = Database(path, clock=clock, readers=readers)
        self.schedules = ScheduleBook(self._database, wall or clock)
        self.plans = PlanBook(self._database)
        self.people = PeopleStore(self._database)
        self.groups_of_hosts = GroupStore(self._database)
        self.callbacks = CallbackStore(self._database)
        self.scripts = ScriptStore(self._database)
        self.webs = WebServers(self._database)
        self._specs = Specs(vault=vault)
        self._vault = vault

    def close(self) -> None:
        """Commit what is queued, then let go of the file. Blocks the greenlet."""
        self._database.close()

    @property
    def queued(self) -> int:
        """Verbs that have begun and are not done: how far the disk is behind."""
        return self._database.queued

    # ---- agents

    def enrol(self, key: str, register: Register, act: Act) -> Verb[Enrolled]:
        """A register message: a known key is updated, a new one needs `register.token`.

        A second machine under the same key quarantines the agent. A new agent may be PENDING.
        Raises NotEnrolled, Refused (revoked, quarantined, deleted), Conflict (the id and the key
        are not of one agent).
        """
        return self._database.writing(lambda tx: enrolment.enrol(tx, key, register, act), DIRECT)

    def touch(self, seen: Mapping[str, Seen]) -> Verb[None]:
        """Write down when agents were last heard of; called every few seconds for all."""
        return self._database.writing(lambda tx: enrolment.touch(tx, seen), DIRECT)

    def bury_agent(self, agent: str, standing: Standing, reason: str, act: Act) -> Verb[Changed]:
        """Quarantine, revoke or delete: what it runs becomes UNKNOWN, what waits SKIPPED.

        Repeating it changes nothing. Raises NotFound, Conflict.
        """
        return self._database.writing(
            lambda tx: ledger.bury_agent(tx, agent, standing, reason, act),
            Needs(agents=(agent,), open_runs_of=(agent,)),
        )

    def accept_agent(self, agent: str, act: Act) -> Verb[Agent]:
        """A pending host is enrolled. Repeating it changes nothing. Raises NotFound, Conflict."""
        return self._database.writing(
            lambda tx: enrolment.accept(tx, agent, act), Needs(agents=(agent,))
        )

    def accept_hostname(self, agent: str, hostname: str, act: Act) -> Verb[Agent]:
        """The name that a host claims becomes its name. Raises NotFound."""
        return self._database.writing(
            lambda tx: enrolment.accept_hostname(tx, agent, hostname, act), Needs(agents=(agent,))
        )

    def agent_record(self, id: str) -> Verb[Agent]:
        """Raises NotFound."""
        return self._database.reading(lambda reader: views.agent_record(reader, id))

    def set_labels(
        self, labels: Mapping[str, Mapping[str, str | None]], act: Act
    ) -> Verb[list[str]]:
        """{agent: {label: value, or None to remove}}, all or nothing; the ids that changed.

        Raises NotFound with the unknown ids.
        """
        return self._database.writing(
            lambda tx: enrolment.set_labels(tx, labels, act), Needs(agents=tuple(labels))
        )

    def agent(self, id: str) -> Verb[AgentView]:
        """What only memory knows is for the hub to fill in. Raises NotFound."""
        return self._database.reading(lambda reader: views.agent(reader, id))

    def all_agents(self) -> Verb[list[Agent]]:
        """For the start, when the hub fills its memory."""
        return self._database.reading(views.all_agents)

    # ---- tasks

    def add_task(self, new: NewTask, act: Act) -> Verb[Added]:
        """Durable when it returns. The same key or id again is the same task; for another body
        under the key raises Conflict."""
        return self._database.writing(lambda tx: intake.add_task(tx, new, act), DIRECT)

    def made_by_key(self, key: str, caller: str, body_hash: str) -> Verb[str | None]:
        """The id of the task that this idempotency key has made already. Raises Conflict."""
        return self._database.reading(
            lambda reader: views.made_by_key(reader, key, caller, body_hash)
        )

    def add_items(
        self, task: str, upload: str, start: int, items: Sequence[str], act: Act
    ) -> Verb[ItemsTaken]:
        """A part of an upload to a queue that is open; `start`: the place of its first item in it.

        Repeating it adds nothing, and what is here of it already is passed over. Raises NotFound,
        InvalidValue, TooLarge, Conflict (a fan-out, closed, ended, or a part is missing before).
        """
        queue_intake.check_part(upload, start, items)
        return self._database.writing(
            lambda tx: queue_intake.add_items(tx, task, upload, start, items, act), DIRECT
        )

    def close_queue(self, task: str, act: Act) -> Verb[Changed]:
        """No more items come: the queue ends with its last run. Repeating it changes nothing.
        Raises NotFound, Conflict for a fan-out."""
        return self._database.writing(lambda tx: queue_intake.close(tx, task, act))

    def put_back(self, task: str, runs: Sequence[str] | None, act: Act) -> Verb[PutBackTaken]:
        """Runs of a queue that failed for good (None: all of them) get their attempts again, a
        thousand a call. Raises NotFound, Conflict (a fan-out, or one that has ended)."""
        return self._database.writing(lambda tx: dead_letters.put_back(tx, task, runs, act))

    def queue_results(
        self,
        task: str,
        limit: int,
        cursor: str | None = None,
        states: Sequence[str] = (),
        *,
        output: bool = False,
    ) -> Verb[Page]:
        """Page of ResultView, in the order of the items; it may be short and have a next all the
        same. `states`: of RunState, and DEAD. Raises NotFound, Conflict, InvalidValue."""
        return self._database.reading(
            lambda reader: queue_views.queue_results(
                reader, task, limit, cursor, states, output=output
            )
        )

    def queue_view(self, task: str) -> Verb[QueueView]:
        """Without what only the hub knows. Raises NotFound, Conflict for a fan-out."""
        return self._database.reading(lambda reader: queue_views.queue_view(reader, task))

    def beginnings(self, task: str, seqs: Sequence[int]) -> Verb[dict[int, str]]:
        """The beginnings of the items of a queue's runs, by the numbers of the runs; of a fan-out
        there are none. Raises NotFound."""
        return self._database.reading(lambda reader: queue_views.beginnings(reader, task, seqs))

    def queue_states(self) -> Verb[list[QueueState]]:
        """Of the queues that have not ended."""
        return self._database.reading(queue_views.queue_states)

    def queue_holders(self) -> Verb[dict[str, dict[str, set[str]]]]:
        """{task: {agent: runs}} of what is handed out of queues just now."""
        return self._database.reading(queue_views.queue_holders)

    def attempts(self, run: str) -> Verb[list[AttemptView]]:
        """Those before the run's present one. Raises NotFound."""
        return self._database.reading(lambda reader: queue_views.attempts(reader, run))

    def cancel_task(self, task: str, act: Act) -> Verb[Changed]:
        """Repeating it changes nothing. Raises NotFound."""
        return self._database.writing(lambda tx: ledger.cancel_task(tx, task, act))

    def cancel_run(self, run: str, act: Act) -> Verb[Changed]:
        """Repeating it changes nothing. Raises NotFound."""
        return self._database.writing(
            lambda tx: ledger.cancel_run(tx, run, act), Needs(runs=(run,))
        )

    def pause_task(self, task: str, act: Act) -> Verb[Changed]:
        """Nothing more of it is handed out. Repeating it changes nothing. Raises NotFound,
        Conflict for a task that has ended or is being stopped; so do the next two."""
        return self._database.writing(lambda tx: steering.pause(tx, task, act))

    def resume_task(self, task: str, act: Act) -> Verb[Changed]:
        """It goes on, with its next wave if it was between two; one that goes on stays so."""
        return self._database.writing(lambda tx: steering.resume(tx, task, act))

    def change_task(self, task: str, changes: TaskChanges, act: Act) -> Verb[Changed]:
        """New limits, places, priority or waves. Raises InvalidValue as well."""
        return self._database.writing(lambda tx: steering.change(tx, task, changes, act), DIRECT)

    def retry_task(self, wanted: Retry, act: Act) -> Verb[Retried]:
        """A new task on the hosts whose runs are in the states that are wanted, as they are now.

        Durable when it returns; the same key again is the same task. A queue may not be full then,
        see `fill`. Raises NotFound,
        InvalidValue (no such run, or none of the hosts is enrolled any more), Conflict,
        SecretsUnreadable.
        """
        return self._database.writing(lambda tx: again.retry(tx, wanted, act, self._vault), DIRECT)

    def targets_of(self, task: str, states: Sequence[RunState]) -> Verb[again.Hosts]:
        """The hosts whose runs of the task are in one of the states. Raises NotFound."""
        return self._database.reading(lambda reader: views.targets_of(reader, task, states))

    def filling(self) -> Verb[list[str]]:
        """The tasks of queues that were retried, and are not full yet."""
        return self._database.reading(queue_views.filling)

    def fill(self, task: str, most_runs: int) -> Verb[Filled]:
        """The next step of filling a queue, behind all other verbs of its commit."""
        return self._database.writing(
            lambda tx: queue_again.fill(tx, task, most_runs), DIRECT, Urgency.CHORE
        )

    def tasks(
        self,
        limit: int,
        cursor: str | None = None,
        wanted: search.Wanted = search.Wanted(),  # noqa: B008 (frozen)
    ) -> Verb[Page]:
        """Page of TaskView, newest first; one that is not full may have a next all the same."""
        return self._database.reading(lambda reader: search.tasks(reader, limit, cursor, wanted))

    def count_active_tasks(self) -> Verb[int]:
        """How many have not ended."""
        return self._database.reading(views.count_active_tasks)

    def task(self, id: str, *, script: bool = False) -> Verb[TaskView]:
        """Raises NotFound."""
        return self._database.reading(lambda reader: views.task(reader, id, script=script))

    def task_record(self, id: str) -> Verb[Task]:
        """Raises NotFound."""
        return self._database.reading(lambda reader: views.task_record(reader, id))

    def active_tasks(self) -> Verb[list[Task]]:
        """Those that have not ended, oldest first."""
        return self._database.reading(views.active_tasks)

    # ---- runs

    def runs(
        self, task: str, limit: int, cursor: str | None = None, state: str | None = None
    ) -> Verb[Page]:
        """Page of RunView in the order of the targets. Raises NotFound for the task."""
        return self._database.reading(lambda reader: views.runs(reader, task, limit, cursor, state))

    def runs_of_agent(self, agent: str, limit: int, cursor: str | None = None) -> Verb[Page]:
        """Page of RunView with the names of their tasks, newest task first; as with `tasks`, one
        that is not full may have a next."""
        return self._database.reading(
            lambda reader: search.runs_of_agent(reader, agent, limit, cursor)
        )

    def groups(self, task: str, limit: int, states: Sequence[str] = ()) -> Verb[GroupsView]:
        """The task's runs by result, largest group first; `states`: only those in these. Raises
        NotFound, InvalidValue."""
        return self._database.reading(lambda reader: groups.groups(reader, task, limit, states))

    def grid(self, task: str, offset: int, limit: int) -> Verb[GridView]:
        """States in columns; `since` is for the hub to fill in. Raises NotFound."""
        return self._database.reading(lambda reader: views.grid(reader, task, offset, limit))

    def run(self, id: str) -> Verb[OneRun]:
        """Raises NotFound."""
        return self._database.reading(lambda reader: views.run(reader, id))

    def run_record(self, id: str) -> Verb[Run]:
        """Raises NotFound."""
        return self._database.reading(lambda reader: views.run_record(reader, id))

    def waiting_agents(self, task: str, limit: int) -> Verb[list[str]]:
        """Agents of the task's waiting runs, in order: whom to wake when a place is free."""
        return self._database.reading(lambda reader: views.waiting_agents(reader, task, limit))

    def output(
        self, run: str, offset: int, limit: int, attempt: int | None = None
    ) -> Verb[OutputView]:
        """Bytes of the stored representation, with one line in the gap. `attempt` None: the
        present one. Raises NotFound."""
        return self._database.reading(
            lambda reader: output.read(
                reader, queue_views.run_in(reader, run, attempt), offset, limit
            )
        )

    # ---- what agents say; each is taken for its own runs only

    def poll(
        self, agent: str, poll: Poll, serves: Sequence[Level] = (), *, may_hold: bool = True
    ) -> Verb[PollAnswer]:
        """Compare what the agent holds with what it was handed, then claim for its free places.

        `serves`: the queue tasks that it may take from just now, in levels: in the agent's own
        order of queues, then by priority; within a level in the order of turns. A level gives one
        run of each task in turn. What is for this agent alone comes before it, if its priority is
        not lower. `may_hold`: as in master/ledger.py.
        """
        needs = Needs(
            agents=(agent,),
            runs=tuple(held.run for held in poll.held),
            open_runs_of=(agent,),
            claimable_by=(agent,) if poll.free > 0 else (),
        )
        return self._database.writing(
            lambda tx: ledger.poll(tx, agent, poll, self._specs, serves, may_hold=may_hold),
            needs,
            Urgency.CLAIM,
        )

    def finish(self, agent: str, result: Result) -> Verb[Finished]:
        """A verdict, once; its repeats change nothing and are acknowledged."""
        return self._database.writing(
            lambda tx: ledger.finish(tx, agent, result),
            Needs(runs=(result.run,), agents=(agent,)),
            Urgency.RESULT,
        )

    def append_output(self, agent: str, output: Output) -> Verb[Appended]:
        """What is new of a chunk; the answer says where the next one begins."""
        return self._database.writing(
            lambda tx: ledger.append_output(tx, agent, output),
            Needs(runs=(output.run,)),
            Urgency.RESULT,
        )

    def settle_done(self, agent: str, done: Done) -> Verb[Changed]:
        """Take over the done records that were recalled."""
        named = [*(record.run for record in done.records), *(done.asked or ())]
        return self._database.writing(
            lambda tx: ledger.settle_done(tx, agent, done),
            Needs(agents=(agent,), runs=tuple(named)),
            Urgency.RESULT,
        )

    # ---- time; the master's sweep calls these

    def expire(self) -> Verb[Changed]:
        """Skip what has not started in time."""
        return self._database.writing(ledger.expire)

    def resume_due(self) -> Verb[Changed]:
        """Tasks go on whose pause between two waves is over."""
        return self._database.writing(steering.resume_due)

    def silence(
        self,
        listening_since: float,
        last_stall: float,
        heard_at: Callable[[str], float] = lambda agent: 0.0,
    ) -> Verb[Changed]:
        """Give up waiting for agents not heard of, see master/outcome.py `silent_since`.

        `heard_at`: when this master heard an agent last, of which the store is told only now
        and then. Called in the writer's thread.
        """
        return self._database.writing(
            lambda tx: ledger.silence(tx, listening_since, last_stall, heard_at)
        )

    # ---- what is forgotten

    def purge(
        self, keep: retention.Keep, place: retention.Place, most_rows: int
    ) -> Verb[retention.Purged]:
        """One step of forgetting, behind all other verbs of its commit; see master/retention.py."""
        return self._database.writing(
            lambda tx: retention.purge(tx, keep, place, most_rows), DIRECT, Urgency.CHORE
        )

    def queues_beyond(self, items: int) -> Verb[list[int]]:
        """The numbers of the tasks that are to be forgotten so that queues which have ended have no
        more items than that, the first to go first."""
        return self._database.reading(lambda reader: retention.queues_beyond(reader, items))

    def begin_forgetting(self, seq: int) -> Verb[bool]:
        """From now on there is no such task; its rows go with the next steps. False: it stays."""
        return self._database.writing(lambda tx: retention.begin(tx, seq), DIRECT, Urgency.CHORE)

    # ---- keys of secrets

    def other_secret_key(self, key_id: str) -> Verb[str | None]:
        """The id of another key that some secret is sealed with; None: there is none."""
        return self._database.reading(lambda reader: sealing.other_key(reader, key_id))

    def forget_other_secrets(self, key_id: str, act: Act) -> Verb[int]:
        """Give up what is sealed with another key than this: values of tasks, those of plans and
        schedules, and where callbacks lead, which are paused by it. How many."""
        return self._database.writing(lambda tx: sealing.forget_other(tx, key_id, act), DIRECT)

    # ---- hold of hand-outs

    def hold(self, reason: str) -> Verb[Hold]:
        """Nothing is handed out to anybody until `release`; the first reason stays."""
        return self._database.writing(lambda tx: ledger.hold(tx, reason))

    def release(self, act: Act) -> Verb[None]:
        return self._database.writing(lambda tx: ledger.release(tx, act))

    def held(self) -> Verb[Hold | None]:
        """None: hand-outs go on."""
        return self._database.reading(views.held)

    # ---- the audit log

    def note(self, *notes: Note) -> Verb[None]:
        """Acts that changed nothing else: those that were refused."""
        return self._database.writing(lambda tx: audit.write(tx, *notes), urgency=Urgency.CHORE)

    def audit_records(
        self, limit: int, cursor: str | None, wanted: audit_log.Filters
    ) -> Verb[AuditPage]:
        """Newest first; a page that is not full may have a next all the same."""
        return self._database.reading(lambda reader: audit_log.page(reader, limit, cursor, wanted))

    def last_act(self) -> Verb[Link]:
        """The end of the audit log."""
        return self._database.reading(audit_log.last)

    # ---- join tokens

    def make_join_token(
        self,
        role: str,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        uses: int | None = None,
        expires_in: float | None = None,
        by_hand: bool = False,
        agent: str | None = None,
        act: Act = BY_MASTER,
    ) -> Verb[NewSecret]:
        """role is agent or web; the rest as in master/joining.py `NewToken`. Raises Conflict."""
        new = joining.NewToken(
            role=role,
            name=name,
            labels=labels or {},
            uses=uses,
            expires_in=expires_in,
            by_hand=by_hand,
            agent=agent,
        )
        return self._database.writing(lambda tx: joining.make(tx, new, act), DIRECT)

    def join_tokens(self) -> Verb[list[joining.JoinToken]]:
        """Newest first; expired ones are among them for a month."""
        return self._database.reading(joining.listed)

    def remove_join_token(self, id: str, act: Act) -> Verb[None]:
        """Raises NotFound."""
        return self._database.writing(lambda tx: joining.remove(tx, id, act), DIRECT)
