"""The queries of sign_in.sql."""

from ams_common.queries import QueryStore, many, one, page, run, value

from identity_svc.messages import sign_in_tries_message
from identity_svc.records import OpenCode, SpentAllowance


class SignInStore(QueryStore, package="identity_svc", file="sign_in.sql"):
    """Codes, what may be asked and guessed, and how often it was tried."""

    spend_allowances = many(SpentAllowance)
    is_touched = value(bool)
    give_back_allowance = run()
    insert_code = run()
    find_open_code = one(OpenCode)
    use_code = run()
    count_tries = run()
    list_tries = page(sign_in_tries_message)
