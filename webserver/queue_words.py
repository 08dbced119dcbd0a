"""What will a queue do, in words? Sentences for people; pure functions."""

from webserver.text import human_count, human_duration
from wire.defaults import limits_of
from wire.requests import Submission


def what_queue_will_do(submission: Submission, items: int, file: str, hosts: int | None) -> str:
    """The sentence on the button: "Run for each of 1,234 items on 12 hosts, 50 a second".

    `file`: the name of one whose lines are items, too, and are not counted.
    """
    return ", ".join([_what(submission, items, file, hosts), *_how(submission)])


def _what(submission: Submission, items: int, file: str, hosts: int | None) -> str:
    on = f" on {human_count(hosts, 'host')}" if hosts else ""
    if not items and not file:
        return f"Open the queue{on}; items are added later"
    each = f"each line of {file}" if file else f"each of {items:,} items"
    if file and items:
        each = f"{items:,} items and {each}"
    if items == 1 and not file:
        each = "1 item"
    return f"Run for {each}{on}"


def _how(submission: Submission) -> list[str]:
    parallel = limits_of(submission).parallel
    said = []
    if submission.batch > 1:
        said.append(f"{submission.batch:,} in one run")
    if submission.rate:
        said.append(f"{rate_in_words(submission.rate)} at most")
    if isinstance(parallel, int) and parallel > 0:
        said.append("one at a time" if parallel == 1 else f"{parallel:,} at a time")
    return said


def rate_in_words(rate: float) -> str:
    """50 → "50 a second", 0.5 → "30 a minute", 0.001 → "3.6 an hour"."""
    for seconds, words in ((1, "a second"), (60, "a minute")):
        if rate * seconds >= 1:
            return f"{_short(rate * seconds)} {words}"
    return f"{_short(rate * 3600)} an hour"


def may_not_fit(submission: Submission, items: int) -> str | None:
    """A warning when the last items may expire before the rate lets them go."""
    within_s = limits_of(submission).expires_in
    if not submission.rate or not within_s or items / submission.rate <= within_s:
        return None
    return (
        f"At {rate_in_words(submission.rate)} the last of {human_count(items, 'item')} would be "
        f"taken after {human_duration(items / submission.rate)}; what is not done within "
        f"{human_duration(within_s)} is skipped."
    )


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
