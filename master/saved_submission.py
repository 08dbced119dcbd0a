"""What does a submission of a saved script come to? One with the script and its variables."""

import base64
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import asdict, replace

from master import parameters
from master.beside import beside
from master.changes import NewTask
from master.saved_scripts import Version
from master.targets import Fleet
from wire.errors import InvalidValue
from wire.requests import Saved, Submission


class Filled(Struct, frozen=True):
    """`version` None: the submission brought a script of its own."""

    submission: Submission
    version: Version | None = None


def filled(
    submission: Submission, runnable: Callable[[str, int | None], Version], fleet: Fleet
) -> Filled:
    """Raises InvalidValue for the fields saved, parameters and env; what `runnable` raises."""
    saved = submission.saved
    if saved is None:
        return Filled(submission)
    if submission.script is not None or submission.script_base64 is not None:
        raise InvalidValue("saved is given beside a script; give one of them", field="saved")
    version = runnable(saved.script, saved.version)
    given = parameters.given(
        version.parameters, saved.parameters, lambda text: beside(lambda: _names(fleet, text))
    )
    for name in (*given.env, *given.secrets):
        if name in submission.env or name in submission.secrets or name in submission.secret_files:
            raise InvalidValue(f"env: {name} is a parameter of the script", field="env")
    return Filled(
        replace(
            submission,
            script_base64=base64.b64encode(version.script).decode(),
            env={**submission.env, **given.env},
            secrets={**submission.secrets, **given.secrets},
        ),
        version,
    )


def as_saved(new: NewTask, filled: Filled) -> NewTask:
    """The task, remembering which version it is of; its secrets it does not show."""
    saved, version = filled.submission.saved, filled.version
    if saved is None or version is None:
        return new
    secret = {one.name for one in version.parameters if one.kind == "secret"}
    shown = {name: text for name, text in saved.parameters.items() if name not in secret}
    settings = {**new.settings, "saved": asdict(Saved(saved.script, version.number, shown))}
    return replace(new, settings=settings, saved=(version.name, version.number))


def _names(fleet: Fleet, expression: str) -> str:
    return " ".join(fleet.by_id[id].hostname for id in fleet.resolve(expression))
