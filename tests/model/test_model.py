"""Is every promise kept, whatever is lost, repeated, killed or restored? Is each rule needed?

The first half searches every world within its budgets of faults with the real decisions. The
second half takes away one rule at a time, and the search must find what the rule prevents: a
rule whose absence is not noticed is either not needed or not tested.

MSCHEDULE_MODEL_SIZE=2 searches further, for minutes; the default is meant for every test run.
"""

import os

import pytest

from agent import decide
from master import handout, outcome
from tests.model.search import search
from tests.model.world import Budget, Setting

SIZE = int(os.environ.get("MSCHEDULE_MODEL_SIZE", "1"))

ONE = Setting()
TWO_IN_TURN = Setting(parallel=1, slots=2)
STOPS_AT_ONCE = Setting(slots=2, fail_count=0, on_limit="kill")

SEARCHES = {
    "messages": (1, ONE, Budget(lose=1, repeat=1, cancel=1)),
    "impatience": (1, ONE, Budget(impatient=1, repeat=1, cancel=1)),
    "connections": (1, ONE, Budget(repeat=1, reconnect=1, cancel=1)),
    "agent deaths": (1, ONE, Budget(kill_agent=2, reconnect=1)),
    "supervisor deaths": (1, ONE, Budget(kill_agent=1, kill_supervisor=1, cancel=1)),
    "power": (1, ONE, Budget(reboot=1, kill_agent=1, cancel=1)),
    "power and wire": (1, ONE, Budget(lose=1, repeat=1, reboot=1)),
    "lost journal": (1, ONE, Budget(lose=1, reboot=1, wipe=1)),
    "master": (1, ONE, Budget(lose=1, kill_master=1, silence=1, late=1, cancel=1)),
    "late host": (1, ONE, Budget(lose=1, kill_agent=1, late=1, silence=1)),
    "restore": (1, ONE, Budget(restore=1, kill_agent=1)),
    "restore and expiry": (1, ONE, Budget(restore=1, late=1, lose=1)),
    "restore and cancel": (1, ONE, Budget(restore=1, cancel=1, lose=1)),
    "short memory": (1, ONE, Budget(restore=1, forget=1, late=1)),
    "restore of two": (2, ONE, Budget(restore=1)),
    "two in turn": (2, TWO_IN_TURN, Budget(lose=1, kill_agent=1)),
    "limit": (2, STOPS_AT_ONCE, Budget(reboot=1, silence=1)),
}

# MSCHEDULE_MODEL_SIZE=2 searches these too: minutes each.
FURTHER = {
    "messages": (1, ONE, Budget(lose=2, repeat=2, cancel=1)),
    "impatience": (1, ONE, Budget(lose=1, repeat=1, impatient=1, cancel=1)),
    "connections": (1, ONE, Budget(repeat=1, reconnect=1, impatient=1, kill_agent=1)),
    "processes": (1, ONE, Budget(kill_agent=2, kill_supervisor=1, cancel=1)),
    "power": (1, ONE, Budget(lose=1, reboot=1, kill_agent=1, cancel=1)),
    "deaths": (1, ONE, Budget(kill_agent=1, kill_supervisor=1, reboot=1, cancel=1, silence=1)),
    "master and agent": (1, ONE, Budget(lose=1, kill_master=2, kill_agent=1, cancel=1, late=1)),
    "restore": (1, ONE, Budget(restore=1, kill_agent=1, late=1, cancel=1)),
    "restore and reconnect": (1, ONE, Budget(restore=1, repeat=1, reconnect=1)),
    "restore and reboot": (1, ONE, Budget(restore=1, reboot=1, silence=1, cancel=1)),
    "restore of two": (2, ONE, Budget(restore=1, kill_agent=1)),
    "restore, short memory": (2, Setting(slots=2), Budget(restore=1, forget=1)),
    "two in turn": (2, TWO_IN_TURN, Budget(lose=1, kill_agent=1, cancel=1)),
    "limit": (2, STOPS_AT_ONCE, Budget(reboot=1, silence=1, cancel=1)),
}


ALL = {
    **SEARCHES,
    **({f"{name}, further": row for name, row in FURTHER.items()} if SIZE > 1 else {}),
}


@pytest.mark.parametrize("name", ALL)
def test_it_keeps_every_promise(name):
    runs, setting, budget = ALL[name]

    outcome = search(budget, runs=runs, setting=setting)

    assert outcome.violation is None, outcome.told()


# ---- one rule less


