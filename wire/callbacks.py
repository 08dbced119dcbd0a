"""What do web and master say about callbacks: who is told, of what, and how that went?"""

from typing import Any

from msgspec import UNSET, Struct, UnsetType, field

from wire.requests import Auth

KINDS = ("json", "slack", "teams", "dingtalk", "wecom", "feishu", "email")
EVENTS = (
    "task.started",
    "task.succeeded",
    "task.failed",
    "task.cancelled",
    "task.limit_exceeded",
    "task.wave_waiting",
    "schedule.missed",
    "schedule.skipped",
    "schedule.failed",
    "plan.succeeded",
    "plan.failed",
    "plan.cancelled",
)
TEST = "test"
ALL, CHOSEN, NAMED = "all", "chosen", "named"
TASKS = (ALL, CHOSEN, NAMED)
WAITING, DELIVERED, FAILED, DROPPED = "waiting", "delivered", "failed", "dropped"
STATES = (WAITING, DELIVERED, FAILED, DROPPED)


class CallbackWish(Struct, forbid_unknown_fields=True):
    """A callback as people write it; docs/api.md says what each field means.

    `tasks`: all; chosen, by `names` (with * and ?) and `schedules`; or named, only those that
    name this callback when they are submitted, which all of them may do.
    """

    name: str
    url: str
    kind: str = "json"
    secret: str = ""  # json: empty for a new one; email: the password
    events: list[str] = field(default_factory=lambda: list(EVENTS))
    tasks: str = ALL
    names: list[str] = []
    schedules: list[str] = []
    username: str = ""  # email
    sender: str = ""  # email
    recipients: list[str] = []  # email
    active: bool = True


class CallbackChanges(Struct, forbid_unknown_fields=True):
    """What is absent stays; so do URL and secret, which nobody can read again."""

    name: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    secret: str | UnsetType = UNSET
    events: list[str] | UnsetType = UNSET
    tasks: str | UnsetType = UNSET
    names: list[str] | UnsetType = UNSET
    schedules: list[str] | UnsetType = UNSET
    username: str | UnsetType = UNSET
    sender: str | UnsetType = UNSET
    recipients: list[str] | UnsetType = UNSET
    active: bool | UnsetType = UNSET


class AddCallback(Struct):
    auth: Auth
    callback: CallbackWish


class ChangeCallback(Struct):
    auth: Auth
    id: str
    changes: CallbackChanges


class ListDeliveries(Struct):
    """get_deliveries: of one callback, newest first."""

    auth: Auth
    callback: str
    state: str | None = None
    limit: int = 100
    cursor: str | None = None


class CallbackView(Struct):
    """`address`: of the URL what is no secret. `problem`: why the master has paused it.

    `old_secret_until`: the secret that was exchanged signs beside the new one until then.
    """

    id: str
    name: str
    kind: str
    address: str
    events: list[str]
    tasks: str
    names: list[str]
    schedules: list[str]
    username: str
    sender: str
    recipients: list[str]
    active: bool
    problem: str
    changed_by: str
    changed_at: str
    waiting: int  # deliveries that are still to be made
    old_secret_until: str | None = None


class Callbacks(Struct):
    """get_callbacks: all of them, by name."""

    items: list[CallbackView]


class KeptCallback(Struct):
    """add_callback, change_callback. `secret`: one that was made just now, shown this once."""

    callback: CallbackView
    secret: str | None = None


class TryView(Struct):
    """`status`: None where there was no answer; `error` empty: it was taken."""

    number: int
    at: str
    took_ms: float
    status: int | None
    error: str
    answer: str  # its first kilobyte


class DeliveryView(Struct):
    """One event for one callback. `id` is the webhook-id that the receiver sees, at each try.

    `log` and `payload` are None in lists.
    """

    id: str
    callback: str
    callback_name: str
    event: str
    object: str  # kind:id, such as task:ID
    state: str
    reason: str  # how the last try went wrong
    created_at: str
    tries: int
    next_at: str | None
    ended_at: str | None
    payload: dict[str, Any] | None = None
    log: list[TryView] | None = None
