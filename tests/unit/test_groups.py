"""Which runs came to the same."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from master.groups import MAX_NODESET_CHARACTERS, Outcome, cut, grouped
from wire.states import ENDED_RUN, RunState

SHA = "a" * 64


def make_outcome(seq: int = 0, **fields: Any) -> Outcome:
    given: dict[str, Any] = {
        "seq": seq,
        "id": f"r{seq}",
        "hostname": f"web{seq}",
        "state": RunState.SUCCEED,
        "code": 0,
        "output_sha256": SHA,
        "output_bytes": 6,
        "reason": "",
    }
    return Outcome(**(given | fields))


def sizes(outcomes: list[Outcome]) -> list[int]:
    return [len(members) for _, members in grouped(outcomes)]


def test_it_keeps_apart_what_differs_in_state_code_or_output() -> None:
    outcomes = [
        make_outcome(0),
        make_outcome(1),
        make_outcome(2, output_sha256="b" * 64),
        make_outcome(3, state=RunState.FAILED),
        make_outcome(4, state=RunState.FAILED, code=1),
    ]
    assert sizes(outcomes) == [2, 1, 1, 1]


def test_it_puts_the_largest_group_first_and_the_earliest_of_equals() -> None:
    outcomes = [make_outcome(n, code=code) for n, code in enumerate([7, 5, 5, 3, 3, 3, 9])]
    assert [key[1] for key, _ in grouped(outcomes)] == [3, 5, 7, 9]


def test_it_takes_runs_that_go_on_as_one_group_whatever_they_have_written() -> None:
    running = [
        make_outcome(n, state=RunState.RUNNING, code=None, output_sha256=None, output_bytes=n)
        for n in range(3)
    ]
    (((state, code, sha256, size), members),) = grouped(running)
    assert (state, code, sha256, size, len(members)) == (RunState.RUNNING, None, None, None, 3)


def test_it_claims_nothing_of_output_that_has_no_checksum() -> None:
    lost = [
        make_outcome(n, state=RunState.UNKNOWN, code=None, output_sha256=None, output_bytes=n)
        for n in range(3)
    ]
    (((_, _, sha256, size), members),) = grouped(lost)
    assert (sha256, size, len(members)) == (None, None, 3)


outcomes = st.lists(
    st.builds(
        make_outcome,
        seq=st.integers(0, 10_000),
        state=st.sampled_from(RunState),
        code=st.none() | st.integers(0, 2),
        output_sha256=st.none() | st.sampled_from([SHA, "b" * 64]),
        output_bytes=st.integers(0, 2),
    ),
    unique_by=lambda outcome: outcome.seq,
)


@given(outcomes)
def test_every_run_is_in_just_one_group_with_its_like(found: list[Outcome]) -> None:
    found.sort(key=lambda outcome: outcome.seq)
    groups = grouped(found)
    members = [member.seq for _, members in groups for member in members]
    assert sorted(members) == [outcome.seq for outcome in found]
    for (state, code, sha256, _), inside in groups:
        assert {member.state for member in inside} == {state}
        if state in ENDED_RUN:
            assert {member.code for member in inside} == {code}
            assert {member.output_sha256 for member in inside} == {sha256}
    assert [len(inside) for _, inside in groups] == sorted(map(len, dict(groups).values()))[::-1]


def test_a_nodeset_that_is_too_long_ends_at_a_comma_and_says_so() -> None:
    assert cut("web[01-20],db1") == "web[01-20],db1"
    many = ",".join(f"host-{n}-[1,3]" for n in range(1000))
    shortened = cut(many)
    assert len(shortened) <= MAX_NODESET_CHARACTERS + 2
    assert shortened.endswith("-[1,3],…")
    one = "web[" + ",".join(str(n) for n in range(0, 10_000, 2)) + "]"
    assert one.startswith(cut(one).removesuffix(",…") + ",")
    assert cut("x" * 3000) == "x" * MAX_NODESET_CHARACTERS + "…"