def _found(monkeypatch, switches, budget, runs=1, setting=ONE):
    """Search with some predicates replaced; the violation that is found, for the test to judge."""
    for module, name, broken in switches:
        monkeypatch.setattr(module, name, broken)
    outcome = search(budget, runs=runs, setting=setting)
    print(outcome.told())  # pytest -s shows the shortest way to it
    assert outcome.violation is not None, "nothing was found: the rule is not needed"
    return outcome.violation


def test_it_needs_the_master_to_refuse_old_sessions(monkeypatch):
    """A poll that was queued across a restore says that nothing was handed out yet."""
    found = _found(
        monkeypatch,
        [(handout, "session_is_current", lambda session, current: True)],
        Budget(restore=1, impatient=1),
        runs=2,
    )

    assert "started twice" in found


def test_it_needs_the_agent_to_drop_answers_to_old_sessions(monkeypatch):
    found = _found(
        monkeypatch,
        [(decide, "of_session", lambda answered, session: True)],
        Budget(restore=1, reconnect=1),
        runs=2,
        setting=Setting(slots=2, one_by_one=True),
    )

    assert "started twice" in found


def test_it_needs_numbers_to_be_accepted_once(monkeypatch):
    found = _found(monkeypatch, [(decide, "is_new", lambda grant, hw: True)], Budget(repeat=1))

    assert "started twice" in found


def test_it_needs_lost_to_mean_a_higher_number(monkeypatch):
    """With `absent from the inventory` instead, what came and went is sent for ever."""
    found = _found(
        monkeypatch,
        [(handout, "lost", lambda run, hw: run.grant is not None)],
        Budget(lose=1, kill_agent=1, restore=1),
    )

    assert "never ends" in found


def test_it_needs_grants_to_be_made_for_one_instance(monkeypatch):
    found = _found(
        monkeypatch,
        [(handout, "made_for", lambda run, instance: True)],
        Budget(wipe=1),
    )

    assert "SKIPPED, and it was started" in found


def test_it_needs_to_notice_a_lost_journal(monkeypatch):
    found = _found(
        monkeypatch, [(handout, "journal_lost", lambda agent, poll: False)], Budget(wipe=1)
    )

    assert "never ends" in found or "stuck" in found


def test_it_needs_unwanted_hand_outs_to_be_void(monkeypatch):
    found = _found(
        monkeypatch,
        [(handout, "void_cause", lambda task, run, now: None)],
        Budget(cancel=1, kill_agent=1),
    )

    assert "born after its cancel" in found


def test_it_needs_an_agent_to_wait_for_go_after_a_restart(monkeypatch):
    def without_leave(entry, instance, boot_now, leave):
        return not entry.void and entry.instance == instance and boot_now < entry.start_by

    found = _found(
        monkeypatch,
        [(decide, "may_start", without_leave)],
        Budget(cancel=1, kill_agent=1),
    )

    assert "born after its cancel" in found


def test_it_needs_to_distrust_a_missing_mark_after_a_reboot(monkeypatch):
    found = _found(
        monkeypatch, [(decide, "mark_is_trusted", lambda entry, instance: True)], Budget(reboot=1)
    )

    assert "SKIPPED, and it was started" in found


def test_it_would_start_twice_if_neither_mark_nor_instance_counted(monkeypatch):
    found = _found(
        monkeypatch,
        [
            (decide, "mark_is_trusted", lambda entry, instance: True),
            (decide, "may_start", lambda entry, instance, boot_now, leave: not entry.void),
        ],
        Budget(reboot=1),
    )

    assert "started twice" in found


def test_it_needs_the_mark_to_say_that_nothing_started(monkeypatch):
    found = _found(
        monkeypatch,
        [(decide, "has_never_started", lambda *, made_void, mark: True)],
        Budget(cancel=1),
    )

    assert "is CANCELLED, and it lives" in found


def test_it_needs_to_hold_hand_outs_of_an_older_store(monkeypatch):
    found = _found(
        monkeypatch,
        [(handout, "store_is_older", lambda agent, poll: False)],
        Budget(restore=1),
        runs=2,
    )

    assert "started twice" in found


def test_it_needs_to_notice_a_done_list_that_is_too_short(monkeypatch):
    found = _found(
        monkeypatch,
        [(outcome, "too_short", lambda agent, done: False)],
        Budget(restore=1, forget=1),
    )

    assert "started twice" in found


def test_it_needs_the_guarded_counter(monkeypatch):
    found = _found(
        monkeypatch,
        [(handout, "has_place", lambda task: True)],
        Budget(),
        runs=2,
        setting=TWO_IN_TURN,
    )

    assert "2 runs are alive, 1 may be" in found
