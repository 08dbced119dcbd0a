"""Sessions and the seals of forms; the clock is an argument."""

from webserver.sessions import Sessions


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def open_one(sessions, token="alice-admin-token"):
    return sessions.open(token, "alice", "admin")


def test_it_finds_a_session_until_it_was_idle_too_long():
    clock = Clock()
    sessions = Sessions(idle_s=10, now=clock)
    session = open_one(sessions)
    for clock.now in (5, 14, 24):
        assert sessions.find(session.id) is session
    clock.now = 34.1
    assert sessions.find(session.id) is None


def test_it_forgets_a_session_that_was_closed():
    sessions = Sessions()
    session = open_one(sessions)
    sessions.close(session.id)
    assert sessions.find(session.id) is None
    sessions.close("never there")


def test_it_lets_go_of_the_one_used_longest_ago_when_it_is_full():
    sessions = Sessions(most=2)
    first, second = open_one(sessions), open_one(sessions)
    sessions.find(first.id)
    third = open_one(sessions)
    assert [sessions.find(one.id) is one for one in (first, second, third)] == [True, False, True]


def test_it_gives_each_login_a_new_id():
    sessions = Sessions()
    assert open_one(sessions).id != open_one(sessions).id


def test_it_seals_forms_for_one_cookie_of_one_process():
    sessions = Sessions()
    seal = sessions.form_token("cookie")
    assert sessions.fits("cookie", seal)
    assert not sessions.fits("other", seal)
    assert not Sessions().fits("cookie", seal)
    assert not sessions.fits("cookie", "")
    assert not sessions.fits("cookie", "é\ud800")
