"""Signing in as docker does: `/v2/` challenges, `/token` gives a short-lived access token."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs, quote

from ams_common.clock import utc_now
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from registry_svc.auth.access_tokens import (
    TTL,
    Access,
    AccessTokenError,
    AccessTokens,
    parse_scopes,
)
from registry_svc.auth.authorizer import Gatekeeper
from registry_svc.oci.errors import OciError
from registry_svc.oci.streams import read_bounded

_MAX_CREDENTIALS = 4096
_MAX_FORM_BYTES = 16 * 1024  # with as many scopes as there may be


class Door:
    """Reads the access tokens of requests, and gives them out."""

    def __init__(self, gatekeeper: Gatekeeper, tokens: AccessTokens, public_url: str) -> None:
        self.gatekeeper = gatekeeper
        self._tokens = tokens
        self._realm = f"{public_url.rstrip('/')}/token"

    async def token(self, request: Request) -> Response:
        """GET /token, with the push token or API key as the password of Basic authentication; or POST, with
        it in an OAuth2 form, as containerd tries first."""
        if request.method == "POST":
            form = await _form(request)
            if form.get("grant_type") != ["password"]:
                return _no_such_grant()
            return await self._token("".join(form.get("password", [])[:1]), form.get("scope", []))
        return await self._token(_password(request), request.query_params.getlist("scope"))

    async def _token(self, password: str, scopes: Sequence[str]) -> Response:
        principal = await self.gatekeeper.sign_in(password)
        grants = await self.gatekeeper.decide(principal, parse_scopes(scopes))
        now = utc_now()
        token = self._tokens.sign(principal.credential, grants, now)
        answer = {
            "token": token,
            "access_token": token,
            "expires_in": int(TTL.total_seconds()),
            "issued_at": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})

    async def version(self, request: Request) -> Response:
        """GET /v2/: what clients ask first, to learn how to sign in."""
        self.access(request)
        return JSONResponse({})

    async def catalogue(self, request: Request) -> Response:
        """GET /v2/_catalog: nobody's."""
        self.access(request)
        raise OciError("DENIED", "There is no catalogue here: look for images in AMS.")

    def require(self, request: Request, name: str, action: str) -> Access:
        """The request's access token, which allows the action. Raises OciError: UNAUTHORIZED with a
        challenge, or DENIED with the reason that was found at the sign-in."""
        access = self.access(request, f"repository:{name}:{_asked(action)}")
        if not access.allows(name, action):
            grant = access.on(name)
            if grant is not None and grant.refusal:
                raise OciError("DENIED", grant.refusal)
            raise self._challenge(
                "This needs another sign-in.", f"repository:{name}:{_asked(action)}", "insufficient_scope"
            )
        return access

    def access(self, request: Request, scope: str = "") -> Access:
        """What the request's access token says. Raises OciError UNAUTHORIZED, which asks for `scope`."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise self._challenge("Sign in first.", scope, "")
        try:
            return self._tokens.read(token)
        except AccessTokenError as error:
            raise self._challenge(str(error), scope, "invalid_token") from None

    def _challenge(self, message: str, scope: str, error: str) -> OciError:
        parts = {"realm": self._realm, "service": self._tokens.service, "scope": scope, "error": error}
        challenge = ",".join(f'{name}="{value}"' for name, value in parts.items() if value)
        return OciError("UNAUTHORIZED", message, {"WWW-Authenticate": f"Bearer {challenge}"})


def _asked(action: str) -> str:
    """What a client should ask for: who pushes looks first what is there."""
    return "pull,push" if action == "push" else quote(action)


async def _form(request: Request) -> Mapping[str, Sequence[str]]:
    """The fields of an OAuth2 form; none when it is no form, or too large for one."""
    body = await read_bounded(request, _MAX_FORM_BYTES)
    try:
        return parse_qs(body.decode(), max_num_fields=50)
    except ValueError:
        return {}


def _no_such_grant() -> Response:
    """In the words of RFC 6749: nobody has a refresh token of ours."""
    answer = {
        "error": "unsupported_grant_type",
        "error_description": "Sign in with grant_type=password: there are no refresh tokens here.",
    }
    return JSONResponse(answer, 400, headers={"Cache-Control": "no-store"})


def _password(request: Request) -> str:
    """Raises OciError UNAUTHORIZED: nobody gets a token without credentials."""
    refusal = OciError(
        "UNAUTHORIZED",
        "Sign in with a push token or an API key of AMS as the password.",
        {"WWW-Authenticate": 'Basic realm="ams"'},
    )
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic" or len(encoded) > _MAX_CREDENTIALS:
        raise refusal
    try:
        _, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        raise refusal from None
    if not colon or not password:
        raise refusal
    return password
