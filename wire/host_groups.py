"""What do web and master say about saved groups: a name for an expression of hosts?"""

from msgspec import Struct

from wire.requests import Auth


class GetHostGroup(Struct):
    """get_host_group, remove_host_group."""

    auth: Auth
    name: str


class HostGroup(Struct, forbid_unknown_fields=True):
    """A group as people write it: `@name` stands for `hosts` in any expression."""

    name: str
    hosts: str  # an expression, such as web[01-20]!web07; it may name other groups
    note: str = ""


class PutHostGroup(Struct):
    """add_host_group, change_host_group. A change renames nothing: `name` says which one."""

    auth: Auth
    group: HostGroup


class Use(Struct):
    """Something whose hosts are chosen by way of a group. `kind`: group, person,
    schedule or plan."""

    kind: str
    name: str


class HostGroupView(Struct):
    """`problem`: why the group names no hosts now, in a sentence; None: it can be resolved.

    `count` and `nodeset` are what it names now; `used_by`, and `may_run` (may who asks run scripts
    on all of these hosts?), are None in lists.
    """

    name: str
    hosts: str
    note: str
    changed_by: str
    changed_at: str
    count: int
    nodeset: str
    problem: str | None = None
    used_by: list[Use] | None = None
    may_run: bool | None = None


class HostGroups(Struct):
    """get_host_groups: all of them, by name."""

    items: list[HostGroupView]
