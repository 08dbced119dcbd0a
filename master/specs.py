"""What is an agent told of a task? Its script and how to run it; made once for all its runs."""

import base64
from collections import OrderedDict

from msgspec.structs import replace

from master.records import Task
from master.rows import TaskRow
from master.sealing import values_of
from master.secrets import Vault
from master.transaction import Tx
from utils import getLogger
from wire.errors import SecretsUnreadable
from wire.messages import TaskSpec

log = getLogger(__name__)

ROOM_BYTES = 16 << 20  # of scripts that are remembered between transactions


class Specs:
    """Belongs to the writing thread. A task's script never changes, so nothing goes stale."""

    def __init__(self, room_bytes: int = ROOM_BYTES, vault: Vault | None = None):
        self._vault = vault
        self._room_bytes = room_bytes
        self._known: OrderedDict[str, TaskSpec] = OrderedDict()
        self._used_bytes = 0

    def of(self, tx: Tx, task: Task) -> TaskSpec:
        known = self._known.get(task.id)
        if known is not None:
            self._known.move_to_end(task.id)
            return known
        assert isinstance(task, TaskRow)
        row = tx.row("script", sha256=task.script)
        assert row is not None, f"the script of task {task.id} is gone"
        made = self._with_secrets(tx, task, _spec(task, row[0]))
        self._remember(made)
        return made

    def _remember(self, spec: TaskSpec) -> None:
        self._known[spec.id] = spec
        self._used_bytes += _size(spec)
        while self._used_bytes > self._room_bytes and len(self._known) > 1:
            _, oldest = self._known.popitem(last=False)
            self._used_bytes -= _size(oldest)

    def _with_secrets(self, tx: Tx, task: TaskRow, spec: TaskSpec) -> TaskSpec:
        """What cannot be opened fails each run with a reason; the others of a poll go out."""
        try:
            values = values_of(tx, task, self._vault)
        except SecretsUnreadable as error:
            log.error(f"task {task.id} cannot run: {error}")
            return replace(spec, broken=str(error))
        if not values:
            return spec
        return replace(spec, secrets=values.variables, secret_files=values.files)


def _size(spec: TaskSpec) -> int:
    values = [*spec.secrets.values(), *spec.secret_files.values()]
    return len(spec.script) + sum(map(len, values))


def _spec(task: TaskRow, script: bytes) -> TaskSpec:
    settings = task.settings
    return TaskSpec(
        id=task.id,
        script=base64.b64encode(script).decode(),
        name=task.name,
        args=settings.get("args", []),
        env=settings.get("env", {}),
        timeout=settings.get("timeout", 0.0),
        grace=settings.get("grace", 10.0),
        user=settings.get("user"),
        cwd=settings.get("cwd"),
    )
