"""What is said about a ping of all hosts?"""

from msgspec import Struct

from wire.requests import Auth

TIMEOUT_S = 5.0
MAX_TIMEOUT_S = 30.0
ASKING_S = 15.0  # what asking the largest fleet may take besides, host by host


class Ping(Struct):
    """Ask every enrolled host to speak. `timeout`: seconds that each of them has."""

    auth: Auth
    timeout: float = TIMEOUT_S


class PongView(Struct):
    """`ms` None: it did not answer in time, or was offline before. `skew_s`: its clock, when it
    last told, minus the master's."""

    agent: str
    hostname: str
    state: str
    ms: float | None
    version: str
    skew_s: float | None


class PingView(Struct):
    """`agents`: those without an answer first, then the slowest first. `seconds`: it all took."""

    asked: int
    answered: int
    seconds: float
    agents: list[PongView]
