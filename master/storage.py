"""What can be done with what the master remembers? Domain verbs, each one transaction.

Every method returns a Verb that has not begun. `verb.wait()` blocks the calling
greenlet until it is committed and returns its result or raises; `verb.then(done)`
returns at once and calls `done(result or exception)` on the hub after the commit.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
import time

from master.changes import (
    Added,
    Appended,
    Changed,
    Credential,
    Enrolled,
    Finished,
    Hold,
    NewSecret,
    NewTask,
    Peer,
    PollAnswer,
    Seen,
)
from master.database import Database, Verb
from wire.messages import AgentView, Done, Output, OutputView, Page, Poll, Register, Result, RunView, TaskView
from wire.states import Standing

SKELETON = "the store is being written"


class Storage:
    """The store of one master. `clock` is the wall clock, so that tests can turn it."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time, readers: int = 2): ...

    def close(self) -> None: ...

    # ---- agents (write)

    def enrol(self, key: str, register: Register) -> Verb[Enrolled]:
        """A register message: a known key is updated, a new one needs `register.token`.

        Raises NotEnrolled, Refused (revoked, quarantined), Conflict (the id has another key).
        """
        raise NotImplementedError(SKELETON)

    def touch(self, seen: Mapping[str, Seen]) -> Verb[None]:
        """Write down when agents were last heard of; called every few seconds for all."""
        raise NotImplementedError(SKELETON)

    def bury_agent(self, agent: str, standing: Standing, reason: str) -> Verb[Changed]:
        """Revoke or quarantine: open runs become UNKNOWN, waiting ones SKIPPED, at once."""
        raise NotImplementedError(SKELETON)

    def set_labels(self, labels: Mapping[str, Mapping[str, str | None]]) -> Verb[list[str]]:
        """{agent: {label: value, or None to remove}}, all or nothing; NotFound names the unknown."""
        raise NotImplementedError(SKELETON)

    # ---- tasks (write)

    def add_task(self, new: NewTask) -> Verb[Added]:
        """Raises Conflict when the idempotency key was used with another body."""
        raise NotImplementedError(SKELETON)

    def cancel_task(self, task: str, by: str) -> Verb[Changed]:
        """Repeating it changes nothing. NotFound."""
        raise NotImplementedError(SKELETON)

    def cancel_run(self, run: str, by: str) -> Verb[Changed]:
        """Repeating it changes nothing. NotFound."""
        raise NotImplementedError(SKELETON)

    # ---- what agents say (write); an agent can only touch its own runs

    def poll(self, agent: str, poll: Poll) -> Verb[PollAnswer]:
        """Steps 1-6 of a poll: settle, grant again, words, then claims."""
        raise NotImplementedError(SKELETON)

    def finish(self, agent: str, result: Result) -> Verb[Finished]:
        raise NotImplementedError(SKELETON)

    def append_output(self, agent: str, output: Output) -> Verb[Appended]:
        raise NotImplementedError(SKELETON)

    def settle_done(self, agent: str, done: Done) -> Verb[Changed]:
        raise NotImplementedError(SKELETON)

    # ---- time (write), called by the master's sweep

    def expire(self) -> Verb[Changed]:
        raise NotImplementedError(SKELETON)

    def silence(self, listening_since: float, last_stall: float) -> Verb[Changed]:
        raise NotImplementedError(SKELETON)

    # ---- credentials (write)

    def make_token(self, role: str, label: str) -> Verb[NewSecret]:
        raise NotImplementedError(SKELETON)

    def revoke_token(self, id: str) -> Verb[None]:
        raise NotImplementedError(SKELETON)

    def make_join_token(
        self, role: str, label: str, *, labels: Mapping[str, str] | None = None, uses: int | None = None
    ) -> Verb[NewSecret]:
        """role is agent or web; `labels` go to the agents that enrol with it."""
        raise NotImplementedError(SKELETON)

    def add_peer(self, key: str, token: str) -> Verb[Peer]:
        """Enrol a web's key with a join token of role web; NotEnrolled if the token is not good."""
        raise NotImplementedError(SKELETON)

    # ---- hold of hand-outs (write)

    def hold(self, reason: str) -> Verb[Hold]:
        raise NotImplementedError(SKELETON)

    def release(self) -> Verb[None]:
        raise NotImplementedError(SKELETON)

    # ---- read side: reader threads, committed state only

    def peers(self) -> Verb[list[Peer]]:
        """All keys that may speak, for the role look-up at start; enrolments add to it."""
        raise NotImplementedError(SKELETON)

    def credentials(self) -> Verb[list[Credential]]:
        raise NotImplementedError(SKELETON)

    def token_role(self, token: str) -> Verb[Credential | None]:
        """None: no such token, or revoked."""
        raise NotImplementedError(SKELETON)

    def held(self) -> Verb[Hold | None]:
        raise NotImplementedError(SKELETON)

    def agents(self, limit: int, cursor: str | None = None) -> Verb[Page]:
        """Page of AgentView; `state`, `last_seen`, `clock_skew` are the store's, see `live`."""
        raise NotImplementedError(SKELETON)

    def agent(self, id: str) -> Verb[AgentView]:
        raise NotImplementedError(SKELETON)

    def tasks(self, limit: int, cursor: str | None = None, state: str | None = None) -> Verb[Page]:
        """Newest first."""
        raise NotImplementedError(SKELETON)

    def task(self, id: str, *, script: bool = False) -> Verb[TaskView]:
        raise NotImplementedError(SKELETON)

    def runs(
        self, task: str, limit: int, cursor: str | None = None, state: str | None = None
    ) -> Verb[Page]:
        raise NotImplementedError(SKELETON)

    def run(self, id: str) -> Verb[RunView]:
        raise NotImplementedError(SKELETON)

    def runs_by_id(self, ids: Sequence[str]) -> Verb[list[RunView]]:
        raise NotImplementedError(SKELETON)

    def output(self, run: str, offset: int, limit: int) -> Verb[OutputView]:
        raise NotImplementedError(SKELETON)

    def waiting(self, task: str, limit: int) -> Verb[list[tuple[str, str]]]:
        """(run, agent) of a task's waiting runs, in order: whom to wake when a place is free."""
        raise NotImplementedError(SKELETON)

    def active_tasks(self) -> Verb[list[str]]:
        raise NotImplementedError(SKELETON)
