"""Which agents an expression names, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.targets import Fleet, Host, Previews, digest_of, fold, groups_in
from wire.errors import InvalidValue

ENV = ("dev", "prod")


def make_fleet() -> Fleet:
    web = [
        Host(f"w{n:02}", f"web{n:02}", {"env": "prod" if n % 2 else "dev"}) for n in range(1, 21)
    ]
    db = [Host("d1", "db1", {"role": "db", "env": "prod"}), Host("d7", "db7", {"role": "db"})]
    twins = [Host("t1", "twin", {"env": "old"}), Host("t2", "twin", {"env": "old"})]
    return Fleet([*web, *db, *twins])


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("web01", "web01"),
        ("web[01-03],db1", "db1,web[01-03]"),
        ("web0?", "web[01-09]"),
        ("web1*!web1[2-9]", "web[10-11]"),
        ("@role:db!db7", "db1"),
        ("@env:prod&@role:db", "db1"),
        ("web[01-04]^web[03-06]", "web[01-02,05-06]"),
        (" web01 , db7 ", "db7,web01"),
        ("@role:*", "db[1,7]"),
        ("@env:nothing,db1", "db1"),
        ("nothing*,db1", "db1"),
        ("@env:old", "twin"),
        ("web01,web01", "web01"),
        ("t1,web02", "twin,web02"),
        ("@*&d1", "db1"),
    ],
)
def test_it_names_the_hosts(expression: str, names: str) -> None:
    fleet = make_fleet()
    ids = fleet.resolve(expression)
    assert fold(fleet.by_id[id].hostname for id in ids) == names


def test_it_names_every_host_by_a_star() -> None:
    assert set(make_fleet().resolve("@*")) == set(make_fleet().by_id)


def test_it_reads_operators_from_left_to_right() -> None:
    assert make_fleet().resolve("db1,web01!db1") == ["w01"]
    assert make_fleet().resolve("db1!db1,web01") == ["w01"]


def test_it_orders_hosts_as_people_count() -> None:
    fleet = Fleet([Host("b", "web10", {}), Host("a", "web9", {}), Host("c", "web1", {})])
    assert fleet.resolve("web*") == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("wbe01", "wbe01"),
        ("web[01-22]", "web21, web22"),
        ("web1", "no host named web1"),
        ("twin", "t1, t2"),
        ("tw*", "t1, t2"),
        ("web[01-", "bracket is not closed"),
        ("web01,,db1", "name is missing"),
        ("", "name is missing"),
        ("web01 db1", "white space"),
        ("web[1-5000000]", "100000"),
        ("x[1-1000]y[1-1000]", "100000"),
        ("web[9-1]", "not a range"),
        ("web[a-b]", "not a range"),
        ("web[1-2/0]", "not a range"),
        ("]", "can't be read"),
        ("@nosuchgroup", "no saved group"),
        ("web" * 2000, "4096"),
    ],
)
def test_it_says_what_is_wrong(expression: str, said: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        make_fleet().resolve(expression)
    assert said in caught.value.message
    assert caught.value.field == "targets"


@given(st.text(alphabet="web01[]-,!&^@*?: /9x\n", max_size=40))
def test_it_refuses_or_resolves_whatever_is_typed(expression: str) -> None:
    fleet = make_fleet()
    try:
        ids = fleet.resolve(expression)
    except InvalidValue:
        return
    assert set(ids) <= set(fleet.by_id)


def test_it_names_ids_that_are_not_there() -> None:
    with pytest.raises(InvalidValue, match="nope"):
        make_fleet().known_ids(["w01", "nope"])
    assert make_fleet().known_ids(["t1", "t2", "t1"]) == ["t1", "t2"]


@given(st.sets(st.from_regex(r"[a-c]{1,2}[0-9]{0,3}[a-c]?", fullmatch=True), max_size=30))
def test_a_folded_set_unfolds_to_the_same_names(names: set[str]) -> None:
    fleet = Fleet(Host(name, name, {}) for name in names)
    assert not names or set(fleet.resolve(fold(names))) == names


def test_a_changed_fleet_is_named_host_by_host() -> None:
    previews = Previews()
    digest = previews.remember(["w01", "w02"])
    names = {"w02": "web02", "w03": "web03"}
    said = previews.change_since(digest, ["w02", "w03"], names)
    assert "new: web03" in said
    assert "gone: w01" in said
    assert digest_of(["w02", "w01"]) == digest


# ---- saved groups


def fleet_with(**groups: str) -> Fleet:
    return Fleet([Host(f"w{n}", f"web{n:02}", {"env": "prod"}) for n in range(1, 6)], groups)


def test_a_saved_group_stands_for_its_expression():
    fleet = fleet_with(shop="web[01-03]", few="@shop!web02,@env:none")
    assert fleet.resolve("@few,web05") == ["w1", "w3", "w5"]
    assert fleet.resolve("@shop!@few") == ["w2"]


@pytest.mark.parametrize(
    ("groups", "expression", "said"),
    [
        ({}, "@shop", "there is no saved group @shop"),
        ({"shop": "web99"}, "@shop", "in @shop, there is no host named web99"),
        ({"a": "@b", "b": "web99"}, "@a", "in @a, in @b, there is no host named web99"),
        ({"a": "@b", "b": "@a"}, "@a", "there is no saved group @a"),
    ],
)
def test_it_says_in_which_group_a_name_is_missing(groups, expression, said):
    with pytest.raises(InvalidValue, match=said):
        fleet_with(**groups).resolve(expression)


def test_groups_that_double_at_each_level_are_resolved_once_each():
    groups = {f"g{n}": f"@g{n + 1}^@g{n + 1},@g{n + 1}" for n in range(60)} | {"g60": "web01"}
    assert fleet_with(**groups).resolve("@g0") == ["w1"]


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("web*,@shop!@env:prod", {"shop"}),
        ("@rack[1-2]&@*", {"rack1", "rack2"}),
        ("@*", set()),
        ("web[", set()),
    ],
)
def test_it_finds_the_groups_that_an_expression_names(expression, names):
    assert groups_in(expression) == names
