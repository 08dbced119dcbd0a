"""What do people get of queues, beyond what all tasks have? Items in, results out, second chances.

Every method runs in a greenlet of its own, for a person that the gate has admitted. Uploads come
part by part; the log of acts has one record of each upload.
"""

from collections.abc import Callable

from master.audit import Act
from master.board import check_limit
from master.dispatch import Dispatcher
from master.rights import Person
from master.storage import Storage
from utils import getLogger
from wire.queues import AddItems, GetResults, ItemsAdded, PutBack, PutBackDone
from wire.requests import ById
from wire.views import Page, TaskView

log = getLogger(__name__)


class QueueDesk:
    """`check_reach(person, task)`: Forbidden for a limited operator whose hosts are others.
    `show(task)`: the view of it."""

    def __init__(
        self,
        storage: Storage,
        dispatcher: Dispatcher,
        check_reach: Callable[[Person, str], None],
        show: Callable[[str], TaskView],
    ):
        self._storage = storage
        self._dispatcher = dispatcher
        self._check_reach = check_reach
        self._show = show

    def add_items(self, person: Person, asked: AddItems, act: Act) -> ItemsAdded:
        """A part of an upload to an open queue. Durable when this returns; sent again, it counts
        once."""
        self._check_reach(person, asked.id)
        taken = self._storage.add_items(asked.id, asked.upload, asked.start, asked.items, act).wait(
            told=lambda taken: self._dispatcher.apply(taken.changed)
        )
        return taken.answer

    def close_queue(self, person: Person, asked: ById, act: Act) -> TaskView:
        """No more items come: the task ends with its last one. Repeating it changes nothing."""
        self._check_reach(person, asked.id)
        self._storage.close_queue(asked.id, act).wait(told=self._dispatcher.apply)
        log.info(f"queue {asked.id} closed by {person.name}")
        return self._show(asked.id)

    def put_back(self, person: Person, asked: PutBack, act: Act) -> PutBackDone:
        """Dead runs of a task that goes on have all their attempts again."""
        self._check_reach(person, asked.id)
        taken = self._storage.put_back(asked.id, asked.runs, act).wait(
            told=lambda taken: self._dispatcher.apply(taken.changed)
        )
        log.info(f"{taken.answer.count} runs of queue {asked.id} put back by {person.name}")
        return taken.answer

    def get_results(self, person: Person, asked: GetResults) -> Page:
        """What became of the items, in their order."""
        limit = check_limit(asked.limit)
        return self._storage.queue_results(
            asked.id, limit, asked.cursor, asked.states, output=asked.output
        ).wait()

    def get_attempts(self, person: Person, asked: ById) -> Page:
        """Attempts of a run that were not its last word, the first one first."""
        return Page(self._storage.attempts(asked.id).wait(), None)
