"""Secrets of what runs later: taken apart, put back where they were, opened nowhere else."""

import pytest

from master.kept_secrets import (
    Kept,
    check_values,
    from_row,
    of_plan,
    of_task,
    opened,
    put_back,
    put_back_plan,
    sealed,
)
from master.secrets import Vault
from wire.errors import InvalidValue, SecretsUnreadable
from wire.plans import PlanSpec, PlanStep
from wire.requests import Saved, Submission

VAULT = Vault(b"k" * 32)
TASK = Submission(script="true", secrets={"TOKEN": "s3cret"}, secret_files={"KEY": "-----BEGIN"})
SAVED = Submission(saved=Saved("ship", None, {"TO": "web", "TOKEN": "s3cret"}))
SPEC = PlanSpec(
    name="ship",
    steps=[PlanStep("a", [Submission(script="true"), TASK]), PlanStep("b", [SAVED], "ended")],
)


def secret_parameters(task: Submission) -> set[str]:
    return {"TOKEN"} if task.saved else set()


def test_it_leaves_the_names_and_puts_the_values_back():
    bare, kept = of_task(TASK, ())
    assert (bare.secrets, bare.secret_files) == ({"TOKEN": ""}, {"KEY": ""})
    assert put_back(bare, kept) == TASK
    bare, kept = of_task(SAVED, {"TOKEN"})
    assert bare.saved == Saved("ship", None, {"TO": "web", "TOKEN": ""})
    assert put_back(bare, kept) == SAVED


def test_it_does_so_for_each_task_of_a_plan():
    bare, places = of_plan(SPEC, secret_parameters)
    assert sorted(places) == ["0.1", "1.0"]
    assert "s3cret" not in repr(bare) + repr(places)
    assert put_back_plan(bare, places) == SPEC
    assert put_back_plan(bare, {}) == bare


def test_a_value_that_is_given_takes_the_place_of_the_one_that_is_kept():
    _, kept = of_task(TASK, ())
    given = Submission(script="true", secrets={"TOKEN": "another", "MORE": ""})
    assert put_back(given, kept).secrets == {"TOKEN": "another", "MORE": ""}


def test_parameters_stay_with_their_script():
    _, kept = of_task(SAVED, {"TOKEN"})
    other = Submission(saved=Saved("other", None, {"TOKEN": ""}))
    assert put_back(other, kept) == other
    left_out = Submission(saved=Saved("ship", None, {"TO": "db"}))
    whole = Saved("ship", None, {"TO": "db", "TOKEN": "s3cret"})
    assert put_back(left_out, kept).saved == whole


def test_it_opens_only_where_it_was_sealed_and_with_its_key():
    _, places = of_plan(SPEC, secret_parameters)
    found = sealed(VAULT, "plan p1", places)
    assert found is not None
    assert b"s3cret" not in found.content
    again = from_row((found.key_id, found.content))
    assert opened(VAULT, "plan p1", again) == places
    for vault, holder in ((VAULT, "plan p2"), (Vault(b"x" * 32), "plan p1")):
        with pytest.raises(SecretsUnreadable, match=holder):
            opened(vault, holder, again)


def test_it_seals_nothing_where_there_is_nothing():
    assert sealed(VAULT, "plan p1", {}) is None
    assert sealed(VAULT, "schedule s1", {"": Kept()}) is None
    assert opened(VAULT, "plan p1", from_row((None, None))) == {}


def test_it_names_the_secret_that_has_no_value():
    with pytest.raises(InvalidValue, match="KEY has no value") as caught:
        check_values(Submission(secret_files={"KEY": ""}))
    assert caught.value.field == "secret_files"
