"""What is a master? The rooms put together, started and stopped."""

import gc
import signal
import sys
import time

import gevent
import gevent.pool
from gevent.event import Event

from master import audit, setup_file
from master.accounts import Accounts
from master.admission import Admission
from master.board import Board
from master.callback_desk import CallbackDesk
from master.chain import Link
from master.clock import Attention, SteadyClock
from master.cm import ConnectionManager
from master.commands import KEYS, obey
from master.composer import Composer
from master.desk import Desk
from master.dispatch import Dispatcher
from master.events import Ring
from master.gate import Gate
from master.group_desk import GroupDesk
from master.keyring import Keyring
from master.live import Live
from master.login import Login
from master.methods import Desks
from master.passwords import Passwords
from master.ping import Pinger
from master.plan_desk import PlanDesk
from master.plan_judge import PlanJudge
from master.planner import Planner
from master.post_office import PostOffice
from master.purger import Purger
from master.queue_desk import QueueDesk
from master.retention import Keep
from master.roster import Roster
from master.schedule_aims import ScheduleAims
from master.schedule_desk import ScheduleDesk
from master.scheduler import Scheduler
from master.script_desk import ScriptDesk
from master.sessions import Span
from master.settings import Settings, advertised, certificates, networks, size_bytes
from master.storage import Storage
from master.throttle import Throttle
from master.verify import STORE
from master.waiters import Waiters
from utils import StartError, getLogger, state_dir, write_private
from wire.keys import Join, load_or_make_keys
from wire.letters import Rules
from wire.probe import probe
from wire.rates import ALLOWANCES, Rates
from wire.server import Server

log = getLogger(__name__)

