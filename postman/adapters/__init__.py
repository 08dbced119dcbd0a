"""What does each kind of receiver want? One table, one file a kind.

An adapter turns a letter into a request, and says of an answer with status 2xx what is wrong
with it all the same: some chats refuse with status 200. Mail is no request, see postman/mail.py.
"""

from collections.abc import Callable
from typing import NamedTuple

from postman.adapters import dingtalk, feishu, generic, slack, teams, wecom
from postman.adapters.outgoing import Outgoing, taken
from wire.letters import Letter

# letter, where the pages are, the time of the try
Make = Callable[[Letter, str, float], Outgoing]
Problem = Callable[[bytes], str]


class Adapter(NamedTuple):
    make: Make
    problem: Problem = taken


ADAPTERS: dict[str, Adapter] = {
    "json": Adapter(generic.make),
    "slack": Adapter(slack.make),
    "teams": Adapter(teams.make),
    "dingtalk": Adapter(dingtalk.make, dingtalk.problem),
    "wecom": Adapter(wecom.make, wecom.problem),
    "feishu": Adapter(feishu.make, feishu.problem),
}

EMAIL = "email"
