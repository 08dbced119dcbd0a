"""The service on a host: it pulls runs from the master, has them executed, and reports."""

import signal
from pathlib import Path

import gevent
from gevent.event import Event

from agent import aside, network
from agent.cm import ConnectionManager, Troubles, trouble_reporter
from agent.executor import Executor
from agent.identity import (
    choose_master,
    keep_keys,
    load_identity,
    read_host,
    remember_master,
)
from agent.journal import Journal, JournalLost
from agent.msg import Message
from agent.runs import Runs
from agent.settings import Settings
from agent.steady import keep_going
from utils import VERSION, getLogger, state_dir
from wire.client import Client

log = getLogger(__name__)

LOOK_AT_NETWORK_S = 60.0
STOP_S = 4.0  # for the last messages; running scripts are not waited for


def run(settings: Settings) -> int:
    """Be the agent of this host until SIGTERM or SIGINT; the exit code of the program."""
    with state_dir(settings.state_dir) as directory:
        if settings.new_identity:
            print(aside.new_identity(directory))
            return 0
        agent = Agent(settings, directory)
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, agent.stop)
        return agent.run()


class Agent:
    """Puts the rooms of the agent together."""

    def __init__(self, settings: Settings, directory: Path):
        self._directory = directory
        self._stopping = Event()
        self._network_due = Event()
        self._exit_code = 0
        host = read_host(directory, settings.machine_id_file, settings.boot_id_file)
        aside.leave_to_other_machine(directory, host)
        self._master = choose_master(directory, settings.join_string())
        identity = load_identity(directory, self._master)
        aside.remember_machine(directory, host)
        self._identity = identity
        self._journal = Journal(directory / "journal")
        self._message = Message(
            identity,
            host,
            self._journal.identity,
            settings.reported_hostname(),
            settings.slots,
            settings.queue_names(),
        )
        self._executor = Executor(directory, identity.id)
        troubles = Troubles()
        self._client = Client(
            self._master.endpoint,
            self._master.key,
            identity.keys,
            on_trouble=trouble_reporter(troubles),
        )
        self._runs = Runs(
            journal=self._journal,
            executor=self._executor,
            message=self._message,
            slots=settings.slots,
            directory=directory,
            on_change=lambda: self._cm.changed(),
            on_lost=self._on_lost,
        )
        self._cm = ConnectionManager(
            client=self._client,
            message=self._message,
            runs=self._runs,
            token=self._master.token,
            troubles=troubles,
            on_registered=self._on_registered,
            on_lost=self._on_lost,
        )

    def run(self) -> int:
        """Serve until stopped."""
        self._say_what_was_found()
        self._message.ip = network.addresses()
        self._executor.start_runner()
        self._runs.recover(self._cm)
        self._cm.start()
        watching = gevent.spawn(keep_going, "looking at the network", self._watch_network)
        self._stopping.wait()
        watching.kill(block=False)
        self._close()
        log.info("stopped; scripts that run go on, and are taken up at the next start")
        return self._exit_code

    def stop(self) -> None:
        self._stopping.set()

    def _close(self) -> None:
        with gevent.Timeout(STOP_S, False):
            self._cm.stop()
            self._runs.stop_couriers()
            self._executor.close()
            self._client.close()
            self._journal.close()

    def _say_what_was_found(self) -> None:
        endpoint = self._master.endpoint.removeprefix("tcp://")
        log.info(f"agent {self._message.id}, version {VERSION}, of the master at {endpoint}")
        if self._journal.set_aside is not None:
            log.error(
                f"the journal was damaged and is set aside as {self._journal.set_aside}; "
                "what it held will be shown as UNKNOWN by the master"
            )
        if self._journal.dropped_bytes:
            log.warning(
                f"the journal ended in {self._journal.dropped_bytes} bytes of a record that was "
                "never finished; nothing had been promised on it, and it was dropped"
            )

    def _on_registered(self) -> None:
        remember_master(self._directory, self._master)
        keep_keys(self._directory, self._identity)
        self._network_due.set()

    def _on_lost(self, error: JournalLost) -> None:
        """Only a new process can know what is on the disk: end, and be started again."""
        log.critical(f"{error}; the agent ends, running scripts go on")
        self._exit_code = 1
        self.stop()

    def _watch_network(self) -> None:
        """Keep the addresses fresh, beside the heartbeats that carry them.

        Not on a thread: the kernel answers from memory, and a thread would cost 0.3 MB.
        """
        while True:
            self._network_due.clear()
            self._network_due.wait(LOOK_AT_NETWORK_S)
            self._message.ip = network.addresses()