SECRETS_KEY = "secrets.key"
ADMIN_TOKEN = "admin.token"
TICK_S = 0.5
TURN_S = 0.001  # of a thread that others wait for; 5 ms, the default, held up hub and writer
TOUCH_S = 5.0  # how often the store is told who was heard
SWEEP_S = 10.0  # how often memory is compared with the store
FORGET_S = 10.0  # how often it is looked for what is to be forgotten
USED_S = 60.0  # how often the store is told which credentials were used
PLANS_AT_ONCE = 20  # forgotten together
HOUR_S = 3600.0
DAY_S = 86400.0


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, or do what else the settings ask for; the exit code."""
    code = obey(settings)
    if code is not None:
        return code
    with state_dir(settings.state_dir):
        master = Master(settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, master.stop)
        master.serve()
    return 0


class Master:
    """One master process, over one store."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._directory = settings.state_dir
        self._stopping = Event()
        self._port = settings.port  # the real one, once it listens
        self._clock = SteadyClock()
        self._attention = Attention(self._clock())
        self._keyring = Keyring(self._directory / SECRETS_KEY)
        vault = self._keyring.vault
        self._storage = Storage(
            self._directory / STORE, clock=self._clock, vault=vault, wall=time.time
        )
        self._roster = Roster(settings.heartbeat)
        self._live = Live(self._roster, self._clock)
        self._purger = Purger(self._storage, _keep(settings))
        self._told_end: Link | None = None  # of the audit log
        self._told_end_at = 0.0
        self._waiters = Waiters()
        ring = Ring(self._live.event)
        self._dispatcher = Dispatcher(
            self._storage,
            self._roster,
            ring,
            self._waiters,
            self._live,
            is_free=lambda: self._server.is_empty,
        )
        span = Span(settings.session_idle_hours * HOUR_S, settings.session_days * DAY_S)
        people = self._storage.people
        self._gate = gate = Gate(people, span.idle_s, self._clock)
        desk = Desk(
            self._storage, self._roster, self._dispatcher, ring, self._waiters, self._live, vault
        )
        queues = QueueDesk(self._storage, self._dispatcher, desk.check_reach_of_task, desk.show)
        board = Board(self._storage, self._roster, ring, self._live, self._dispatcher.queues)
        book = self._storage.schedules
        composer = Composer(self._live, self._storage.scripts, vault)
        judge = PlanJudge(composer, self._roster, self._storage.callbacks)
        self._planner = Planner(
            self._storage.plans, self._roster, self._dispatcher, people, composer
        )
        aims = ScheduleAims(book, composer, judge, self._roster, people, self._storage.callbacks)
        self._scheduler = Scheduler(book, aims, self._dispatcher, self._planner)
        schedules = ScheduleDesk(book, self._scheduler, aims, self._dispatcher, self._planner)
        passwords = Passwords()
        login = Login(people, passwords, Throttle(), span)
        accounts = Accounts(
            people, gate, span, passwords, login, self._roster.fleet, self._directory
        )
        self._keys = load_or_make_keys(self._directory / KEYS)
        admission = Admission(
            self._storage, self._roster, self._dispatcher, self._live, self._join_string
        )
        self._post = PostOffice(
            self._storage.callbacks,
            vault,
            Rules(
                networks(settings.callback_allow),
                settings.web_url,
                ca=certificates(settings.callback_ca),
            ),
            settings.callback_hours * HOUR_S,
            self._clock,
        )
        self._groups = GroupDesk(self._storage.groups_of_hosts, self._roster)
        desks = Desks(
            desk=desk,
            board=board,
            admission=admission,
            accounts=accounts,
            groups=self._groups,
            scripts=ScriptDesk(self._storage.scripts, self._dispatcher),
            schedules=schedules,
            plans=PlanDesk(
                self._storage.plans, self._planner, self._roster, self._live, judge, vault
            ),
            callbacks=CallbackDesk(self._storage.callbacks, vault, self._post.wake, self._clock),
            pinger=Pinger(self._roster, self._dispatcher, self._live),
            queues=queues,
        )
        self._manager = ConnectionManager(
            self._storage, self._roster, self._dispatcher, gate, self._clock, desks
        )
        self._server = Server(
            self._keys,
            self._manager.methods(),
            self._roster.role_of,
            rates=Rates(ALLOWANCES),
            on_empty=self._dispatcher.read_all,
            on_forbidden=self._manager.overreached,
        )

    def serve(self) -> None:
        """Listen, and return when `stop` was called."""
        try:
            forget = self._settings.lost_secrets == "forget"
            self._keyring.settle(self._storage, forget=forget)
            self._first_start()
            self._roster.load(self._storage.all_agents().wait(), self._storage.webs.keys().wait())
            self._groups.load()
            self._live.held = self._storage.held().wait()
            self._dispatcher.load()
            _spare_the_collector()
            sys.setswitchinterval(TURN_S)
            port = self._listen()
            loops = gevent.pool.Group()
            for loop in (
                self._tick,
                self._sweep,
                self._touch,
                self._forget,
                self._save_used,
                self._scheduler.run,
                self._planner.run,
                self._post.run,
                self._dispatcher.queues.run,
                self._dispatcher.filler.run,
            ):
                loops.spawn(loop)
            self._probe(port)
            write_private(self._directory / "port", f"{port}\n".encode())
            log.info(f"master listens on {self._settings.bind}:{port}, {len(self._roster)} agents")
            self._stopping.wait()
            loops.kill()
            self._save_seen()
            self._gate.save_used()
        finally:
            (self._directory / "port").unlink(missing_ok=True)
            self._server.stop()
            self._storage.close()
        log.info("master stopped; agents keep running scripts and come back")

    def stop(self) -> None:
        self._stopping.set()

    def _join_string(self, token: str, agent: str | None) -> str:
        """Of a join token that was made while this master runs."""
        host, port = advertised(self._settings, self._port)
        return str(Join(host, port, self._keys.public, token, agent))

    # ---- starting

    def _first_start(self) -> None:
        """Make a token of an admin if there is none at all, and a code for the first person."""
        if not self._storage.people.is_any_token_there().wait():
            made = self._storage.people.make_token(
                "admin", "admin", act=audit.of_system("token.add")
            ).wait()
            write_private(self._directory / ADMIN_TOKEN, f"{made.secret}\n".encode())
            log.info(f"a token for programs lies in {self._directory / ADMIN_TOKEN}")
        setup_file.offer(self._storage.people, self._directory)

    def _listen(self) -> int:
        settings = self._settings
        try:
            port = self._server.bind(f"tcp://{_bracketed(settings.bind)}:{settings.port}")
        except OSError as error:
            raise StartError(
                f"cannot listen on {settings.bind}:{settings.port}: {error.strerror}; "
                "choose another with --bind or --port"
            ) from error
        self._server.start()
        self._port = port
        return port

    def _probe(self, port: int) -> None:
        """See for oneself that a key which is not known can do nothing but ask to register."""
        bind = self._settings.bind
        address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)  # compared  # nosec B104
        endpoint = f"tcp://{_bracketed(address)}:{port}"
        open_to_strangers = set(probe(endpoint, self._keys.public, self._server.names))
        allowed = {"sendmsg(register)", "sendmsg(reg)", "sendmsg(register_web)"}
        if not open_to_strangers <= allowed:
            raise StartError(
                f"a stranger may call {', '.join(sorted(open_to_strangers - allowed))}: "
                "this master does not serve"
            )
        log.info("probed: a key that is not known can only ask to register")

    # ---- what goes on beside the messages

    def _tick(self) -> None:
        while True:
            gevent.sleep(TICK_S)
            now = self._clock()
            self._attention.tick(now)
            self._dispatcher.end_overdue_polls()
            self._waiters.end_overdue()
            self._dispatcher.queues.catch_up()
            self._guarded(self._expire_and_lose)
            self._guarded(self._refuse_webs)

    def _expire_and_lose(self) -> None:
        self._storage.expire().wait(told=self._dispatcher.apply)
        self._storage.resume_due().wait(told=self._dispatcher.apply)
        attention = self._attention
        silence = self._storage.silence(
            attention.listening_since,
            attention.last_stall,
            lambda agent: self._roster.heard_at(agent, self._clock()),
        )
        silence.wait(told=self._dispatcher.apply)

    def _refuse_webs(self) -> None:
        """Those whose keys the command line has revoked, which waits until that holds."""
        webs = self._storage.webs
        keys = webs.to_refuse().wait()
        if keys:
            self._manager.refuse_webs(keys)
            webs.refused(keys).wait()

    def _touch(self) -> None:
        while True:
            gevent.sleep(TOUCH_S)
            self._guarded(self._save_seen)

    def _save_seen(self) -> None:
        seen = self._roster.seen_since_last()
        if seen:
            self._storage.touch(seen).wait()

    def _sweep(self) -> None:
        while True:
            gevent.sleep(SWEEP_S)
            self._guarded(self._dispatcher.load)

    def _forget(self) -> None:
        while True:
            gevent.sleep(FORGET_S)
            self._guarded(self._manager.refusals.turn)
            self._guarded(self._tell_end_of_audit)
            self._guarded(self._purger.round)
            self._guarded(self._forget_plans)
            self._guarded(self._forget_callbacks)

    def _forget_plans(self) -> None:
        """As old tasks are."""
        age_s = _keep(self._settings).age_s
        if age_s is not None:
            self._storage.plans.forget(self._clock() - age_s, PLANS_AT_ONCE).wait()

    def _forget_callbacks(self) -> None:
        age_s = self._settings.callback_log_days * DAY_S
        if age_s:
            self._post.forget(self._clock() - age_s)

    def _save_used(self) -> None:
        while True:
            gevent.sleep(USED_S)
            self._guarded(self._gate.save_used)

    def _tell_end_of_audit(self) -> None:
        """Into the log, which may be kept elsewhere: so it shows when an end was cut off."""
        now = self._clock()
        if now < self._told_end_at + HOUR_S:
            return
        last = self._storage.last_act().wait()
        self._told_end_at = now
        if last != self._told_end:
            self._told_end = last
            log.info(f"the audit log ends with {last}")

    def _guarded(self, work) -> None:  # type: ignore[no-untyped-def]
        """A store that fails for a while must not end a loop."""
        try:
            work()
        except Exception:
            log.exception("a periodic task failed; it is tried again")


def _spare_the_collector() -> None:
    """What was loaded stays; looking through it again and again cost milliseconds at a time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _keep(settings: Settings) -> Keep:
    return Keep(
        age_s=settings.keep_days * DAY_S or None,
        store_bytes=size_bytes(settings.keep_bytes) or None,
        items=settings.keep_items or None,
    )


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
