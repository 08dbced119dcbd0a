"""Which refusals does HTTP have beyond those of the wire?"""

from wire.errors import Refusal


class MethodNotAllowed(Refusal):
    """The path is right, the method is not."""

    code, status = "method_not_allowed", 405


class RequestTimeout(Refusal):
    """The request did not arrive in time."""

    code, status = "request_timeout", 408


class RangeNotSatisfiable(Refusal):
    """The range begins behind the end."""

    code, status = "range_not_satisfiable", 416

    def __init__(self, size: int):
        super().__init__(f"the range begins behind the end: there are {size} bytes", field="Range")
        self.size = size


class LoginNeeded(Refusal):
    """A page was asked for without a session; the answer is the way to the login."""

    code, status = "unauthenticated", 401
