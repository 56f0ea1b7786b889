"""The session of the browser that a request comes from, from loading it to what the answer has to keep."""

from collections.abc import Mapping
from typing import Any

from ams.identity.v1 import identity_service_pb2 as pb
from ams.policy.v1.policy_pb2 import Role

from ams_bff.http.renewal import Renewal
from ams_bff.http.sessions import Flash, Person, Session, SessionStore, new_session


class BrowserSession:
    """Nobody's until it is loaded. Whatever has to be kept for a browser without a session begins one.

    Every coroutine raises UnavailableError when Redis is down.
    """

    def __init__(self, store: SessionStore, renewal: Renewal) -> None:
        self._store = store
        self._renewal = renewal
        self._session: Session | None = None
        # Whether the browser has to be given a cookie, because it has none or another session's.
        self.is_cookie_due = False
        # What identity-svc will know the browser by, from a sign-in of this request; "" for none.
        self.device_token = ""

    async def load(self, cookie: str | None) -> None:
        """Go on with the session of the browser's cookie, if that names one."""
        self._session = await self._store.load(cookie)

    def leave(self) -> None:
        """Serve the rest of the request as nobody's; the session itself goes on."""
        self._session = None

    @property
    def exists(self) -> bool:
        """Whether the browser has a session, of somebody signed in or not."""
        return self._session is not None

    @property
    def person(self) -> Person | None:
        return self._session.person if self._session is not None else None

    @property
    def notes(self) -> Mapping[str, Any]:
        """What was kept for this browser between two forms."""
        return self._session.notes if self._session is not None else {}

    @property
    def refresh_token(self) -> str | None:
        """The token with which identity-svc knows the session."""
        tokens = self._session.tokens if self._session is not None else None
        return tokens.refresh_token if tokens is not None else None

    @property
    def secret(self) -> str:
        return self._begun().secret

    @property
    def csrf_token(self) -> str:
        """What every form of this browser's pages carries."""
        return self._begun().csrf_token

    async def access_token(self, refused: str | None = None) -> str | None:
        """The token for calls as the person signed in, None for nobody; another one than that which was
        `refused`. Raises AppError."""
        if self._session is None:
            return None
        return await self._renewal.access_token(self._session, refused)

    async def sign_in(self, answer: pb.Session) -> None:
        """Hold the session that identity-svc has given out, under a new cookie."""
        self._session = await self._store.begin(self._begun(), answer)
        self.device_token = answer.device_token
        self.is_cookie_due = True

    async def end(self) -> None:
        """End it here, without a word to identity-svc."""
        if self._session is not None:
            await self._store.end(self._session)
        self._session = new_session()
        self.is_cookie_due = True

    async def reload(self) -> None:
        """See what has become of it meanwhile: for a request that lasts."""
        await self.load(self.secret)

    async def renew(self) -> None:
        """Go on with a new access token: what it says of the person has changed."""
        tokens = self._begun().tokens
        if tokens is not None:
            await self.access_token(tokens.access_token)

    async def act_as(self, role: Role.ValueType) -> None:
        """Raises PermissionDeniedError when the person doesn't hold the role."""
        await self._renewal.act_as(self._begun(), role)

    async def refresh(self) -> None:
        """See what has become of the person meanwhile: a new name, say."""
        if self._session is not None and self._session.tokens is not None:
            await self._renewal.access_token(self._session, refused=self._session.tokens.access_token)

    async def keep_notes(self, notes: Mapping[str, Any]) -> None:
        """Replaces `notes`, for half an hour."""
        await self._store.keep_notes(self._begun(), notes)

    async def keep_dance(self, state: str, dance: Mapping[str, str]) -> None:
        """Remember what has to come back with `state` from an issuer."""
        await self._store.keep_dance(self._begun(), state, dance)

    async def take_dance(self, state: str) -> Mapping[str, str] | None:
        """What was kept for the state, once; None for one that isn't this browser's."""
        return await self._store.take_dance(self._session, state) if self._session is not None else None

    async def add_flash(self, flash: Flash) -> None:
        """Have the next page say something."""
        await self._store.add_flash(self._begun(), flash)

    async def take_flashes(self) -> tuple[Flash, ...]:
        """What this page has to say; each is taken once."""
        return await self._store.take_flashes(self._session) if self._session is not None else ()

    def _begun(self) -> Session:
        if self._session is None:
            self._session = new_session()
            self.is_cookie_due = True
        return self._session
