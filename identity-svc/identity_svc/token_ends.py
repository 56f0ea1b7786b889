"""Ending access tokens before their time: with a session or a personal access token, or because what they
say of a person has changed.

Each is written down and published in the caller's transaction, which should end soon after: whoever ends
tokens meanwhile waits for it. Whoever ends several locks the person's row first, then its sessions by their
ids, and the versions last.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from ams_common import topics
from ams_common.database import Change

from identity_svc.session_store import SessionStore
from identity_svc.store import Store


async def end_session(change: Change[Store], session_id: UUID, user_id: UUID, now: datetime) -> bool:
    """Ends a session of the person and all of its access tokens. False: it was none, or had ended."""
    sessions = SessionStore(change.connection)
    if not await sessions.end_session(session_id=session_id, user_id=user_id, now=now):
        return False
    await end_credential(change, f"session:{session_id}", user_id, now)
    return True


async def end_sessions(
    change: Change[Store], user_id: UUID, now: datetime, except_session_id: UUID | None = None
) -> Sequence[UUID]:
    """Ends all sessions of the person but one, and their access tokens."""
    sessions = SessionStore(change.connection)
    ended = await sessions.end_sessions(user_id=user_id, now=now, except_session_id=except_session_id)
    for session_id in ended:
        await end_credential(change, f"session:{session_id}", user_id, now)
    return ended


async def end_everything(change: Change[Store], user_id: UUID, now: datetime) -> None:
    """Ends all sessions of the person, and all access tokens, those of personal access tokens too."""
    sessions = SessionStore(change.connection)
    generation = await sessions.raise_generation(user_id=user_id)
    await end_sessions(change, user_id, now)
    await _end(change, user_id, now, credential=None, user_id=user_id, generation=generation)


async def end_credential(change: Change[Store], credential: str, user_id: UUID, now: datetime) -> None:
    """Ends all access tokens of a credential, "session:<id>" or "token:<id>", for good."""
    await _end(change, user_id, now, credential=credential, user_id=None, generation=None)


async def renew_tokens(change: Change[Store], user_id: UUID, now: datetime) -> None:
    """Ends all access tokens that the person has now: what they say has changed. Sessions and personal access
    tokens go on, with new ones."""
    sessions = SessionStore(change.connection)
    generation = await sessions.raise_generation(user_id=user_id)
    await _end(change, user_id, now, credential=None, user_id=user_id, generation=generation)


async def _end(change: Change[Store], key: UUID, now: datetime, **tokens: object) -> None:
    sessions = SessionStore(change.connection)
    # A statement of its own: in one, the version might be drawn before the lock is had.
    await sessions.lock_versions()
    end = await sessions.insert_token_end(now=now, **tokens)
    assert end is not None, "an INSERT without a conflict returns its row"
    change.publish(topics.TOKEN_ENDS, str(key), end)
