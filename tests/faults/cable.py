"""How is the network of one host broken, and nobody else's? A cable of our own, in user space.

The host gets a network namespace with one end of the cable, a TAP device; the other end is
here, and a thread carries the frames between. So it can drop, delay, reorder and repeat
them in either direction, on any kernel; what it drops is simply gone, as on a half-open
connection. Needs root.
"""

import errno
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import subprocess
import threading
import time
from dataclasses import dataclass

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
FRAME_BYTES = 64 << 10
NUMBERS = 250 * 32  # each with a block of eight addresses


@dataclass(frozen=True)
class Weather:
    """What happens to frames, each way by itself: `up` is from the host, `down` is to it."""

    drop_up: float = 0.0  # share
    drop_down: float = 0.0
    delay_s: float = 0.0  # each way
    jitter_s: float = 0.0  # frames overtake each other
    repeat: float = 0.0  # share that comes twice


FINE = Weather()
CUT = Weather(drop_up=1.0, drop_down=1.0)


def may_be_laid() -> bool:
    """Are we root, with /dev/net/tun and `ip`?"""
    return os.geteuid() == 0 and os.access("/dev/net/tun", os.R_OK | os.W_OK)


class Cable:
    """One cable to a namespace of its own. `command` is what starts a program inside."""

    def __init__(self, seed: int = 0) -> None:
        number, self._near, self._far = _free_pair()
        self.name = f"msf{number}"
        net, base = f"10.213.{number // 32}", number % 32 * 8
        self.near, self.far, self.other = (f"{net}.{base + last}" for last in (1, 2, 3))
        self.weather = FINE
        self._random = random.Random(seed)
        self._queue: list[tuple[float, int, int, bytes]] = []
        self._order = itertools.count()
        self._wake, self._stop = os.pipe()
        self._lay()
        self._thread = threading.Thread(target=self._carry, name=self.name)
        self._thread.start()

    @property
    def command(self) -> list[str]:
        """Only the network is another one; `ip netns exec` would also hide control groups."""
        return ["nsenter", f"--net=/run/netns/{self.name}"]

    def change_address(self) -> None:
        """The host gets another address, as from DHCP; connections of the old one are dead."""
        old, self.far, self.other = self.far, self.other, self.far
        device = f"{self.name}f"
        _run(*self.command, "ip", "addr", "del", f"{old}/29", "dev", device)
        _run(*self.command, "ip", "addr", "add", f"{self.far}/29", "dev", device)

    def close(self) -> None:
        os.close(self._stop)
        self._thread.join()
        for descriptor in (self._near, self._far, self._wake):
            os.close(descriptor)
        _run("ip", "netns", "del", self.name)

    def _lay(self) -> None:
        near, far = f"{self.name}n", f"{self.name}f"
        _run("ip", "netns", "add", self.name)
        _run("ip", "link", "set", far, "netns", self.name)
        _run("ip", "addr", "add", f"{self.near}/29", "dev", near)
        _run("ip", "link", "set", near, "up")
        _run(*self.command, "ip", "addr", "add", f"{self.far}/29", "dev", far)
        for device in ("lo", far):
            _run(*self.command, "ip", "link", "set", device, "up")

    # ---- in the thread

    def _carry(self) -> None:
        while True:
            ready, _, _ = select.select([self._near, self._far, self._wake], [], [], self._wait())
            if self._wake in ready:
                return
            for descriptor in ready:
                self._take(descriptor)
            self._deliver()

    def _wait(self) -> float | None:
        return max(0.0, self._queue[0][0] - time.monotonic()) if self._queue else None

    def _take(self, descriptor: int) -> None:
        frame = os.read(descriptor, FRAME_BYTES)
        weather, chance = self.weather, self._random.random
        up = descriptor == self._far
        if chance() < (weather.drop_up if up else weather.drop_down):
            return
        target = self._near if up else self._far
        for _ in range(2 if chance() < weather.repeat else 1):
            at = time.monotonic() + weather.delay_s + weather.jitter_s * chance()
            heapq.heappush(self._queue, (at, next(self._order), target, frame))

    def _deliver(self) -> None:
        while self._queue and self._queue[0][0] <= time.monotonic():
            _, _, target, frame = heapq.heappop(self._queue)
            try:
                os.write(target, frame)
            except OSError:
                pass  # the end is down: the frame is lost


def _free_pair() -> tuple[int, int, int]:
    """A number that nobody else uses, on all of this machine, and two devices with it."""
    start = os.getpid() * 32
    for number in (n % NUMBERS for n in range(start, start + NUMBERS)):
        if os.path.exists(f"/run/netns/msf{number}"):
            continue
        try:
            near = _tap(f"msf{number}n")
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            continue
        return number, near, _tap(f"msf{number}f")
    raise OSError(errno.EBUSY, "all numbers of cables are in use")


def _tap(name: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
