"""Which rows of the table of routes are about letting hosts in, sending them away, and pings?"""

from webserver import api_admission, api_ping, page_admission, page_join_tokens, page_ping
from webserver.endpoint import Answer, May, Route, api
from webserver.parameters import NoQuery
from wire.errors import Conflict, StoreFull
from wire.joining import JoinTokensView, NewJoin
from wire.ping import PingView
from wire.views import AgentView

OPERATOR, ADMIN = May.OPERATOR, May.ADMIN

_AGENT = "/api/v1/agents/{agent}"
_TOKENS = "/api/v1/join-tokens"
_HOST = "/hosts/{agent}"

API = (
    api(
        "POST", "/api/v1/ping", api_ping.ping_hosts, OPERATOR, NoQuery,
        "Ping all hosts", Answer(PingView), body=api_ping.PingWish, bare=True,
    ),
    api(
        "POST", _AGENT + "/accept", api_admission.accept_agent, ADMIN, NoQuery,
        "Accept a host that waits", Answer(AgentView), refuses=(Conflict, StoreFull),
    ),
    api(
        "POST", _AGENT + "/refuse", api_admission.refuse_agent, ADMIN, NoQuery,
        "Refuse a host that waits", Answer(AgentView), refuses=(Conflict, StoreFull),
    ),
    api(
        "POST", _AGENT + "/revoke", api_admission.revoke_agent, ADMIN, NoQuery,
        "Revoke the key of a host", Answer(AgentView),
        body=api_admission.Revocation, refuses=(Conflict, StoreFull),
    ),
    api(
        "POST", _AGENT + "/delete", api_admission.delete_agent, ADMIN, NoQuery,
        "Delete a host", Answer(AgentView), refuses=(Conflict, StoreFull),
    ),
    api(
        "POST", _AGENT + "/re-enrol", api_admission.reenrol_agent, ADMIN, NoQuery,
        "Let a host have a new key", Answer(NewJoin), refuses=(Conflict, StoreFull),
    ),
    api(
        "POST", _AGENT + "/accept-hostname", api_admission.accept_hostname, ADMIN, NoQuery,
        "Accept the new hostname of a host", Answer(AgentView),
        body=api_admission.NewHostname, refuses=(Conflict, StoreFull),
    ),
    api(
        "GET", _TOKENS, api_admission.list_join_tokens, ADMIN, NoQuery,
        "List join tokens", Answer(JoinTokensView),
    ),
    api(
        "POST", _TOKENS, api_admission.add_join_token, ADMIN, NoQuery,
        "Make a join token", Answer(NewJoin, 201),
        body=api_admission.JoinTokenWish, refuses=(Conflict, StoreFull),
    ),
    api(
        "DELETE", _TOKENS + "/{join_token}", api_admission.remove_join_token, ADMIN, NoQuery,
        "Delete a join token", Answer(api_admission.Gone), refuses=(StoreFull,),
    ),
)  # fmt: skip

PAGES = (
    Route("GET", "/hosts/ping", page_ping.show_ping, OPERATOR),
    Route("POST", "/hosts/ping", page_ping.ping_hosts, OPERATOR),
    Route("GET", "/join-tokens", page_join_tokens.show_join_tokens, ADMIN),
    Route("POST", "/join-tokens", page_join_tokens.add_join_token, ADMIN),
    Route("POST", "/join-tokens/{join_token}/delete", page_join_tokens.remove_join_token, ADMIN),
    Route("POST", _HOST + "/accept", page_admission.accept, ADMIN),
    Route("POST", _HOST + "/refuse", page_admission.refuse, ADMIN),
    Route("POST", _HOST + "/revoke", page_admission.revoke, ADMIN),
    Route("POST", _HOST + "/delete", page_admission.delete, ADMIN),
    Route("POST", _HOST + "/re-enrol", page_admission.reenrol, ADMIN),
    Route("POST", _HOST + "/accept-hostname", page_admission.accept_hostname, ADMIN),
)
