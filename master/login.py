"""How do people come in? By name and password, or the first time by a code.

Attempts are slowed down before anything is looked up or hashed, so that a flood costs nothing.
"""

from master.audit import Act
from master.passwords import Passwords
from master.people import Account
from master.people_store import PeopleStore
from master.person_rules import check_name, check_password, looks_like_name, name_key
from master.sessions import REFUSED, Opened, Span
from master.throttle import Throttle
from utils import getLogger
from wire.errors import InvalidValue, Unauthenticated
from wire.people import MAX_PASSWORD, LogIn, SetUp

log = getLogger(__name__)


class Login:
    """Opens sessions; each call blocks its greenlet for as long as argon2 takes."""

    def __init__(self, people: PeopleStore, passwords: Passwords, throttle: Throttle, span: Span):
        self._people = people
        self._passwords = passwords
        self._throttle = throttle
        self._span = span

    def by_password(self, asked: LogIn, act: Act) -> Opened:
        """Raises Unauthenticated (always the same sentence), TooManyAttempts, Busy."""
        if not looks_like_name(asked.name) or len(asked.password) > MAX_PASSWORD:
            raise Unauthenticated(REFUSED)  # of nobody here, and no guess at anybody's
        with self._throttle.attempt(name_key(asked.name), asked.auth.address):
            return self._open(asked, act)

    def _open(self, asked: LogIn, act: Act) -> Opened:
        account = self._people.account_by_name(asked.name).wait()
        fits = self._passwords.fits(account.password if account else None, asked.password)
        if account is None or not fits or account.disabled:
            if account is not None:  # what is typed as a name may be a password: it is not logged
                log.warning(f"a log-in as {account.name} from {asked.auth.address} was refused")
            raise Unauthenticated(REFUSED)
        rehashed = None
        if self._passwords.outdated(account.password):
            rehashed = self._passwords.hash(asked.password)
        opened = self._people.log_in(
            account, rehashed, asked.auth.address, asked.auth.token, self._span, act
        ).wait()
        log.info(f"{account.name} logged in from {asked.auth.address}")
        return opened

    def by_code(self, asked: SetUp, act: Act) -> Opened:
        """Raises Unauthenticated (not the code), InvalidValue, TooManyAttempts, Busy."""
        with self._throttle.attempt(None, asked.auth.address):
            self._people.check_setup_code(asked.code).wait()
            check_name(asked.name)
            check_password(asked.password, asked.name)
            password = self._passwords.hash(asked.password)
            opened = self._people.set_up(
                asked.code,
                asked.name,
                password,
                asked.auth.address,
                asked.auth.token,
                self._span,
                act,
            ).wait()
        log.warning(f"{asked.name} is an admin by the setup code, from {asked.auth.address}")
        return opened

    def check(self, account: Account, password: str, address: str) -> None:
        """Is it the person's password? InvalidValue if not; slowed down as a log-in is."""
        try:
            with self._throttle.attempt(name_key(account.name), address):
                if len(password) > MAX_PASSWORD:
                    raise Unauthenticated
                if not self._passwords.fits(account.password, password):
                    raise Unauthenticated
        except Unauthenticated:  # the session is good: who mistypes is not to be logged out
            raise InvalidValue("old is not your password", field="old") from None
