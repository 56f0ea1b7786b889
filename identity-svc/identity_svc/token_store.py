"""The queries of tokens.sql."""

from uuid import UUID

from ams_common.queries import QueryStore, maybe_value, one, page, run, value

from identity_svc.messages import personal_token_message
from identity_svc.records import GoodToken


class TokenStore(QueryStore, package="identity_svc", file="tokens.sql"):
    """Personal access tokens."""

    lock_user = maybe_value(UUID)
    count_good_tokens = value(int)
    insert_token = one(personal_token_message)
    list_tokens = page(personal_token_message)
    find_token = one(personal_token_message)
    revoke_token = run()
    find_good_token = one(GoodToken)
    use_token = run()
