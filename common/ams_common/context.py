"""What is known of the call being served: its request id, who calls, and the RPC's rule."""

import re
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from ams.policy.v1.policy_pb2 import Role, Rule

from ams_common.errors import UnauthenticatedError
from ams_common.ids import uuid7

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: a person (user_id), a service (service), or nobody known (neither).

    `active_role` is the one of a person's roles that they chose to act in; it grants nothing by itself.
    `credential` is what the caller proved itself with, as the audit log names it: "session:<id>",
    "token:<id>" (a personal access token), "service", or "" for nobody known. `is_read_only`: it may change
    nothing. `generation` is that of the person's access tokens (see token_ends). `expires_at` is when the
    token that says all this ends, and with it every stream that it opened.
    """

    user_id: UUID | None = None
    roles: frozenset[Role.ValueType] = frozenset()
    service: str | None = None
    active_role: Role.ValueType = Role.ROLE_UNSPECIFIED
    credential: str = ""
    is_read_only: bool = False
    generation: int = field(default=0, compare=False)
    # Two tokens of one person say the same of them.
    expires_at: datetime | None = field(default=None, compare=False)

    @property
    def actor(self) -> str:
        """How the audit log names the caller; "" for somebody not signed in."""
        if self.service is not None:
            return f"service:{self.service}"
        return str(self.user_id) if self.user_id is not None else ""


ANONYMOUS = Caller()


@dataclass(frozen=True, slots=True)
class Client:
    """Where a person is: the address as the outermost trusted proxy saw it, and what the browser or program
    calls itself. `voucher` is the service token of the HTTP edge that says so, for whom it asks."""

    address: str = ""
    device: str = ""
    voucher: str = field(default="", repr=False, compare=False)


NO_CLIENT = Client()


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The RPC or HTTP request being served: who calls, and what its rule says.

    `client` is where the person is that asked for it, in whichever process; nowhere for what no person did.
    """

    request_id: str
    caller: Caller = ANONYMOUS
    rule: Rule = field(default_factory=Rule)
    client: Client = NO_CLIENT


request_context: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)


def current_request_id() -> str:
    """The request id of the call being served; "" outside of any."""
    call = request_context.get()
    return call.request_id if call is not None else ""


def current_caller() -> Caller:
    """Who calls the RPC being served; nobody outside of any."""
    call = request_context.get()
    return call.caller if call is not None else ANONYMOUS


def current_client_address() -> str:
    """The address of the person who asked for the RPC being served; "" for what no person asked for."""
    call = request_context.get()
    return call.client.address if call is not None else ""


def current_client_device() -> str:
    """What that person's browser or program calls itself (User-Agent); "" where that isn't known."""
    call = request_context.get()
    return call.client.device if call is not None else ""


def current_user_id() -> UUID:
    """The id of the person who calls. Raises UnauthenticatedError when it isn't a person."""
    user_id = current_caller().user_id
    if user_id is None:
        raise UnauthenticatedError("sign_in_required", "Sign in to do this.")
    return user_id


def request_id_or_new(text: str | None) -> str:
    """The caller's request id when it is a harmless one, else a new one."""
    return text if text and _REQUEST_ID.fullmatch(text) else uuid7().hex
