"""Every order of losses, repeats, lapses and restarts, for one item and two hosts, through the
real decisions; and what happens when one of their rules is switched off."""

import pytest
from msgspec.structs import replace

from master import outcome, queue_retry
from master.handout import _Hand
from tests.model.queue_search import Faults, search
from wire.states import RunState


@pytest.mark.parametrize(
    "faults",
    [
        Faults(lapses=2),
        Faults(lapses=1, losses=1),
        Faults(lapses=1, repeats=1),
        Faults(boots=1),
    ],
)
def test_every_item_ends_once_and_no_two_attempts_hold_a_valid_lease(faults):
    found = search(faults)
    assert found.violation is None, found.told()
    assert found.worlds > 100


def switched_off(monkeypatch, place, name, rule, faults, words):
    monkeypatch.setattr(place, name, rule)
    found = search(faults)
    assert found.violation is not None and words in found.violation, found.told()


def test_without_the_fence_what_an_old_attempt_tells_frees_the_item_under_the_next(monkeypatch):
    def rule(run, agent, attempt):
        return True

    monkeypatch.setattr(outcome, "is_of_present", rule)
    real = outcome.finish

    def finish(task, run, result, now, queue=None):
        return real(task, run, replace(result, attempt=run.attempt), now, queue)

    switched_off(monkeypatch, outcome, "finish", finish, Faults(lapses=1), "valid lease")


def test_if_a_late_success_settled_what_the_next_works_on_it_would_work_on_what_has_ended(
    monkeypatch,
):
    def rule(run, said):
        return said is RunState.SUCCEED and run.state in (RunState.WAITING, RunState.RUNNING)

    switched_off(
        monkeypatch, outcome, "is_settled_late", rule, Faults(lapses=1), "has ended is worked on"
    )


def test_if_what_lapsed_unconfirmed_were_not_sent_as_void_it_would_stay_outstanding(monkeypatch):
    switched_off(
        monkeypatch,
        _Hand,
        "_send_void",
        lambda self, hw: None,
        Faults(lapses=1, losses=1),
        "stays outstanding",
    )


def test_without_the_cap_an_item_would_be_tried_for_ever(monkeypatch):
    real = queue_retry.may_wait_again

    def rule(task, queue, run, to, code, now):
        return real(task, queue, replace(run, tries=1), to, code, now)

    switched_off(
        monkeypatch, queue_retry, "may_wait_again", rule, Faults(), "more attempts than it may"
    )
