"""Signing in as docker does: /v2/ challenges, /token gives a short-lived access token."""

import base64
import binascii
from collections.abc import Sequence
from urllib.parse import parse_qs

from ams_common.clock import utc_now
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from registry_svc.auth.access_tokens import (
    PULL,
    PUSH,
    TTL,
    Access,
    AccessTokenError,
    AccessTokens,
    parse_scopes,
)
from registry_svc.auth.authorizer import PullPushAuthorizer
from registry_svc.auth.errors import PullDeniedError, PushDeniedError
from registry_svc.oci.errors import OciError
from registry_svc.oci.requests import read_bounded

_MAX_CREDENTIALS = 4096
_MAX_FORM_BYTES = 16 * 1024  # with as many scopes as there may be


class TokenEndpoint:
    """Gives access tokens out, and reads those of requests."""

    def __init__(self, authorizer: PullPushAuthorizer, tokens: AccessTokens, public_url: str) -> None:
        self._authorizer = authorizer
        self._tokens = tokens
        self._realm = f"{public_url.rstrip('/')}/token"

    async def get_token(self, request: Request) -> Response:
        """GET /token, with the push token or API key as the password of Basic authentication."""
        return await self._token(_password(request), request.query_params.getlist("scope"))

    async def post_token(self, request: Request) -> Response:
        """POST /token, with the push token or API key in an OAuth2 form, as containerd tries first."""
        body = await read_bounded(request, _MAX_FORM_BYTES)
        try:
            form = parse_qs(body.decode(), max_num_fields=50)
        except ValueError:
            form = {}
        if form.get("grant_type") != ["password"]:
            # In the words of RFC 6749, which containerd reads.
            answer = {
                "error": "unsupported_grant_type",
                "error_description": "Sign in with grant_type=password: there are no refresh tokens here.",
            }
            return JSONResponse(answer, 400, headers={"Cache-Control": "no-store"})
        # A form without a password is told what one with a wrong password is.
        return await self._token("".join(form.get("password", [])[:1]), form.get("scope", []))

    async def _token(self, password: str, scopes: Sequence[str]) -> Response:
        principal = await self._authorizer.sign_in(password)
        grants = await self._authorizer.grant(principal, parse_scopes(scopes))
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

    async def catalog(self, request: Request) -> Response:
        """GET /v2/_catalog: refused to everybody, for nobody may see which images exist."""
        self.access(request)
        raise OciError("DENIED", "There is no catalogue here: look for images in AMS.")

    def require(self, request: Request, name: str, action: str) -> Access:
        """The request's access token, which allows the action.

        Raises PullDeniedError or PushDeniedError with the reason that was found at the sign-in, else OciError
        UNAUTHORIZED with a challenge.
        """
        # Who pushes looks first what is there.
        scope = f"repository:{name}:{'pull,push' if action == PUSH else action}"
        access = self.access(request, scope)
        if access.allows(name, action):
            return access
        grant = access.on(name)
        if grant is None or not grant.denial:
            raise self._challenge("This needs another sign-in.", scope, "insufficient_scope")
        if action == PULL:
            raise PullDeniedError(grant.denial, access)
        raise PushDeniedError(grant.denial)

    def access(self, request: Request, scope: str = "") -> Access:
        """Reads the request's access token. Raises OciError UNAUTHORIZED, which asks for `scope`."""
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


def _password(request: Request) -> str:
    """Reads the password of Basic authentication. Raises OciError UNAUTHORIZED: nobody gets a token
    without."""
    unauthorized = OciError(
        "UNAUTHORIZED",
        "Sign in with a push token or an API key of AMS as the password.",
        {"WWW-Authenticate": 'Basic realm="ams"'},
    )
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic" or len(encoded) > _MAX_CREDENTIALS:
        raise unauthorized
    try:
        _, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        raise unauthorized from None
    if not colon or not password:
        raise unauthorized
    return password
