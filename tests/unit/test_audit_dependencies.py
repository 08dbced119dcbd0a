"""An audit of dependencies that could not be made is never taken for one that found nothing."""

from scripts.audit_dependencies import Dependency, Report, Vulnerability, judge, unreadable

OURS = Dependency("mschedule", skip_reason="distribution marked as editable")
SOUND = Dependency("gevent", "26.9.0")
UNKNOWN = Dependency("regex", skip_reason="Dependency not found on PyPI")
BROKEN = Dependency("aiohttp", "3.9.0", [Vulnerability("PYSEC-2026-1", ["3.9.4"])])


def test_it_is_content_when_all_was_looked_up_and_nothing_is_known():
    assert judge(Report([OURS, SOUND])).code == 0


def test_it_names_what_is_vulnerable_and_where_that_is_mended():
    lines, code = judge(Report([SOUND, BROKEN]))
    assert (code, lines[0]) == (1, "aiohttp 3.9.0: PYSEC-2026-1, mended in 3.9.4")


def test_it_fails_when_something_was_not_looked_up():
    lines, code = judge(Report([OURS, SOUND, UNKNOWN]))
    assert (code, lines[0]) == (1, "dependencies looked up: 1, known vulnerabilities: 0")
    assert "NOT audited: 1 that" in lines[1]


def test_it_fails_when_nothing_was_looked_up_at_all():
    assert judge(Report([OURS])).code == 1


def test_it_says_why_there_is_no_report():
    lines, code = unreadable("Traceback …\nConnectionError: cannot resolve api.osv.dev\n")
    assert code == 1
    assert "cannot resolve api.osv.dev" in lines[0]
    assert unreadable("").code == 1
