"""What can be asked of the master? The table of RPC methods, each with its role.

Handlers for agents answer from the completion of a verb, without a greenlet. The
web's calls are few, and may wait: each has a greenlet.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from msgspec import Struct

from master import audit
from master.accounts import Accounts
from master.admission import Admission
from master.audit import Act
from master.board import Board
from master.callback_desk import CallbackDesk
from master.changes import Appended, Changed, Enrolled, Finished, Peer
from master.claims import Foreign, check_claims, check_protocol, check_register
from master.database import Verb
from master.desk import Desk
from master.dispatch import POLL_S, Dispatcher
from master.enrolment import refusal_of
from master.gate import Gate
from master.group_desk import GroupDesk
from master.ping import Pinger
from master.plan_desk import PlanDesk
from master.queue_desk import QueueDesk
from master.reception import Reception
from master.refusals import Refusals
from master.rights import ANYONE
from master.roster import AGENT, REFUSED, STRANGER, WEB, Cloned, Presence, Roster
from master.schedule_desk import ScheduleDesk
from master.script_desk import ScriptDesk
from master.storage import Storage
from utils import VERSION, failpoint, getLogger
from wire.audit import GetAudit
from wire.callbacks import AddCallback, ChangeCallback, ListDeliveries
from wire.errors import Conflict, Forbidden, InvalidValue, NotEnrolled, Refused
from wire.host_groups import GetHostGroup, PutHostGroup
from wire.joining import AcceptHostname, AddJoinToken, RevokeAgent
from wire.keys import fingerprint
from wire.messages import (
    PROTOCOL,
    Done,
    Heartbeat,
    HeartbeatAnswer,
    Output,
    Poll,
    Register,
    Registered,
    Result,
)
from wire.people import (
    AddPerson,
    AddToken,
    ChangePassword,
    ChangePerson,
    GetDoors,
    ListPeople,
    ListTokens,
    LogIn,
    LogOutEverywhere,
    SetUp,
)
from wire.ping import Ping
from wire.plans import AddPlan, ListPlans, ResumePlan
from wire.queues import AddItems, GetResults, PutBack
from wire.requests import (
    AddTask,
    ById,
    Changes,
    ChangeTask,
    GetGrid,
    GetGroups,
    GetOutput,
    GetTargets,
    GetTaskTargets,
    JustAuth,
    ListAgents,
    ListRuns,
    ListRunsOfAgent,
    ListTasks,
    RegisterWeb,
    RetryTask,
    SetLabels,
    WebRegistered,
)
from wire.schedules import (
    AddSchedule,
    ChangeSchedule,
    GetTimeline,
    ListFirings,
    ListSchedules,
    PreviewSchedule,
    RunSchedule,
)
from wire.scripts import AddScript, AddVersion, ChangeScript, ChangeVersion, GetScript, ListScripts
from wire.server import LATER, Call, Later, Method
from wire.states import Standing

log = getLogger(__name__)

T = TypeVar("T")

ONLY_AGENT = frozenset({AGENT})
MOST_HELD = 4_096  # runs in one poll; an agent has at most 1,024 slots


class ConnectionManager:
    """Sessions of agents, and one short method a message."""

    def __init__(
        self,
        storage: Storage,
        roster: Roster,
        dispatcher: Dispatcher,
        desk: Desk,
        board: Board,
        admission: Admission,
        accounts: Accounts,
        groups: GroupDesk,
        scripts: ScriptDesk,
        gate: Gate,
        clock: Callable[[], float],
        schedules: ScheduleDesk,
        plans: PlanDesk,
        callbacks: CallbackDesk,
        pinger: Pinger,
        queues: QueueDesk,
    ):
        self._storage = storage
        self._roster = roster
        self._dispatcher = dispatcher
        self._desk = desk
        self._board = board
        self._admission = admission
        self._accounts = accounts
        self._groups = groups
        self._scripts = scripts
        self._clock = clock
        self._foreign = Foreign()
        self._names_for_people: frozenset[str] = frozenset()
        self.refusals = Refusals(storage.note, clock)
        reception = Reception(gate, self.refusals, roster.is_web)
        self._asked = reception.looking
        self._changing = reception.changing
        self._schedules = schedules
        self._plans = plans
        self._callbacks = callbacks
        self._pinger = pinger
        self._queues = queues

    def methods(self) -> dict[str, Method[Any] | dict[str, Method[Any]]]:
        """The whole surface: what is not here can't be called."""
        register = Method(frozenset({STRANGER, AGENT, REFUSED}), Register, self.register)
        for_people = {
            **self._for_people(),
            **self._of_schedules(),
            **self._of_plans(),
            **self._of_callbacks(),
            **self._of_queues(),
        }
        self._names_for_people = frozenset(for_people)
        return {
            "sendmsg": {
                "register": register,
                "reg": register,
                "register_web": Method(frozenset({STRANGER, WEB}), RegisterWeb, self.register_web),
                "heartbeat": Method(ONLY_AGENT, Heartbeat, self.heartbeat),
                "output": Method(ONLY_AGENT, Output, self.output),
                "result": Method(ONLY_AGENT, Result, self.result),
                "done": Method(ONLY_AGENT, Done, self.done),
            },
            "take_task": Method(ONLY_AGENT, Poll, self.take_task),
            **for_people,
        }

    def _for_people(self) -> dict[str, Method[Any]]:
        """Methods of the web, each with the least role of the person behind the call."""
        desk, board = self._desk, self._board
        return {
            "get_status": self._asked(JustAuth, "viewer", board.get_status),
            "get_agents": self._asked(ListAgents, "viewer", board.get_agents),
            "get_agent": self._asked(ById, "viewer", board.get_agent),
            "get_runs_of_agent": self._asked(ListRunsOfAgent, "viewer", board.get_runs_of_agent),
            "get_targets": self._asked(GetTargets, "viewer", desk.get_targets),
            "get_task_targets": self._asked(GetTaskTargets, "viewer", desk.get_task_targets),
            "get_tasks": self._asked(ListTasks, "viewer", board.get_tasks),
            "get_task": self._asked(ById, "viewer", desk.get_task),
            "get_groups": self._asked(GetGroups, "viewer", board.get_groups),
            "get_grid": self._asked(GetGrid, "viewer", board.get_grid),
            "get_runs": self._asked(ListRuns, "viewer", board.get_runs),
            "get_run": self._asked(ById, "viewer", desk.get_run),
            "get_output": self._asked(GetOutput, "viewer", board.get_output),
            "changes": self._asked(Changes, "viewer", desk.changes),
            "get_audit": self._asked(GetAudit, "admin", board.get_audit),
            "add_task": self._changing(AddTask, "operator", "task.submit", desk.add_task),
            "retry_task": self._changing(RetryTask, "operator", "task.retry", desk.retry_task),
            "cancel_task": self._changing(ById, "operator", "task.cancel", desk.cancel_task),
            "pause_task": self._changing(ById, "operator", "task.pause", desk.pause_task),
            "resume_task": self._changing(ById, "operator", "task.resume", desk.resume_task),
            "change_task": self._changing(ChangeTask, "operator", "task.change", desk.change_task),
            "cancel_run": self._changing(ById, "operator", "run.cancel", desk.cancel_run),
            "set_labels": self._changing(
                SetLabels, "admin", "agent.labels", desk.set_labels, of=_labelled
            ),
            "release_handouts": self._changing(
                JustAuth, "admin", "handouts.release", desk.release_handouts
            ),
            **self._for_hosts(),
            **self._for_accounts(),
            **self._for_groups(),
            **self._for_scripts(),
        }

    def _for_hosts(self) -> dict[str, Method[Any]]:
        """Which hosts are there, which are let in, and which are sent away."""
        admission = self._admission
        return {
            "ping_agents": self._asked(Ping, "operator", self._pinger.ping_agents),
            "accept_agent": self._changing(ById, "admin", "agent.accept", admission.accept_agent),
            "refuse_agent": self._changing(ById, "admin", "agent.refuse", admission.refuse_agent),
            "revoke_agent": self._changing(
                RevokeAgent, "admin", "agent.revoke", admission.revoke_agent
            ),
            "delete_agent": self._changing(ById, "admin", "agent.delete", admission.delete_agent),
            "reenrol_agent": self._changing(
                ById, "admin", "agent.re-enrol", admission.reenrol_agent
            ),
            "accept_hostname": self._changing(
                AcceptHostname, "admin", "agent.rename", admission.accept_hostname
            ),
            "get_join_tokens": self._asked(JustAuth, "admin", admission.get_join_tokens),
            "add_join_token": self._changing(
                AddJoinToken, "admin", "join_token.add", admission.add_join_token
            ),
            "remove_join_token": self._changing(
                ById, "admin", "join_token.remove", admission.remove_join_token
            ),
        }

    def _for_groups(self) -> dict[str, Method[Any]]:
        """Saved groups of hosts; those that limit people are for admins, see master/host_groups."""
        groups = self._groups
        return {
            "get_host_groups": self._asked(JustAuth, "viewer", groups.get_host_groups),
            "get_host_group": self._asked(GetHostGroup, "viewer", groups.get_host_group),
            "add_host_group": self._changing(
                PutHostGroup, "operator", "group.add", groups.add_host_group, of=_group
            ),
            "change_host_group": self._changing(
                PutHostGroup, "operator", "group.change", groups.change_host_group, of=_group
            ),
            "remove_host_group": self._changing(
                GetHostGroup,
                "operator",
                "group.remove",
                groups.remove_host_group,
                of=lambda asked: f"group:{asked.name}",
            ),
        }

    def _for_scripts(self) -> dict[str, Method[Any]]:
        """Saved scripts and their versions."""
        scripts = self._scripts
        return {
            "get_scripts": self._asked(ListScripts, "viewer", scripts.get_scripts),
            "get_script": self._asked(GetScript, "viewer", scripts.get_script),
            "get_script_version": self._asked(GetScript, "viewer", scripts.get_script_version),
            "add_script": self._changing(
                AddScript,
                "operator",
                "script.add",
                scripts.add_script,
                of=lambda asked: f"script:{asked.script.name}",
            ),
            "add_script_version": self._changing(
                AddVersion, "operator", "script.version", scripts.add_script_version, of=_script
            ),
            "change_script": self._changing(
                ChangeScript, "operator", "script.change", scripts.change_script, of=_script
            ),
            "change_script_version": self._changing(
                ChangeVersion,
                "operator",
                "script.state",
                scripts.change_script_version,
                of=_script,
            ),
        }

    def _for_accounts(self) -> dict[str, Method[Any]]:
        """People, their sessions and tokens; ANYONE: who has no credential yet may call it."""
        accounts = self._accounts
        return {
            "get_doors": self._asked(GetDoors, ANYONE, accounts.get_doors),
            "log_in": self._changing(LogIn, ANYONE, "session.start", accounts.log_in),
            "set_up": self._changing(SetUp, ANYONE, "session.set_up", accounts.set_up),
            "log_in_by_token": self._changing(
                JustAuth, "viewer", "session.start", accounts.log_in_by_token
            ),
            "whoami": self._asked(JustAuth, "viewer", accounts.whoami),
            "log_out": self._changing(JustAuth, "viewer", "session.end", accounts.log_out),
            "log_out_everywhere": self._changing(
                LogOutEverywhere, "viewer", "session.end_all", accounts.log_out_everywhere
            ),
            "change_password": self._changing(
                ChangePassword, "viewer", "person.password", accounts.change_password
            ),
            "get_sessions": self._asked(JustAuth, "viewer", accounts.get_sessions),
            "end_session": self._changing(ById, "viewer", "session.end", accounts.end_session),
            "get_tokens": self._asked(ListTokens, "viewer", accounts.get_tokens),
            "add_token": self._changing(AddToken, "viewer", "token.add", accounts.add_token),
            "revoke_token": self._changing(ById, "viewer", "token.revoke", accounts.revoke_token),
            "get_people": self._asked(ListPeople, "admin", accounts.get_people),
            "get_person": self._asked(ById, "admin", accounts.get_person),
            "add_person": self._changing(AddPerson, "admin", "person.add", accounts.add_person),
            "change_person": self._changing(
                ChangePerson, "admin", "person.change", accounts.change_person
            ),
            "remove_person": self._changing(ById, "admin", "person.remove", accounts.remove_person),
        }

    def _of_schedules(self) -> dict[str, Method[Any]]:
        desk = self._schedules
        return {
            "get_schedules": self._asked(ListSchedules, "viewer", desk.get_schedules),
            "get_schedule": self._asked(ById, "viewer", desk.get_schedule),
            "get_firings": self._asked(ListFirings, "viewer", desk.get_firings),
            "get_timeline": self._asked(GetTimeline, "viewer", desk.get_timeline),
            "preview_schedule": self._asked(PreviewSchedule, "viewer", desk.preview_schedule),
            "add_schedule": self._changing(
                AddSchedule, "operator", "schedule.add", desk.add_schedule
            ),
            "change_schedule": self._changing(
                ChangeSchedule, "operator", "schedule.change", desk.change_schedule
            ),
            "pause_schedule": self._changing(
                ById, "operator", "schedule.pause", desk.pause_schedule
            ),
            "resume_schedule": self._changing(
                ById, "operator", "schedule.resume", desk.resume_schedule
            ),
            "remove_schedule": self._changing(
                ById, "operator", "schedule.delete", desk.remove_schedule
            ),
            "run_schedule": self._changing(
                RunSchedule, "operator", "schedule.run", desk.run_schedule
            ),
        }

    def _of_plans(self) -> dict[str, Method[Any]]:
        desk = self._plans
        return {
            "get_plans": self._asked(ListPlans, "viewer", desk.get_plans),
            "get_plan": self._asked(ById, "viewer", desk.get_plan),
            "get_plan_spec": self._asked(ById, "viewer", desk.get_plan_spec),
            "add_plan": self._changing(AddPlan, "operator", "plan.submit", desk.add_plan),
            "cancel_plan": self._changing(ById, "operator", "plan.cancel", desk.cancel_plan),
            "resume_plan": self._changing(ResumePlan, "operator", "plan.resume", desk.resume_plan),
        }

    def _of_queues(self) -> dict[str, Method[Any]]:
        desk = self._queues
        return {
            "get_results": self._asked(GetResults, "viewer", desk.get_results),
            "get_attempts": self._asked(ById, "viewer", desk.get_attempts),
            "add_items": self._changing(AddItems, "operator", "queue.add_items", desk.add_items),
            "close_queue": self._changing(ById, "operator", "queue.close", desk.close_queue),
            "put_back": self._changing(PutBack, "operator", "queue.put_back", desk.put_back),
        }

    def _of_callbacks(self) -> dict[str, Method[Any]]:
        """Operators see which there are, so that a task can name some; the rest is for admins."""
        desk = self._callbacks
        return {
            "get_callbacks": self._asked(JustAuth, "operator", desk.get_callbacks),
            "get_callback": self._asked(ById, "operator", desk.get_callback),
            "get_deliveries": self._asked(ListDeliveries, "admin", desk.get_deliveries),
            "get_delivery": self._asked(ById, "admin", desk.get_delivery),
            "add_callback": self._changing(
                AddCallback,
                "admin",
                "callback.add",
                desk.add_callback,
                of=lambda asked: f"callback:{asked.callback.name}",
            ),
            "change_callback": self._changing(
                ChangeCallback, "admin", "callback.change", desk.change_callback
            ),
            "remove_callback": self._changing(
                ById, "admin", "callback.remove", desk.remove_callback
            ),
            "test_callback": self._changing(ById, "admin", "callback.test", desk.test_callback),
            "resend_delivery": self._changing(
                ById, "admin", "delivery.resend", desk.resend_delivery
            ),
        }

    def overreached(self, call: Call) -> None:
        """A host has called what is for people, as no agent does by itself: a key may be stolen."""
        caller = call.caller
        if caller.id and call.method in self._names_for_people:
            act = audit.of_agent(caller.id, "agent.overreach", caller.address)
            self.refusals.note(act, f"method:{call.method}", Forbidden())

    # ---- strangers

    def register(self, call: Call, message: Register) -> Later:
        """An agent says who it is; a key that is not known needs a join token."""
        self._foreign.note(call.caller.key, message.protocol, f"agent {message.hostname[:80]!r}")
        check_register(message)
        act = audit.of_agent(message.id, "agent.enrol", call.caller.address)
        verb = self._storage.enrol(call.caller.key, message, act)
        refused = partial(self._not_enrolled, act, f"agent:{message.id}")
        _reply(call, verb, partial(self._registered, call, message), refused)
        return LATER

    def _not_enrolled(self, act: Act, object: str, error: BaseException) -> None:
        """What a known agent is told again and again is no attempt to enrol."""
        if isinstance(error, NotEnrolled | Conflict):
            self.refusals.note(act, object, error)

    def _registered(self, call: Call, message: Register, enrolled: Enrolled) -> Registered:
        agent = enrolled.agent
        if enrolled.rekeyed:
            self._dispatcher.refuse(agent.id, NotEnrolled(f"agent {agent.id} has a new key"))
            self._roster.rekeyed(agent)
        self._dispatcher.drop(agent.id)
        known = agent.id in self._roster
        session = self._roster.registered(agent, self._clock(), message.nonce, message.queues)
        self._dispatcher.queues.came(agent.id)
        self._dispatcher.apply(enrolled.changed)
        who = f"agent {agent.id} ({agent.hostname})"
        if agent.standing is Standing.PENDING and not known:
            log.warning(f"{who} waits to be accepted, see /hosts or POST …/agents/ID/accept")
        elif agent.standing is Standing.QUARANTINED:
            log.error(f"{who} is quarantined: {agent.reason}")
        if agent.standing is not Standing.ENROLLED:
            raise refusal_of(agent)
        if agent.claimed_hostname is not None:
            log.warning(f"{who} calls itself {agent.claimed_hostname}: only its id names it now")
        what = "enrolled" if enrolled.created else "registered"
        if enrolled.rekeyed:
            what = "has a new key and registered"
        log.info(f"{who} {what} with version {message.version}")
        return Registered(session, self._roster.heartbeat_s, POLL_S, VERSION, PROTOCOL)

    def register_web(self, call: Call, message: RegisterWeb) -> WebRegistered | Later:
        """A web server says who it is; a key that is not known needs a join token."""
        self._foreign.note(call.caller.key, message.protocol, "a web server")
        check_protocol(message.protocol)
        if call.caller.role == WEB:
            return WebRegistered(VERSION, PROTOCOL)
        act = Act("", "nobody", "web.enrol", address=call.caller.address)
        verb = self._storage.webs.enrol(call.caller.key, message.token, act)
        _reply(
            call,
            verb,
            partial(self._web_registered, call.caller.address),
            partial(self._not_enrolled, act, f"web:{fingerprint(call.caller.key)}"),
        )
        return LATER

    def _web_registered(self, address: str, peer: Peer) -> WebRegistered:
        self._roster.add_web(peer.key)
        log.info(f"a web server enrolled from {address}, its key {fingerprint(peer.key)}")
        return WebRegistered(VERSION, PROTOCOL)

    def refuse_webs(self, keys: list[str]) -> None:
        """Web servers whose keys were revoked beside this master: their calls are a stranger's."""
        for key in keys:
            self._roster.forget_web(key)
            log.warning(f"web server {fingerprint(key)} is refused from now on: it was revoked")

    # ---- agents; whom they are is their key's business, never the payload's

    def heartbeat(self, call: Call, message: Heartbeat) -> HeartbeatAnswer:
        presence = self._speaks(call, message.session)
        check_claims(message.hostname, message.ip)
        skew_s = self._roster.beat(message, presence, time.time())
        return HeartbeatAnswer(self._roster.heartbeat_s, skew_s)

    def take_task(self, call: Call, message: Poll) -> Later:
        """Parks; answered at once when there are grants or words, or empty after POLL_S."""
        if len(message.held) > MOST_HELD:
            raise InvalidValue(f"held: {len(message.held)} runs; at most {MOST_HELD}", field="held")
        self._speaks(call, message.session)
        self._dispatcher.park(call.caller.id, call, message)
        return LATER

    def result(self, call: Call, message: Result) -> Later:
        """Acknowledged once the verdict is durable; repeating it changes nothing."""
        self._speaks(call, message.session)
        verb = self._storage.finish(call.caller.id, message)
        _reply(call, verb, self._finished)
        return LATER

    def _finished(self, finished: Finished) -> Struct:
        failpoint("finished")
        self._dispatcher.apply(finished.changed)
        return finished.answer

    def output(self, call: Call, message: Output) -> Later:
        self._speaks(call, message.session)
        verb = self._storage.append_output(call.caller.id, message)
        _reply(call, verb, self._appended)
        return LATER

    def _appended(self, appended: Appended) -> Struct:
        if appended.grown and appended.record is not None:
            self._dispatcher.grew(appended.record)
        return appended.answer

    def done(self, call: Call, message: Done) -> Later:
        self._speaks(call, message.session)
        verb = self._storage.settle_done(call.caller.id, message)
        _reply(call, verb, self._settled)
        return LATER

    def _settled(self, changed: Changed) -> dict[str, Any]:
        self._dispatcher.apply(changed)
        return {}

    def _speaks(self, call: Call, session: str) -> Presence:
        id = call.caller.id
        try:
            presence = self._roster.speaks(id, session, self._clock())
        except Cloned:
            self._quarantine(id, "two hosts speak with its key in turn: its identity was copied")
            raise Refused(f"agent {id} is quarantined; an admin can re-enrol it") from None
        self._pinger.heard(id)
        return presence

    def _quarantine(self, id: str, reason: str) -> None:
        """At once in memory, so that nothing more is answered; then in the store."""
        log.error(f"agent {id} is quarantined: {reason}")

        def quarantine() -> None:
            self._roster.set_standing(id, Standing.QUARANTINED, reason)
            self._dispatcher.refuse(id, Refused(f"agent {id} is quarantined"))

        def done(outcome: Changed | BaseException) -> None:
            if isinstance(outcome, BaseException):
                log.error(f"agent {id} could not be quarantined in the store: {outcome}")
                return
            quarantine()  # again: it may have registered meanwhile
            self._dispatcher.apply(outcome)

        quarantine()
        act = audit.of_system("agent.quarantine")
        self._storage.bury_agent(id, Standing.QUARANTINED, reason, act).then(done)


def _script(asked: AddVersion | ChangeScript | ChangeVersion) -> str:
    return f"script:{asked.name}"


def _group(asked: PutHostGroup) -> str:
    return f"group:{asked.group.name}"


def _labelled(asked: SetLabels) -> str:
    return f"agent:{next(iter(asked.labels))}" if len(asked.labels) == 1 else ""


def _reply(
    call: Call,
    verb: Verb[T],
    convert: Callable[[T], Struct | dict[str, Any]],
    refused: Callable[[BaseException], None] | None = None,
) -> None:
    """Answer the call when the verb is committed; if it is not, also tell `refused`."""

    def done(outcome: T | BaseException) -> None:
        if isinstance(outcome, BaseException):
            call.fail(outcome)
            if refused is not None:
                refused(outcome)
            return
        try:
            call.ok(convert(outcome))
        except Exception as error:
            call.fail(error)

    verb.then(done)
