"""Saved groups in the store: who uses them, who may change them, and no circles."""

import pytest

from tests.storage.cast import by
from wire.errors import Conflict, Forbidden, InvalidValue, NotFound
from wire.host_groups import HostGroup, Use


def save(house, name, hosts, **values):
    house.store.groups_of_hosts.add(HostGroup(name, hosts, **values), by("alice")).wait()


def change(house, name, hosts, *, admin=False):
    house.store.groups_of_hosts.change(HostGroup(name, hosts), by("bob"), admin=admin).wait()


def test_it_keeps_a_group_as_it_was_saved(house):
    save(house, "shop", "web*", note="front")
    group = house.store.groups_of_hosts.one("shop").wait()
    assert (group.hosts, group.note, group.changed_by) == ("web*", "front", "alice")
    change(house, "shop", "web01")
    assert [(one.hosts, one.changed_by) for one in house.store.groups_of_hosts.all().wait()] == [
        ("web01", "bob")
    ]


def test_it_refuses_a_name_that_is_taken(house):
    save(house, "shop", "web*")
    with pytest.raises(Conflict, match="already"):
        save(house, "shop", "db*")


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ("@none", "no saved group @none"),
        ("web[", "not closed"),
        ("web 01", "white space"),
        ("", "a name is missing"),
        ("@a", "@a of @a"),
        ("web[1-999999]", "100000"),
        ("x" * 5000, "4096 bytes"),
    ],
)
def test_it_refuses_what_cannot_be_meant(house, hosts, said):
    with pytest.raises(InvalidValue, match=said) as refused:
        save(house, "a", hosts)
    assert refused.value.field == "hosts"


def test_it_refuses_a_circle_and_says_which(house):
    save(house, "a", "web*")
    save(house, "b", "@a")
    save(house, "c", "@b,db1")
    with pytest.raises(InvalidValue, match="@a of @c of @b of @a"):
        change(house, "a", "web01,@c")


def test_it_says_who_uses_a_group_also_by_way_of_another(house):
    save(house, "a", "web*")
    save(house, "b", "@a!web07")
    house.store.people.add("Olga", "operator", "@b,db1", "hash", by()).wait()
    assert house.store.groups_of_hosts.uses("a").wait() == [
        Use("group", "b"),
        Use("person", "Olga"),
    ]
    assert house.store.groups_of_hosts.uses("b").wait() == [Use("person", "Olga")]


def test_a_group_that_is_used_is_not_removed(house):
    save(house, "a", "web*")
    save(house, "b", "@a")
    with pytest.raises(Conflict, match="used by group b"):
        house.store.groups_of_hosts.remove("a", by("alice"), admin=True).wait()
    house.store.groups_of_hosts.remove("b", by("alice"), admin=False).wait()
    house.store.groups_of_hosts.remove("a", by("alice"), admin=False).wait()
    with pytest.raises(NotFound):
        house.store.groups_of_hosts.remove("a", by("alice"), admin=False).wait()


def test_only_an_admin_changes_what_limits_people(house):
    save(house, "a", "web*")
    save(house, "b", "@a")
    house.store.people.add("Olga", "operator", "@b", "hash", by()).wait()
    with pytest.raises(Forbidden, match="Olga"):
        change(house, "a", "@*")
    change(house, "a", "@*", admin=True)
