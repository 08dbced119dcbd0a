"""When is a wave over, and what then? The waves of a task, laid against the runs in the store."""

from master import waves
from master.records import Task
from master.transaction import Tx
from wire.states import ENDED_TASK


def rolled(tx: Tx, task: Task) -> Task:
    """The task as it is after all of its waves that are over; the same record if none is.

    A wave whose runs were all skipped or cancelled is over as it begins.
    """
    while is_between(tx, task):
        after = waves.after_wave(task, tx.now)
        if after == task:
            break
        task = after
    return task


def is_between(tx: Tx, task: Task) -> bool:
    """Has nothing that was released still to end, and are there runs that were not?"""
    if waves.is_whole(task) or task.running or task.state in ENDED_TASK:
        return False
    assert task.released is not None
    return not tx.waiting_below(task, task.released, 1)
