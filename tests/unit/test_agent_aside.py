"""An identity that is not this host's is put aside; a new key is kept once it was taken."""

from pathlib import Path

import pytest

from agent.aside import leave_to_other_machine, new_identity, put_aside, remember_machine
from agent.identity import Host, Master, choose_master, keep_keys, load_identity
from utils import StartError
from wire.keys import Join, load_or_make_keys, make_keys, parse_join

HERE, THERE = Host("this machine", "boot"), Host("another machine", "boot")
MASTER = make_keys().public


@pytest.fixture
def state(tmp_path):
    """A state directory with an identity of HERE, a journal and a run."""
    load_identity(tmp_path)
    remember_machine(tmp_path, HERE)
    for name in ("journal", "runs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "something").write_text(name)
    return tmp_path


def names(directory):
    return {path.name for path in directory.iterdir()}


def rekeying(agent, token="secret"):
    return Master("master", 9000, MASTER, token, agent)


# ---- put aside


def test_it_keeps_what_is_its_own(state):
    before = names(state)
    leave_to_other_machine(state, HERE)
    assert names(state) == before


def test_it_leaves_nothing_of_another_machines_identity_and_deletes_nothing(state):
    identity = load_identity(state)
    leave_to_other_machine(state, THERE)
    (folder,) = (state / "aside").iterdir()
    assert names(state) == {"aside"}
    assert names(folder) == {"id", "keys", "machine", "journal", "runs"}
    assert (folder / "journal" / "something").read_text() == "journal"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert load_identity(state).id != identity.id


def test_an_identity_of_the_time_before_it_was_noted_is_taken_for_this_machines(state):
    (state / "machine").unlink()
    leave_to_other_machine(state, THERE)
    assert (state / "id").exists()


@pytest.mark.parametrize("gone", range(5))
def test_it_goes_on_where_a_crash_stopped_it(state, gone, monkeypatch):
    renamed: list[Path] = []

    def rename(old, new):
        if len(renamed) == gone:
            raise InterruptedError
        renamed.append(old)
        old.replace(new)

    identity = load_identity(state)
    with monkeypatch.context() as patched:
        patched.setattr("agent.aside.os.rename", rename)
        with pytest.raises(InterruptedError):
            leave_to_other_machine(state, THERE)
    leave_to_other_machine(state, THERE)
    assert load_identity(state).id != identity.id
    assert not {"journal", "runs"} & names(state)
    kept = [path for folder in (state / "aside").iterdir() for path in names(folder)]
    assert {"journal", "runs", "keys", "id"} <= set(kept)


def test_a_new_identity_is_made_twice_without_mixing_the_old_ones(state):
    for _ in range(2):
        load_identity(state)
        assert "lie in" in new_identity(state)
    assert len(names(state / "aside")) == 2
    assert "makes one" in new_identity(state)


def test_what_is_put_aside_stays_private(state):
    folder = put_aside(state)
    assert (folder / "keys").stat().st_mode & 0o777 == 0o600


# ---- new keys


def test_a_new_key_is_tried_before_the_old_one_goes(state):
    old = load_identity(state)
    new = load_identity(state, rekeying(old.id))
    assert (new.id, new.on_trial) == (old.id, True)
    assert new.keys != old.keys
    assert load_identity(state).keys == old.keys  # started without the join string
    assert load_identity(state, rekeying(old.id)).keys == new.keys  # started again with it

    keep_keys(state, new)

    assert load_identity(state).keys == new.keys
    again = load_identity(state, rekeying(old.id))
    assert (again.keys, again.on_trial) == (new.keys, False)
    assert "keys.new" not in names(state)


def test_another_join_string_means_another_new_key(state):
    old = load_identity(state)
    first = load_identity(state, rekeying(old.id, "one"))
    second = load_identity(state, rekeying(old.id, "two"))
    assert first.keys != second.keys


def test_a_new_key_for_another_host_is_refused(state):
    with pytest.raises(StartError, match="use it on the host that it was made for"):
        load_identity(state, rekeying("f" * 32))


def test_a_host_that_was_installed_anew_takes_its_old_id(tmp_path):
    identity = load_identity(tmp_path, rekeying("f" * 32))
    keep_keys(tmp_path, identity)
    assert load_identity(tmp_path).id == "f" * 32
    assert load_or_make_keys(tmp_path / "keys") == identity.keys


def test_a_join_string_says_for_which_agent_it_is(tmp_path):
    join = Join("master", 9000, MASTER, "secret", "f" * 32)
    assert parse_join(str(join)) == join
    assert choose_master(tmp_path, str(join)).agent == "f" * 32
    with pytest.raises(ValueError, match="not an id"):
        parse_join(str(join).replace("f" * 32, "nonsense"))
