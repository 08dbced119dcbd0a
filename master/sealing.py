"""Which secrets has a task, and how do they come into the store and out of it again?"""

from collections.abc import Iterable

from master import audit, callback_book
from master.audit import Act
from master.reader import Reader
from master.records import Task
from master.secrets import Sealed, Values, Vault, check_names
from master.transaction import Tx
from wire.errors import SecretsUnreadable

SETTINGS = ("secrets", "secret_files")  # of a task: the names alone


def names_of(task: Task) -> list[str]:
    return [name for setting in SETTINGS for name in task.settings.get(setting, ())]


def insert(tx: Tx, task: str, sealed: Iterable[Sealed]) -> None:
    for one in sealed:
        tx.execute(
            "insert_secret",
            task=task,
            name=one.name,
            kind=one.kind,
            key_id=one.key_id,
            content=one.content,
        )


def values_of(tx: Tx, task: Task, vault: Vault | None) -> Values:
    """Raises SecretsUnreadable. `vault` None: this process has no key."""
    names = names_of(task)
    if not names:
        return Values()
    if vault is None:
        raise SecretsUnreadable(f"there is no key for the secrets of task {task.id}")
    rows = tx.rows("secrets_of_task", task=task.id)
    values = vault.open(task.id, [Sealed(*row) for row in rows])
    check_names(task.id, names, values)
    return values


def reseal(tx: Tx, old: Task, new: str, vault: Vault | None) -> tuple[Sealed, ...]:
    """The secrets of a task for another one. Raises SecretsUnreadable."""
    values = values_of(tx, old, vault)
    return vault.seal(new, values) if vault is not None else ()


def other_key(reader: Reader, key_id: str) -> str | None:
    """The id of another key than this that something is sealed with."""
    row = reader.row("other_secret_key", key_id=key_id)
    return None if row is None else row[0]


def forget_other(tx: Tx, key_id: str, act: Act) -> int:
    """Give up what is sealed with another key than this; the number of values of tasks, and of
    plans, schedules and callbacks."""
    statements = ("delete_other_secrets", "forget_secrets_of_plans", "forget_secrets_of_schedules")
    secrets = sum(tx.execute(statement, key_id=key_id) for statement in statements)
    callbacks = callback_book.forget_sealed(tx, key_id)
    if secrets or callbacks:
        audit.append(tx, act, "", secrets=secrets, callbacks=callbacks)
    return secrets + callbacks
