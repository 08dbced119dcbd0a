"""What do web and master say about saved scripts: names with versions that never change?"""

from msgspec import UNSET, Struct, UnsetType

from wire.requests import Auth

DRAFT, ONLINE, DISABLED = VERSION_STATES = ("draft", "online", "disabled")
KINDS = ("text", "number", "choice", "hosts", "secret")


class Parameter(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A value that whoever runs the script gives; the script has it as the variable `name`.

    `kind` hosts: an expression, which reaches the script as hostnames with spaces between them.
    A secret has no default. `default` None: it must be given, unless `optional`.
    """

    name: str
    kind: str = "text"
    label: str = ""
    help: str = ""
    default: str | None = None
    optional: bool = False
    pattern: str | None = None  # of a text: a regular expression for all of it
    choices: list[str] = []


class NewVersion(Struct, forbid_unknown_fields=True):
    """`state` draft: only who names its number gets it; online: also who asks for the latest."""

    script: str
    parameters: list[Parameter] = []
    note: str = ""
    state: str = ONLINE


class NewScript(Struct, forbid_unknown_fields=True):
    name: str
    script: str
    description: str = ""
    parameters: list[Parameter] = []
    note: str = ""
    state: str = ONLINE


class ScriptChange(Struct, forbid_unknown_fields=True):
    """What is absent stays. `disabled`: nothing that refers to the script starts any more."""

    description: str | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class VersionChange(Struct, forbid_unknown_fields=True):
    state: str


# ---- requests


class ListScripts(Struct):
    auth: Auth


class GetScript(Struct):
    """get_script; with `version` get_script_version."""

    auth: Auth
    name: str
    version: int = 0


class AddScript(Struct):
    auth: Auth
    script: NewScript


class AddVersion(Struct):
    auth: Auth
    name: str
    version: NewVersion


class ChangeScript(Struct):
    auth: Auth
    name: str
    change: ScriptChange


class ChangeVersion(Struct):
    auth: Auth
    name: str
    version: int
    state: str


# ---- views


class VersionView(Struct):
    """`script` is there only when one version is asked for."""

    number: int
    state: str
    sha256: str
    bytes: int
    note: str
    author: str
    created_at: str
    parameters: list[Parameter]
    script: str | None = None


class ScriptUse(Struct):
    """A task that was made from the script, newest first; or a schedule, or a plan that
    goes on, that refers to it."""

    kind: str  # task, schedule or plan
    id: str
    name: str
    version: str  # a number, or latest
    state: str
    created_at: str | None = None


class ScriptView(Struct):
    """`latest`: number of the newest version that is online; None: there is none, or the script
    is disabled. `versions` and `uses` are None in lists, newest first otherwise."""

    name: str
    description: str
    disabled: bool
    latest: int | None
    newest: int
    changed_by: str
    changed_at: str
    versions: list[VersionView] | None = None
    uses: list[ScriptUse] | None = None


class Scripts(Struct):
    """get_scripts: all of them, by name."""

    items: list[ScriptView]
