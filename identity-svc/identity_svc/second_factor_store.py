"""The queries of second_factors.sql."""

from datetime import datetime
from uuid import UUID

from ams_common.queries import QueryStore, many, maybe_value, one, run

from identity_svc.records import FactorChallenge, Factors, StoredPasskey, Totp


class SecondFactorStore(QueryStore, package="identity_svc", file="second_factors.sql"):
    """Passkeys, secrets of authenticator apps, recovery codes, and what asks for them."""

    list_passkeys = many(StoredPasskey)
    insert_passkey = run()
    use_passkey = run()
    delete_passkey = maybe_value(str)
    find_totp = one(Totp)
    put_totp = run()
    use_totp = run()
    delete_totp = run()
    insert_recovery_codes = run()
    delete_recovery_codes = run()
    use_recovery_code = run()
    find_factors = one(Factors)
    lock_user = maybe_value(UUID)
    insert_factor_challenge = run()
    spend_factor_attempt = one(FactorChallenge)
    use_factor_challenge = run()
    prove_session = run()
    proven_at = maybe_value(datetime)
