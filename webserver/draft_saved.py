"""Which saved script stands in the form of a new task, and with which values?

The values of secrets are never put back into a page.
"""

from dataclasses import dataclass, field
from typing import Any

from webserver.context import Caller, Master
from webserver.forms import Form
from wire.errors import NotFound
from wire.requests import Saved
from wire.scripts import GetScript, Parameter, ScriptView, VersionView

VALUE = "parameter."  # in front of the name of a field


@dataclass
class DraftSaved:
    """`version` "": the latest that is online, at the moment of the submit."""

    script: str = ""
    version: str = ""
    values: dict[str, str] = field(default_factory=dict, repr=False)

    def __bool__(self) -> bool:
        return bool(self.script)

    def as_saved(self) -> Saved | None:
        """What is empty is not given: then the default counts."""
        if not self.script:
            return None
        given = {name: value for name, value in self.values.items() if value}
        return Saved(self.script, int(self.version) if self.version else None, given)


@dataclass(frozen=True)
class ShownSaved:
    """A saved script with a field for each parameter; `number` is what would run now."""

    script: str
    version: str
    number: int
    parameters: list[Parameter]
    values: dict[str, str]
    text: str


def saved_of_form(form: Form) -> DraftSaved:
    values = {
        name.removeprefix(VALUE): form.text(name) for name in form.fields if name.startswith(VALUE)
    }
    version = form.word("saved_version")
    return DraftSaved(form.word("saved"), version if _is_number(version) else "", values)


def saved_of_settings(settings: Any) -> DraftSaved:
    """Of a task that is to be run again: the same version."""
    saved = settings.get("saved")
    if not saved:
        return DraftSaved()
    return DraftSaved(saved["script"], str(saved["version"]), dict(saved["parameters"]))


async def shown_saved(master: Master, caller: Caller, draft: DraftSaved) -> ShownSaved | None:
    """What the form shows of it. Raises NotFound for a script that is not there."""
    if not draft:
        return None
    script = await master.call("get_script", GetScript(caller.auth, draft.script), ScriptView)
    number = int(draft.version) if draft.version else script.latest
    if number is None:
        raise NotFound(f"no version of the script {draft.script} is online")
    ask = GetScript(caller.auth, draft.script, number)
    version = await master.call("get_script_version", ask, VersionView)
    known = {one.name: one for one in version.parameters if one.kind != "secret"}
    values = {
        name: draft.values.get(name, one.default or "")
        for name, one in known.items()
        if name in draft.values or one.default
    }
    return ShownSaved(
        draft.script, draft.version, number, version.parameters, values, version.script or ""
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < len(text) < 10
