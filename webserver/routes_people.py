"""Which rows of the table of routes are about people, sessions and tokens?"""

from webserver import api_people, page_account, page_login, page_people, page_tokens
from webserver.endpoint import Answer, Listing, May, Route, api
from webserver.parameters import NoQuery, PageQuery, TokensQuery
from wire.errors import Busy, Conflict, StoreFull, TooManyAttempts
from wire.people import NewToken, PersonView, SessionView, TokenView
from wire.views import WhoAmI

ANYONE, VIEWER, ADMIN = May.ANYONE, May.VIEWER, May.ADMIN
DONE = Answer(api_people.Done)

_ME = "/api/v1/me"
_PERSON = "/api/v1/people/{person}"
_NEW_PERSON = Answer(PersonView, 201, headers={"Location": "Path of the new person."})

API = (
    api(
        "GET", _ME, api_people.get_me, VIEWER, NoQuery,
        "Who one is", Answer(WhoAmI),
    ),
    api(
        "POST", _ME + "/password", api_people.change_my_password, VIEWER, NoQuery,
        "Change one's password", DONE, body=api_people.Passwords,
        refuses=(TooManyAttempts, Busy, StoreFull),
    ),
    api(
        "GET", _ME + "/sessions", api_people.list_my_sessions, VIEWER, NoQuery,
        "List one's sessions", Answer(Listing[SessionView]),
    ),
    api(
        "DELETE", _ME + "/sessions", api_people.end_my_sessions, VIEWER, NoQuery,
        "Log out everywhere", DONE, refuses=(StoreFull,),
    ),
    api(
        "DELETE", _ME + "/sessions/{session}", api_people.end_my_session, VIEWER, NoQuery,
        "End one session", DONE, refuses=(StoreFull,),
    ),
    api(
        "GET", "/api/v1/people", api_people.list_people, ADMIN, PageQuery,
        "List people", Answer(Listing[PersonView]),
    ),
    api(
        "POST", "/api/v1/people", api_people.add_person, ADMIN, NoQuery,
        "Add a person", _NEW_PERSON,
        body=api_people.NewPerson, refuses=(Conflict, StoreFull),
    ),
    api(
        "GET", _PERSON, api_people.get_person, ADMIN, NoQuery,
        "One person", Answer(PersonView),
    ),
    api(
        "PATCH", _PERSON, api_people.change_person, ADMIN, NoQuery,
        "Change a person", Answer(PersonView),
        body=api_people.PersonChange, refuses=(Conflict, StoreFull),
    ),
    api(
        "DELETE", _PERSON, api_people.remove_person, ADMIN, NoQuery,
        "Remove a person", DONE, refuses=(Conflict, StoreFull),
    ),
    api(
        "DELETE", _PERSON + "/sessions", api_people.end_sessions_of, ADMIN, NoQuery,
        "Log a person out everywhere", DONE, refuses=(StoreFull,),
    ),
    api(
        "GET", "/api/v1/tokens", api_people.list_tokens, VIEWER, TokensQuery,
        "List tokens", Answer(Listing[TokenView]),
    ),
    api(
        "POST", "/api/v1/tokens", api_people.add_token, VIEWER, NoQuery,
        "Make a token", Answer(NewToken, 201),
        body=api_people.TokenWish, refuses=(Conflict, StoreFull),
    ),
    api(
        "DELETE", "/api/v1/tokens/{token}", api_people.revoke_token, VIEWER, NoQuery,
        "Revoke a token", DONE, refuses=(StoreFull,),
    ),
)  # fmt: skip

PAGES = (
    Route("GET", "/login", page_login.show_login, ANYONE),
    Route("POST", "/login", page_login.log_in, ANYONE),
    Route("GET", "/setup", page_login.show_setup, ANYONE),
    Route("POST", "/setup", page_login.set_up, ANYONE),
    Route("POST", "/logout", page_login.log_out, ANYONE),
    Route("GET", "/account", page_account.show_account, VIEWER),
    Route("POST", "/account/password", page_account.change_password, VIEWER),
    Route("POST", "/account/sessions/{session}/end", page_account.end_session, VIEWER),
    Route("POST", "/account/log-out-everywhere", page_account.log_out_everywhere, VIEWER),
    Route("POST", "/account/tokens", page_account.add_token, VIEWER),
    Route("POST", "/account/tokens/{token}/revoke", page_account.revoke_token, VIEWER),
    Route("GET", "/people", page_people.show_people, ADMIN),
    Route("POST", "/people", page_people.add_person, ADMIN),
    Route("GET", "/people/{person}", page_people.show_person, ADMIN),
    Route("POST", "/people/{person}", page_people.change_person, ADMIN),
    Route("GET", "/tokens", page_tokens.show_tokens, ADMIN),
    Route("POST", "/tokens/{token}/revoke", page_tokens.revoke_any_token, VIEWER),  # one's own,
)
