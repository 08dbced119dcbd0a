"""Who forks the supervisors? A small process without gevent or ZeroMQ, so that a fork is cheap.

The agent starts it as a program of its own and sends, over a SOCK_SEQPACKET pair, one message
for each run: the path of its directory. The answer is `<path>\\0<pid of the supervisor>`, or
`<path>\\0` and why there is none. When the agent goes away the runner ends; supervisors live on.

A supervisor whose run has ended and left nothing behind waits here for a moment, should another
run come: that saves it half of what a short one costs. Its end is told as `<path>\\0ended`; that
of a run whose supervisor ends with it is for the agent to see.
"""

import gc
import os
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # the module without its enums, which cost 0.8 MB

# `agent` as a bare package: its own __init__ would load gevent and all of the agent.
_folder = os.path.dirname(os.path.abspath(__file__))
if __name__ == "__main__":
    sys.modules["agent"] = type(sys)("agent")
    sys.modules["agent"].__path__ = [_folder]

from agent import carrier, tree  # noqa: E402
from agent.failpoint import failpoint  # noqa: E402

MAX_MESSAGE_BYTES = 16 << 10
HOLD_S = 0.1  # how long a pid is held back, unless its process ends
MOST_IDLE = 16  # supervisors that wait for another run …
IDLE_S = 2.0  # … and for how long: each holds about a megabyte of its own


def main(agent: int) -> None:
    """Serve the agent at the other end of this descriptor until it goes away."""
    os.set_inheritable(agent, False)
    os.set_blocking(agent, True)
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT):
        _signal.signal(number, _signal.SIG_IGN)  # only the agent's end is ours, and KILL
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # no zombies: the kernel reaps
    cgroup_home = tree.find_cgroup_home()
    tree.remove_empty_cgroups(cgroup_home)
    gc.collect()
    gc.freeze()  # what is here now is never looked at again, so the children share it
    gc.disable()
    try:
        Runner(agent, cgroup_home).run()
    except (BrokenPipeError, ConnectionResetError):
        pass


class Runner:
    """The supervisors of one agent, each at the end of a pipe by which it gets its orders."""

    def __init__(self, agent: int, cgroup_home: str | None) -> None:
        self._agent = agent
        self._cgroup_home = cgroup_home
        self._done, self._tell_done = os.pipe()  # all supervisors write there
        self._heard = b""  # the beginning of what one of them writes
        self._orders: dict[int, int] = {}  # the pipe of each, by pid
        self._idle: list[tuple[int, float]] = []  # pids, since when; the last to come first to go
        self._held: dict[bytes, float] = {}  # answers, since when; the oldest first
        self._poll = select.poll()
        self._poll.register(agent, select.POLLIN)
        self._poll.register(self._done, select.POLLIN)

    def run(self) -> None:
        while True:
            for descriptor, _ in self._poll.poll(self._sleep_ms()):
                if descriptor == self._agent:
                    message = os.read(self._agent, MAX_MESSAGE_BYTES)
                    if not message:
                        return
                    self._start(message)
                elif descriptor == self._done:
                    self._read_done()
                else:
                    self._part_with(descriptor)
            self._tell_held()
            self._dismiss()

    def _sleep_ms(self) -> float | None:
        due = [since + HOLD_S for since in self._held.values()][:1]
        due += [since + IDLE_S for _, since in self._idle[:1]]
        return max(0.0, min(due) - time.monotonic()) * 1000 + 1 if due else None

    # ---- a run

    def _start(self, directory: bytes) -> None:
        """Have a supervisor carry the run through, or tell the agent why there is none."""
        try:
            pid = self._ask_idle(directory) or self._fork(directory)
        except OSError as error:
            reason = os.fsencode(f"\0no supervisor could be forked: {error.strerror}")
            os.write(self._agent, directory + reason)
        else:
            self._held[directory + b"\0%d" % pid] = time.monotonic()

    def _ask_idle(self, directory: bytes) -> int | None:
        """The pid of one that was waiting; None: none is."""
        while self._idle:
            pid, _ = self._idle.pop()
            try:
                os.write(self._orders[pid], directory)
            except (KeyError, BrokenPipeError):
                continue  # somebody has killed it
            return pid
        return None

    def _fork(self, directory: bytes) -> int:
        theirs, orders = os.pipe()
        try:
            failpoint("fork")
            pid = os.fork()
        except OSError:
            os.close(theirs)
            os.close(orders)
            raise
        if pid == 0:
            for descriptor in (self._agent, self._done, orders, *self._orders.values()):
                os.close(descriptor)
            _be_supervisor(os.fsdecode(directory), self._cgroup_home, theirs, self._tell_done)
        os.close(theirs)
        self._orders[pid] = orders
        self._poll.register(orders, 0)  # tells when nobody is left to read
        return pid

    def _tell_held(self) -> None:
        """Tell the agent of the supervisors that have been at it for a moment."""
        until = time.monotonic() - HOLD_S
        for answer in [answer for answer, since in self._held.items() if since <= until]:
            self._tell(answer)

    def _tell(self, answer: bytes) -> None:
        if self._held.pop(answer, None) is not None:
            os.write(self._agent, answer)

    # ---- its end

    def _read_done(self) -> None:
        heard = self._heard + os.read(self._done, MAX_MESSAGE_BYTES)
        *ends, self._heard = heard.split(b"\0")
        for end in ends:
            pid, _, directory = end.partition(b" ")
            self._idle.append((int(pid), time.monotonic()))
            self._tell(directory + b"\0" + pid)
            os.write(self._agent, directory + b"\0ended")

    def _dismiss(self) -> None:
        """Let go of those that have waited for long enough, or are too many."""
        until = time.monotonic() - IDLE_S
        while self._idle and (len(self._idle) > MOST_IDLE or self._idle[0][1] <= until):
            pid, _ = self._idle.pop(0)
            if pid in self._orders:
                self._forget(self._orders[pid])

    def _part_with(self, orders: int) -> None:
        """A supervisor has ended. If with its run, the agent learns at once whom to look for."""
        for pid in [pid for pid, pipe in self._orders.items() if pipe == orders]:
            for answer in [answer for answer in self._held if answer.endswith(b"\0%d" % pid)]:
                self._tell(answer)
        self._forget(orders)

    def _forget(self, orders: int) -> None:
        """Close the pipe of a supervisor, by which it ends if it has not."""
        self._poll.unregister(orders)
        os.close(orders)
        self._orders = {pid: pipe for pid, pipe in self._orders.items() if pipe != orders}


def _be_supervisor(directory: str, cgroup_home: str | None, orders: int, done: int) -> None:
    """Never returns."""
    code = 1
    try:
        carrier.carry(directory, cgroup_home, orders, done)
        code = 0
    except Exception:
        sys.excepthook(*sys.exc_info())  # into the log file that is our stderr
    finally:
        os._exit(code)


if __name__ == "__main__":
    main(int(sys.argv[1]))
