"""The queries of sessions.sql."""

from uuid import UUID

from ams_common.queries import QueryStore, column, many, one, page, run, value

from identity_svc.messages import token_end_message
from identity_svc.records import ListedSession


class SessionStore(QueryStore, package="identity_svc", file="sessions.sql"):
    """Where somebody is signed in, and access tokens that end before their time."""

    list_sessions = page(ListedSession)
    end_session = run()
    end_sessions = column(UUID)
    raise_generation = value(int)
    lock_versions = run()
    insert_token_end = one(token_end_message)
    list_token_ends = many(token_end_message)
