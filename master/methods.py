"""What may people ask of the master, through a web server? The table, each with the least role.

These calls are few, and may wait: each has a greenlet.
"""

from dataclasses import dataclass
from typing import Any

from master.accounts import Accounts
from master.admission import Admission
from master.board import Board
from master.callback_desk import CallbackDesk
from master.desk import Desk
from master.group_desk import GroupDesk
from master.ping import Pinger
from master.plan_desk import PlanDesk
from master.queue_desk import QueueDesk
from master.reception import Reception
from master.rights import ANYONE
from master.schedule_desk import ScheduleDesk
from master.script_desk import ScriptDesk
from wire.audit import GetAudit
from wire.callbacks import AddCallback, ChangeCallback, ListDeliveries
from wire.host_groups import GetHostGroup, PutHostGroup
from wire.joining import AcceptHostname, AddJoinToken, RevokeAgent
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
    RetryTask,
    SetLabels,
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
from wire.server import Method


@dataclass(frozen=True)
class Desks:
    """Who answers people."""

    desk: Desk
    board: Board
    admission: Admission
    accounts: Accounts
    groups: GroupDesk
    scripts: ScriptDesk
    schedules: ScheduleDesk
    plans: PlanDesk
    callbacks: CallbackDesk
    pinger: Pinger
    queues: QueueDesk


class Methods:
    """Which desk does what, for whom."""

    def __init__(self, desks: Desks, reception: Reception):
        self._desks = desks
        self._asked = reception.looking
        self._changing = reception.changing

    def all(self) -> dict[str, Method[Any]]:
        """By name; what is not here nobody behind a web server can do."""
        return {
            **self._of_tasks(),
            **self._for_hosts(),
            **self._for_accounts(),
            **self._for_groups(),
            **self._for_scripts(),
            **self._of_schedules(),
            **self._of_plans(),
            **self._of_callbacks(),
            **self._of_queues(),
        }

    def _of_tasks(self) -> dict[str, Method[Any]]:
        desk, board = self._desks.desk, self._desks.board
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
        }

    def _for_hosts(self) -> dict[str, Method[Any]]:
        """Which hosts are there, which are let in, and which are sent away."""
        admission = self._desks.admission
        return {
            "ping_agents": self._asked(Ping, "operator", self._desks.pinger.ping_agents),
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
        groups = self._desks.groups
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
        scripts = self._desks.scripts
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
        accounts = self._desks.accounts
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
        desk = self._desks.schedules
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
        desk = self._desks.plans
        return {
            "get_plans": self._asked(ListPlans, "viewer", desk.get_plans),
            "get_plan": self._asked(ById, "viewer", desk.get_plan),
            "get_plan_spec": self._asked(ById, "viewer", desk.get_plan_spec),
            "add_plan": self._changing(AddPlan, "operator", "plan.submit", desk.add_plan),
            "cancel_plan": self._changing(ById, "operator", "plan.cancel", desk.cancel_plan),
            "resume_plan": self._changing(ResumePlan, "operator", "plan.resume", desk.resume_plan),
        }

    def _of_queues(self) -> dict[str, Method[Any]]:
        desk = self._desks.queues
        return {
            "get_results": self._asked(GetResults, "viewer", desk.get_results),
            "get_attempts": self._asked(ById, "viewer", desk.get_attempts),
            "add_items": self._changing(AddItems, "operator", "queue.add_items", desk.add_items),
            "close_queue": self._changing(ById, "operator", "queue.close", desk.close_queue),
            "put_back": self._changing(PutBack, "operator", "queue.put_back", desk.put_back),
        }

    def _of_callbacks(self) -> dict[str, Method[Any]]:
        """Operators see which there are, so that a task can name some; the rest is for admins."""
        desk = self._desks.callbacks
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


def _script(asked: AddVersion | ChangeScript | ChangeVersion) -> str:
    return f"script:{asked.name}"


def _group(asked: PutHostGroup) -> str:
    return f"group:{asked.group.name}"


def _labelled(asked: SetLabels) -> str:
    return f"agent:{next(iter(asked.labels))}" if len(asked.labels) == 1 else ""
