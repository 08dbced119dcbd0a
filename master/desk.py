"""What do people get when they act? Previews, submissions, retries, cancels; and one task.

Every method runs in a greenlet of its own, for a person that the gate has admitted.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import gevent
import msgspec
from gevent.event import AsyncResult
from msgspec.structs import replace

from master import again, compose
from master.audit import Act
from master.beside import beside
from master.changes import Changed as TaskChanged
from master.changes import NewTask, Retry
from master.database import Verb
from master.dispatch import Dispatcher
from master.events import Ring
from master.ids import new_id
from master.live import Live
from master.queue_rules import refuse_unread
from master.reach import reach_of
from master.records import Task
from master.rights import Person
from master.roster import Roster, state_of
from master.saved_scripts import Version
from master.saved_submission import as_saved, filled
from master.secrets import Vault, plain_digest
from master.storage import Storage
from master.submission import check, check_key
from master.submission_secrets import secrets_of
from master.targets import Fleet, Previews, digest_of, fold
from master.task import QUEUE
from master.task_reach import TaskReach
from master.views import task_view
from master.waiters import Waiters
from utils import failpoint, getLogger
from wire.errors import Conflict, InvalidValue, Refusal
from wire.requests import (
    AddTask,
    ById,
    Changes,
    ChangeTask,
    GetTargets,
    GetTaskTargets,
    JustAuth,
    RetryTask,
    SetLabels,
    Submission,
)
from wire.states import ENDED_TASK, AgentState, RunState
from wire.views import Added, Changed, EventsAnswer, OneRun, TargetsView, TaskView

log = getLogger(__name__)

MAX_WAIT_S = 60.0
EVENT_PAUSE_S = 0.05  # changes are gathered this long before a reader is answered
MAX_LABELS = 64

_LABEL = re.compile(r"[A-Za-z0-9._-]{1,63}")


class Desk:
    """Answers the web's calls that change something, and those that watch one task."""

    def __init__(
        self,
        storage: Storage,
        roster: Roster,
        dispatcher: Dispatcher,
        ring: Ring,
        waiters: Waiters,
        live: Live,
        vault: Vault,
    ):
        self._vault = vault
        self._storage = storage
        self._roster = roster
        self._dispatcher = dispatcher
        self._ring = ring
        self._waiters = waiters
        self._live = live
        self._reach = TaskReach(storage, roster, dispatcher.queues)
        self._previews = Previews()

    # ---- hosts

    def set_labels(self, person: Person, asked: SetLabels, act: Act) -> Changed:
        """Labels of many agents, all or nothing."""
        _check_labels(asked.labels)
        self._storage.set_labels(asked.labels, act).wait()
        self._roster.set_labels(asked.labels)
        return Changed(len(asked.labels))

    def get_targets(self, person: Person, asked: GetTargets) -> TargetsView:
        """What an expression names now, with the digest that a submit may carry as `expect`."""
        fleet = self._roster.fleet()
        ids, nodeset = beside(lambda: _resolve_and_fold(fleet, asked.expr))
        offline = sum(1 for id in ids if self._live.state(id) is AgentState.OFFLINE)
        return TargetsView(nodeset, len(ids), self._previews.remember(ids), offline, ids)

    def get_task_targets(self, person: Person, asked: GetTaskTargets) -> TargetsView:
        """The hosts of a task as they are now: a form that runs it again begins with them."""
        states = again.check_states(asked.states) if asked.states else tuple(RunState)
        hosts = self._storage.targets_of(asked.task, states).wait()
        ids = [id for id, _ in hosts.targets]
        nodeset = beside(lambda: fold(name for _, name in hosts.targets))
        offline = sum(1 for id in ids if self._live.state(id) is AgentState.OFFLINE)
        digest = self._previews.remember(ids)
        return TargetsView(nodeset, len(ids), digest, offline, ids, hosts.left_out)

    # ---- submit and cancel

    def add_task(self, person: Person, asked: AddTask, act: Act) -> Added:
        """Durable when this returns. The same key again gives the same task."""
        check_key(asked.key)
        submission = asked.submission
        # Whoever has the store alone must not be able to try values against the hash.
        sealed = submission.secrets or submission.secret_files or submission.saved
        digest = self._vault.digest if sealed else plain_digest
        body_hash = digest(msgspec.msgpack.encode(submission))
        try:
            new = self._new_task(person, submission, asked.key, body_hash)
        except Refusal:
            # The fleet may have changed since the same key made its task.
            earlier = self._made_by(asked.key, person, body_hash)
            if earlier is None:
                raise
            return Added(earlier, False)
        added = self._dispatcher.submit(new, act)
        failpoint("added")
        if added.created:
            much = f"{len(new.targets)} hosts" if new.queue is None else f"queue {new.queue.name}"
            log.info(f"task {added.task.id} of {person.name} for {much} accepted")
        return Added(added.task.id, added.created)

    def _runnable(self, name: str, version: int | None) -> Version:
        return self._storage.scripts.runnable(name, version).wait()

    def _made_by(self, key: str | None, person: Person, body_hash: str) -> str | None:
        if key is None:
            return None
        return self._storage.made_by_key(key, person.name, body_hash).wait()

    def _new_task(
        self, person: Person, submission: Submission, key: str | None, body_hash: str
    ) -> NewTask:
        fleet = self._roster.fleet()
        meant = filled(submission, self._runnable, fleet)
        plan = check(meant.submission, takes_secrets=True)
        refuse_unread(plan.submission)
        secrets = secrets_of(meant.submission)
        if plan.submission.callbacks:
            self._storage.callbacks.check_known(plan.submission.callbacks).wait()
        ids = self._targets(plan.submission, fleet)
        self._reach.check_hosts(person, {id: fleet.by_id[id].hostname for id in ids})
        new = compose.new_task(
            plan,
            ids,
            fleet,
            id=new_id(),
            created_by=person.name,
            is_offline=self._is_offline,
            within=person.hosts,
        )
        sealed = self._vault.seal(new.id, secrets)
        return replace(as_saved(new, meant), key=key, body_hash=body_hash, secrets=sealed)

    def _is_offline(self, id: str) -> bool:
        return self._live.state(id) is AgentState.OFFLINE

    def _targets(self, submission: Submission, fleet: Fleet) -> list[str]:
        ids = beside(lambda: compose.targets(submission, fleet))
        if submission.expect is not None and submission.expect != digest_of(ids):
            names = {id: host.hostname for id, host in fleet.by_id.items()}
            change = self._previews.change_since(submission.expect, ids, names)
            raise Conflict(f"expect: {change}; look at the preview again", field="expect")
        return ids

    def retry_task(self, person: Person, asked: RetryTask, act: Act) -> Added:
        """Durable when this returns. Hosts that are no longer enrolled are left out, and named."""
        check_key(asked.key)
        states = again.check_states(asked.states)
        old = self._storage.task_record(asked.id).wait()
        reach = reach_of(person, self._roster.fleet())
        wanted = Retry(
            id=new_id(),
            task=old.id,
            states=states,
            created_by=person.name,
            offline=self._offline() if old.offline == "skip" else frozenset(),
            reach=reach,
            within=person.hosts,
            hosts={} if reach is None else self._reach.meant_by(old),
            key=asked.key,
            body_hash=hashlib.sha256(f"retry {old.id} {' '.join(states)}".encode()).hexdigest(),
        )
        retried = self._storage.retry_task(wanted, act).wait()
        if retried.created:
            log.info(f"task {retried.task.id} of {person.name} runs {old.id} again")
            self._dispatcher.opened(retried.task, list(retried.waiting), retried.queues)
        return Added(retried.task.id, retried.created, list(retried.left_out))

    def _offline(self) -> frozenset[str]:
        agents, now = self._roster.all(), self._live.now()
        return beside(
            lambda: frozenset(
                agent.id for agent in agents if state_of(agent, now) is AgentState.OFFLINE
            )
        )

    def cancel_task(self, person: Person, asked: ById, act: Act) -> TaskView:
        self._reach.check(person, asked.id)
        self._storage.cancel_task(asked.id, act).wait(told=self._dispatcher.apply)
        log.info(f"task {asked.id} cancelled by {person.name}")
        return self.get_task(person, asked)

    def pause_task(self, person: Person, asked: ById, act: Act) -> TaskView:
        """Nothing more of it is handed out until somebody resumes it; what runs goes on."""
        return self._steered(asked.id, self._storage.pause_task(asked.id, act), person)

    def resume_task(self, person: Person, asked: ById, act: Act) -> TaskView:
        """A paused task goes on, with its next wave if it waited between two."""
        return self._steered(asked.id, self._storage.resume_task(asked.id, act), person)

    def change_task(self, person: Person, asked: ChangeTask, act: Act) -> TaskView:
        """Other places, limits, priority or waves for what is left of a task."""
        return self._steered(
            asked.id, self._storage.change_task(asked.id, asked.changes, act), person
        )

    def _steered(self, id: str, verb: Verb[TaskChanged], person: Person) -> TaskView:
        self._reach.check(person, id)
        verb.wait(told=self._dispatcher.apply)
        log.info(f"task {id} paused, resumed or changed by {person.name}")
        return self.show(id)

    def cancel_run(self, person: Person, asked: ById, act: Act) -> OneRun:
        self._reach.check_run(person, asked.id)
        self._storage.cancel_run(asked.id, act).wait(told=self._dispatcher.apply)
        log.info(f"run {asked.id} cancelled by {person.name}")
        return self.get_run(person, asked)

    def check_reach_of_task(self, person: Person, id: str) -> None:
        """For whatever else changes a task. Raises Forbidden."""
        self._reach.check(person, id)

    def release_handouts(self, person: Person, asked: JustAuth, act: Act) -> dict[str, Any]:
        """Hand-outs that are held since an older store was restored go on."""
        self._storage.release(act).wait()
        log.warning(f"hand-outs released by {person.name}")
        self._live.held = None
        self._dispatcher.look_for_all()
        return {}

    # ---- one task

    def get_task(self, person: Person, asked: ById) -> TaskView:
        """The task now, or with `wait` at its end, at the latest after so many seconds; with what
        the person may do with it."""
        view = self._at_end(asked) if asked.wait > 0 else self.show(asked.id)
        return replace(view, may=self._reach.rights(person, asked.id))

    def _at_end(self, asked: ById) -> TaskView:
        ended: AsyncResult[Task | None] = AsyncResult()
        waiter = self._waiters.wait(asked.id, ended.set, min(asked.wait, MAX_WAIT_S))
        try:
            view = self.show(asked.id)
            if view.state in ENDED_TASK:
                return view
            task = ended.get()
            if task is None or task.mode == QUEUE:
                return self.show(asked.id)
            return _with_script(task, view)
        finally:
            self._waiters.forget(asked.id, waiter)

    def show(self, id: str) -> TaskView:
        """All there is of a task."""
        view = self._storage.task(id, script=True).wait()
        if view.mode != QUEUE:
            return view
        task, queue = self._storage.task_record(id).wait(), self._storage.queue_view(id).wait()
        return replace(view, queue=self._dispatcher.queues.completed(task, queue))

    def get_run(self, person: Person, asked: ById) -> OneRun:
        view = self._storage.run(asked.id).wait()
        task = self._storage.task_record(view.task).wait()
        if task.mode == QUEUE:
            items = self._storage.beginnings(task.id, [view.seq]).wait()
            view = replace(view, item=items.get(view.seq))
        view.may_cancel = self._reach.may_cancel(person, view)
        return self._live.run(view, task)

    # ---- changes

    def changes(self, person: Person, asked: Changes) -> EventsAnswer:
        """The changes after `since`, as soon as there are some."""
        answer = self._ring.since(asked.since)
        if answer.events or answer.reset:
            return answer
        if not self._ring.wait(min(asked.wait, MAX_WAIT_S)):
            return answer
        gevent.sleep(EVENT_PAUSE_S)
        return self._ring.since(answer.next)


def _with_script(task: Task, earlier: TaskView) -> TaskView:
    """The view of a task that has ended just now, without another read."""
    return replace(task_view(task), script_base64=earlier.script_base64)


def _resolve_and_fold(fleet: Fleet, expression: str) -> tuple[list[str], str]:
    ids = fleet.resolve(expression)
    return ids, fold(fleet.by_id[id].hostname for id in ids)


def _check_labels(labels: Mapping[str, Mapping[str, str | None]]) -> None:
    for changes in labels.values():
        if len(changes) > MAX_LABELS:
            raise InvalidValue(f"labels: at most {MAX_LABELS} at once for a host", field="labels")
        for name, value in changes.items():
            check_label(name)
            if value is not None:
                check_label(value)


def check_label(text: str) -> None:
    """The name of a label, or its value."""
    if not _LABEL.fullmatch(text):
        raise InvalidValue(
            f"labels: {text[:80]!r} is no label; it takes 1 to 63 of A-Z a-z 0-9 . _ -",
            field="labels",
        )
