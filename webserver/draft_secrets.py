"""Which secrets stand in the form of a new task? Names; their values are never put back.

A value that came with a form is used for this one submission: a page that is shown again, after
an error or to run a task again, has the names, and asks for the values anew.
"""

from dataclasses import dataclass, field
from itertools import zip_longest

from webserver.forms import Form
from wire.requests import Submission
from wire.views import TaskView

LEAST_ROWS = 3
SPARE_ROWS = 2


@dataclass(frozen=True)
class Typed:
    """One row of the form."""

    name: str
    value: str = field(default="", repr=False)


@dataclass
class DraftSecrets:
    """Rows that are not empty: variables of the environment, and files."""

    variables: list[Typed] = field(default_factory=list)
    files: list[Typed] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.variables or self.files)

    @property
    def variable_rows(self) -> list[str]:
        """The names to show, with some rows to fill in."""
        return _rows(self.variables, LEAST_ROWS)

    @property
    def file_rows(self) -> list[str]:
        return _rows(self.files, 1)


def secrets_of_form(form: Form) -> DraftSecrets:
    return DraftSecrets(
        _typed(form, "secret_name", "secret"), _typed(form, "secret_file_name", "secret_file")
    )


def secrets_of_task(task: TaskView) -> DraftSecrets:
    """Those of a task that is to be run again: nobody but its script gets the values."""
    variables, files = (task.settings.get(name, ()) for name in ("secrets", "secret_files"))
    return DraftSecrets([Typed(name) for name in variables], [Typed(name) for name in files])


def secrets_of_submission(submission: Submission) -> DraftSecrets:
    """Those of a schedule that is edited."""
    variables, files = submission.secrets, submission.secret_files
    return DraftSecrets([Typed(name) for name in variables], [Typed(name) for name in files])


def add_secrets(
    submission: Submission, given: DraftSecrets, *, may_stay: bool = False
) -> dict[str, str]:
    """Put them into the submission; what is wrong, by field, without any value.

    `may_stay`: an empty value stands for the one that is kept.
    """
    submission.secrets, wrong = _named(given.variables, may_stay)
    submission.secret_files, wrong_files = _named(given.files, may_stay)
    found = {"secrets": wrong, "secret_files": wrong_files}
    return {name: sentence for name, sentence in found.items() if sentence}


def _typed(form: Form, name_field: str, value_field: str) -> list[Typed]:
    pairs = zip_longest(form.many(name_field), form.many(value_field), fillvalue="")
    rows = [Typed(name.strip(), value) for name, value in pairs]
    return [row for row in rows if row.name or row.value]


def _named(rows: list[Typed], may_stay: bool) -> tuple[dict[str, str], str]:
    """By name, and a sentence where that cannot be said."""
    values: dict[str, str] = {}
    for row in rows:
        if not row.name:
            return {}, "A value has no name."
        if not row.value and not may_stay:
            return {}, f"{row.name} has no value: type it, also if you have typed it before."
        if row.name in values:
            return {}, f"{row.name} is there twice; each name is given once."
        values[row.name] = row.value
    return values, ""


def _rows(filled: list[Typed], least: int) -> list[str]:
    names = [row.name for row in filled]
    spare = max(least - len(names), SPARE_ROWS if names else 0)
    return names + [""] * spare
