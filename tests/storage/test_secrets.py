"""Secrets in the store: sealed, handed out, repeated, given up and forgotten with their task."""

import sqlite3
import stat

import pytest

from master.changes import Retry
from master.ids import new_id
from master.keyring import Keyring
from master.retention import BEGINNING, Keep
from master.secrets import Values
from master.storage import Storage
from tests.storage.cast import House, by
from utils import StartError
from wire.errors import SecretsUnreadable
from wire.states import RunState

SECRET, CONTENT = "correct-horse", "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\n"
VALUES = Values({"TOKEN": SECRET}, {"KEY": CONTENT})


def open_house(folder, clock):
    keyring = Keyring(folder / "secrets.key")
    path = folder / "store.sqlite"
    house = House(Storage(path, clock=clock, vault=keyring.vault), clock, path)
    return house, keyring


@pytest.fixture
def safe(tmp_path, clock):
    """A house with a key, which is settled."""
    house, keyring = open_house(tmp_path, clock)
    keyring.settle(house.store, forget=False)
    house.keyring = keyring
    yield house
    house.store.close()


def submit(house, agents, values=VALUES, **fields):
    id = new_id()
    settings = {"secrets": [*values.variables], "secret_files": [*values.files]}
    sealed = house.keyring.vault.seal(id, values)
    return house.submit(agents, id=id, secrets=sealed, settings=settings, **fields)


def handed_out(house, agent, **poll):
    (grant,) = house.poll(agent, **poll).grants
    return grant.task


def on_disk(house):
    return b"".join(path.read_bytes() for path in house.path.parent.glob("store.sqlite*"))


def reopen(house, clock):
    house.store.close()
    again, again.keyring = open_house(house.path.parent, clock)
    house.store = again.store
    return again


def retry(house, task, who="bob"):
    wanted = Retry(id=new_id(), task=task.id, states=(RunState.FAILED,), created_by=who)
    return house.store.retry_task(wanted, by(who)).wait().task


def test_it_hands_out_the_values_and_writes_none_of_them(safe):
    (web01,) = safe.enrol("web01")
    task = submit(safe, [web01])
    spec = handed_out(safe, web01)
    assert (spec.secrets, spec.secret_files) == (VALUES.variables, VALUES.files)
    assert SECRET.encode() not in on_disk(safe)
    assert b"MIIEvQIBADANBgkq" not in on_disk(safe)
    assert safe.task(task.id).settings == {"secrets": ["TOKEN"], "secret_files": ["KEY"]}


def test_it_hands_out_the_values_after_a_restart(safe, clock):
    (web01,) = safe.enrol("web01")
    submit(safe, [web01])
    again = reopen(safe, clock)
    again.keyring.settle(again.store, forget=False)
    assert handed_out(again, web01).secrets == VALUES.variables


def test_it_carries_them_on_to_a_retry_sealed_anew(safe):
    (web01,) = safe.enrol("web01")
    old = submit(safe, [web01])
    safe.finish(safe.run_one(web01), state=RunState.FAILED, code=1)
    new = retry(safe, old)
    assert handed_out(safe, web01, hw=1).secret_files == VALUES.files
    contents = safe.sql("SELECT content FROM secrets WHERE task IN (?, ?)", old.id, new.id)
    assert len(set(contents)) == 4


def test_it_forgets_them_with_their_task(safe, clock):
    (web01,) = safe.enrol("web01")
    submit(safe, [web01])
    safe.finish(safe.run_one(web01))
    clock.now += 100.0
    kept = submit(safe, [web01])
    safe.store.purge(Keep(age_s=50.0), BEGINNING, 1000).wait()
    assert safe.sql("SELECT DISTINCT task FROM secrets") == [(kept.id,)]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("UPDATE secrets SET content = zeroblob(40) WHERE name = 'TOKEN'", "is damaged"),
        ("DELETE FROM secrets WHERE name = 'KEY'", "secret KEY of task .* is no longer kept"),
    ],
)
def test_it_fails_the_run_with_a_reason_when_they_cannot_be_read(safe, clock, damage, said):
    (web01,) = safe.enrol("web01")
    old = submit(safe, [web01])
    safe.store.close()
    sql(safe, damage)
    again = reopen(safe, clock)
    with pytest.raises(SecretsUnreadable, match=said) as caught:
        again.finish(again.run_one(web01), state=RunState.FAILED, code=None)
        retry(again, old)
    assert SECRET not in str(caught.value)


def test_it_still_hands_out_other_tasks_beside_one_whose_secrets_are_damaged(safe, clock):
    (web01,) = safe.enrol("web01")
    broken = submit(safe, [web01])
    sound = safe.submit([web01])
    safe.store.close()
    sql(safe, "DELETE FROM secrets")
    again = reopen(safe, clock)
    grants = again.poll(web01, free=2).grants
    reasons = {grant.task.id: grant.task.broken for grant in grants}
    assert reasons[sound.id] is None
    assert "no longer kept" in (reasons[broken.id] or "")


def sql(house, statement):
    connection = sqlite3.connect(house.path)
    with connection:
        connection.execute(statement)
    connection.close()


# ---- the key


def test_it_makes_the_key_once_and_private(safe, clock):
    path = safe.path.parent / "secrets.key"
    before = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = reopen(safe, clock)
    again.keyring.settle(again.store, forget=False)
    assert path.read_text() == before


@pytest.mark.parametrize("fate", ["missing", "another"])
def test_it_does_not_start_without_the_key_that_is_needed(safe, clock, fate):
    submit(safe, safe.enrol("web01"))
    path = safe.path.parent / "secrets.key"
    mine = safe.keyring.vault.key_id
    path.unlink()
    if fate == "another":
        path.write_text("11" * 32)
        path.chmod(0o600)
    again = reopen(safe, clock)
    with pytest.raises(StartError, match=f"sealed with key {mine}.*--lost-secrets forget"):
        again.keyring.settle(again.store, forget=False)
    assert path.exists() == (fate == "another"), "nothing is made in its place"


def test_it_starts_without_a_key_that_nothing_was_sealed_with(safe, clock):
    (safe.path.parent / "secrets.key").unlink()
    again = reopen(safe, clock)
    again.keyring.settle(again.store, forget=False)
    assert (safe.path.parent / "secrets.key").exists()


def test_it_gives_lost_secrets_up_when_it_is_told_so(safe, clock):
    (web01,) = safe.enrol("web01")
    submit(safe, [web01])
    (safe.path.parent / "secrets.key").unlink()
    again = reopen(safe, clock)
    again.keyring.settle(again.store, forget=True)
    assert again.sql("SELECT COUNT(*) FROM secrets") == [(0,)]
    assert "no longer kept" in (handed_out(again, web01).broken or "")
    assert acts_of_forgetting(again) == [("master", "system", '{"secrets":2,"callbacks":0}')]
    again.keyring.settle(again.store, forget=True)
    assert len(acts_of_forgetting(again)) == 1  # the second time there was nothing to forget


def acts_of_forgetting(house):
    return house.sql("SELECT who, kind, detail FROM audit WHERE action = 'secrets.forget'")
