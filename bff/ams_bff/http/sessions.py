"""Sessions in Redis, under an opaque cookie of 256 bits.

A visitor who hasn't signed in has a session too, of which nothing lies in Redis until something has to be
kept. Redis knows a session by the hash of its cookie, so that a look into Redis gives nobody a cookie; and
what it holds is sealed, so that it gives nobody a token either.
"""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from ams.identity.v1 import identity_service_pb2 as pb
from ams.policy.v1.policy_pb2 import CONSUMER, MERCHANT, Role
from ams_common.access import is_stopped
from ams_common.errors import UnavailableError
from ams_common.redis_client import RedisClient
from ams_common.sealing import Sealer, SealingError
from redis.exceptions import LockError, RedisError

# As long as identity-svc lets any session last; it is the one that ends them.
IDLE_S = 30 * 24 * 3600

_NOTES_S = 30 * 60
_FLASHES_S = 3600
# A renewal is one call to identity-svc; whoever waits for longer has lost its holder.
_LOCK_S, _LOCK_WAIT_S, _LOCK_POLL_S = 15.0, 10.0, 0.02
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Person:
    """Who is signed in, as identity-svc last said."""

    user_id: str
    email: str
    name: str
    roles: tuple[Role.ValueType, ...]
    active_role: Role.ValueType
    # Those in which an admin has stopped the account: a suspended merchant's, a blocked consumer's.
    closed_roles: tuple[Role.ValueType, ...] = ()
    # It holds the admin role, and can't act in it until it has a second factor.
    needs_second_factor: bool = False
    # Where the picture is; "": initials stand for it.
    avatar_url: str = ""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens that identity-svc has given out for the session."""

    access_token: str
    expires_at_s: float
    refresh_token: str


@dataclass(frozen=True, slots=True)
class Flash:
    """What the next page says at its edge, and what can be done about it."""

    text: str
    kind: str = "good"  # good, bad or plain
    action: str = ""  # the button's label
    action_url: str = ""  # where it posts to


@dataclass(slots=True)
class Session:
    """One browser's. `secret` is the cookie's value; `notes` is what is kept between forms."""

    secret: str
    person: Person | None = None
    tokens: Tokens | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    flashes: tuple[Flash, ...] = ()

    @property
    def csrf_token(self) -> str:
        """Known only to pages of this session: nobody can work it out without the cookie."""
        return hmac.new(self.secret.encode(), b"ams csrf", hashlib.sha256).hexdigest()

    def adopt(self, answer: pb.Session) -> None:
        """Hold what identity-svc has given out."""
        user = answer.user
        self.person = Person(
            user.user_id,
            user.email,
            user.name,
            tuple(user.roles),
            user.active_role,
            tuple(_closed_roles(user)),
            user.needs_second_factor,
            user.avatar_url,
        )
        expires_at_s = answer.access_token_expires_at.ToMilliseconds() / 1000
        self.tokens = Tokens(answer.access_token, expires_at_s, answer.refresh_token)


def _closed_roles(user: pb.User) -> Iterator[Role.ValueType]:
    if is_stopped(user.merchant_standing):
        yield MERCHANT
    if is_stopped(user.consumer_standing):
        yield CONSUMER


def new_session() -> Session:
    """A session that nobody has signed in to, and of which nothing is stored."""
    return Session(secrets.token_urlsafe(32))


class SessionStore:
    """Every method raises UnavailableError when Redis is down."""

    def __init__(self, redis: RedisClient, sealer: Sealer) -> None:
        """`redis` answers with text."""
        self._redis = redis
        self._sealer = sealer

    async def load(self, cookie: str | None) -> Session | None:
        """The session of a cookie; None for what can't be one of ours."""
        if cookie is None or not _SECRET.fullmatch(cookie):
            return None
        with _redis_faults():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.getex(_redis_key(cookie), ex=IDLE_S)
            pipeline.get(_redis_key(cookie, "notes"))
            pipeline.lrange(_redis_key(cookie, "flashes"), 0, -1)
            kept, notes, flashes = await pipeline.execute()
        session = Session(cookie, notes=self._unsealed(notes) or {})
        session.flashes = tuple(Flash(**json.loads(flash)) for flash in flashes)
        if (document := self._unsealed(kept)) is not None:
            session.person, session.tokens = _person(document["person"]), Tokens(**document["tokens"])
        return session

    async def begin(self, session: Session, answer: pb.Session) -> Session:
        """A new session, under a new cookie, for who has signed in; the old one ends."""
        fresh = new_session()
        fresh.adopt(answer)
        with _redis_faults():
            await self._redis.set(_redis_key(fresh.secret), self._sealed(_document(fresh)), ex=IDLE_S)
        await self.end(session)
        return fresh

    async def update(self, session: Session) -> None:
        """Keep new tokens, unless the session has ended meanwhile."""
        with _redis_faults():
            await self._redis.set(
                _redis_key(session.secret), self._sealed(_document(session)), ex=IDLE_S, xx=True
            )

    async def end(self, session: Session) -> None:
        """Delete all that is stored of it."""
        names = [_redis_key(session.secret, part) for part in ("", "notes", "flashes")]
        with _redis_faults():
            await self._redis.delete(*names)

    async def keep_notes(self, session: Session, notes: Mapping[str, Any]) -> None:
        """Replace the notes; they are kept for half an hour."""
        session.notes = notes
        with _redis_faults():
            await self._redis.set(_redis_key(session.secret, "notes"), self._sealed(notes), ex=_NOTES_S)

    async def keep_dance(self, session: Session, state: str, dance: Mapping[str, str]) -> None:
        """What has to come back with `state` from an issuer, for half an hour: each tab has its own."""
        name = _redis_key(session.secret, f"dance:{_digest(state)}")
        with _redis_faults():
            await self._redis.set(name, self._sealed(dance), ex=_NOTES_S)

    async def take_dance(self, session: Session, state: str) -> Mapping[str, str] | None:
        """What was kept for the state, once; None for one that isn't this browser's."""
        with _redis_faults():
            kept = await self._redis.getdel(_redis_key(session.secret, f"dance:{_digest(state)}"))
        return self._unsealed(str(kept) if kept else None)

    async def add_flash(self, session: Session, flash: Flash) -> None:
        """Keep it for the next page."""
        name = _redis_key(session.secret, "flashes")
        with _redis_faults():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.rpush(name, json.dumps(asdict(flash)))
            pipeline.expire(name, _FLASHES_S)
            await pipeline.execute()

    async def take_flashes(self, session: Session) -> tuple[Flash, ...]:
        """Those that were there at load(); each is taken once."""
        taken, session.flashes = session.flashes, ()
        if taken:
            # When Redis has gone meanwhile they are shown twice: no page is lost for that, least of all one
            # with a secret that can't be shown again.
            with suppress(RedisError):
                await self._redis.ltrim(_redis_key(session.secret, "flashes"), len(taken), -1)
        return taken

    @asynccontextmanager
    async def lock(self, session: Session) -> AsyncIterator[None]:
        """Held by one at a time, among all processes."""
        name = _redis_key(session.secret, "lock")
        lock = self._redis.lock(name, timeout=_LOCK_S, blocking_timeout=_LOCK_WAIT_S, sleep=_LOCK_POLL_S)
        with _redis_faults():
            if not await lock.acquire():
                raise _unavailable()
        try:
            yield
        finally:
            # The lock may have run out while it was held: nobody is helped by failing now.
            with _redis_faults(), suppress(LockError):
                await lock.release()

    def _sealed(self, document: Mapping[str, Any]) -> str:
        return self._sealer.seal(json.dumps(document).encode()).decode()

    def _unsealed(self, text: str | None) -> dict[str, Any] | None:
        """What was sealed; None for nothing, and for what none of our keys opens: a new session begins."""
        try:
            document: dict[str, Any] | None = json.loads(self._sealer.unseal(text.encode())) if text else None
        except SealingError:
            return None
        return document


def _redis_key(secret: str, part: str = "") -> str:
    return f"ams:session:{{{_digest(secret)}}}" + (f":{part}" if part else "")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _document(session: Session) -> Mapping[str, Any]:
    assert session.person is not None
    assert session.tokens is not None
    return {"person": asdict(session.person), "tokens": asdict(session.tokens)}


def _person(fields: dict[str, Any]) -> Person:
    return Person(**fields | {name: tuple(fields.get(name, ())) for name in ("roles", "closed_roles")})


def _unavailable() -> UnavailableError:
    return UnavailableError("sessions_unavailable", "Your session can't be reached. Try again shortly.")


@contextmanager
def _redis_faults() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise _unavailable() from error
