"""The rules of signing in with OpenID Connect: which issuers there are, what a browser is sent with, and
what an ID token must say (OpenID Connect Core 1.0, RFC 7636, RFC 9207)."""

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from ams_common.errors import PermissionDeniedError, UnauthenticatedError
from ams_common.formats import SLUG

# Signatures only that a client can check and not make; "none" and HMAC are never among them.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")

_TENANT = "{tenantid}"
# Whose accounts are of any organization, and of no private person.
_ALL_TENANTS = "organizations"
_SCOPES = "openid email profile"
_DOMAIN = re.compile(r"([a-z0-9-]{1,63}\.)+[a-z0-9-]{2,63}")
_TENANT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAMES = frozenset(
    ("id", "label", "issuer", "client_id", "client_secret", "trusts_email", "tenants", "domains")
)
_MAX_SUBJECT_CHARACTERS = 255  # OpenID Connect Core, 2


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer that the deployment trusts to say who somebody is.

    `trusts_email`: every address that it names counts as verified, for issuers that vouch for all their
    addresses and don't say so in the token (Microsoft Entra ID with a single tenant).

    `url` may be Entra ID's for several tenants, with "{tenantid}" in the tenant's place: only `tenants` may
    sign in then. `domains`: only addresses in these are taken from the issuer; empty: all.
    """

    id: str
    label: str
    url: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    trusts_email: bool = False
    tenants: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()

    @property
    def discovery_url(self) -> str:
        """Where the issuer describes itself. Entra ID does so for all tenants at once."""
        return f"{self.url.replace(_TENANT, _ALL_TENANTS).rstrip('/')}/.well-known/openid-configuration"

    def issues_as(self, url: str) -> bool:
        """Whether tokens of this issuer, and of a tenant that may sign in, name `url` as theirs."""
        return url in self._urls

    @property
    def _urls(self) -> Sequence[str]:
        return [self.url.replace(_TENANT, tenant) for tenant in self.tenants] or [self.url]


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who somebody is, as an issuer says; `issuer_url` is that of their tenant where there are several."""

    issuer_url: str
    subject: str
    email: str
    name: str


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What binds one sign-in together: `state` to the browser, `nonce` to the ID token, `code_verifier` to
    whoever exchanges the code for tokens."""

    state: str
    nonce: str
    code_verifier: str

    @classmethod
    def new(cls) -> "AuthorizationRequest":
        """Each value has 256 random bits."""
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))


def parse_issuers(text: str) -> Sequence[Issuer]:
    """The setting's issuers. Raises ValueError, whose text goes on after the setting's name."""
    try:
        documents = json.loads(text)
        issuers = [_issuer(document) for document in documents]
    except (json.JSONDecodeError, AttributeError, TypeError, KeyError):
        raise ValueError(
            'must be JSON like [{"id": "google", "label": "Google", "issuer": "https://…", "client_id": "…"}]'
        ) from None
    if len({issuer.id for issuer in issuers}) != len(issuers):
        raise ValueError("has an id twice")
    return issuers


def _issuer(document: Mapping[str, Any]) -> Issuer:
    unknown = document.keys() - _NAMES
    if unknown:
        raise ValueError(f"has what no issuer has: {', '.join(sorted(unknown))}")
    issuer = Issuer(
        id=document["id"],
        label=document["label"],
        url=document["issuer"],
        client_id=document["client_id"],
        client_secret=document.get("client_secret", ""),
        trusts_email=document.get("trusts_email", False),
        tenants=_texts(document, "tenants"),
        domains=tuple(domain.lower() for domain in _texts(document, "domains")),
    )
    url = urlsplit(issuer.url)
    if not SLUG.fullmatch(issuer.id) or len(issuer.id) > 32:
        raise ValueError(f"has an id that isn't lower-case letters, digits and hyphens: {issuer.id}")
    if url.scheme not in ("https", "http") or not url.netloc or url.query or url.fragment:
        raise ValueError(f"has an issuer that is no https URL: {issuer.id}")
    if not isinstance(issuer.trusts_email, bool):
        raise ValueError(f"needs true or false as trusts_email: {issuer.id}")
    if not all(_DOMAIN.fullmatch(domain) for domain in issuer.domains):
        raise ValueError(f"has a domain that is none (like acme.example): {issuer.id}")
    if not issuer.label or not issuer.client_id:
        raise ValueError(f"needs a label and a client_id: {issuer.id}")
    if "/.well-known/" in issuer.url:
        raise ValueError(f"has the address of a document in place of the issuer's: {issuer.id}")
    _check_tenants(issuer)
    return issuer


def _check_tenants(issuer: Issuer) -> None:
    is_template = _TENANT in issuer.url
    # Entra ID's names for several tenants: no token ever names them as its issuer.
    url = urlsplit(issuer.url)
    if "microsoftonline" in url.netloc and url.path.split("/")[1] in ("common", _ALL_TENANTS, "consumers"):
        raise ValueError(f"must have {_TENANT} where several tenants sign in, and list them: {issuer.id}")
    if "{" in issuer.url.replace(_TENANT, ""):
        raise ValueError(f"may have no braces but {_TENANT} in an issuer: {issuer.id}")
    if is_template != bool(issuer.tenants):
        raise ValueError(
            f"must list tenants with an issuer that has {_TENANT}, and only with one: {issuer.id}"
        )
    if not all(_TENANT_ID.fullmatch(tenant) for tenant in issuer.tenants):
        raise ValueError(f"has a tenant that is no id of one (lower-case, 36 characters): {issuer.id}")
    # Whoever administers a tenant can give its people any address: without bounds, anybody's account here.
    if is_template and issuer.trusts_email and not issuer.domains:
        raise ValueError(f"must list the domains that tenants are trusted with: {issuer.id}")


def _texts(document: Mapping[str, Any], name: str) -> tuple[str, ...]:
    texts = document.get(name, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise ValueError(f"needs a list of texts as {name}")
    return tuple(texts)


def authorization_url(endpoint: str, issuer: Issuer, redirect_uri: str, request: AuthorizationRequest) -> str:
    """The URL at which the issuer signs somebody in and sends the browser back to `redirect_uri`."""
    challenge = hashlib.sha256(request.code_verifier.encode()).digest()
    parameters = {
        "response_type": "code",
        "client_id": issuer.client_id,
        "redirect_uri": redirect_uri,
        "scope": _SCOPES,
        "state": request.state,
        "nonce": request.nonce,
        "code_challenge": base64.urlsafe_b64encode(challenge).decode().rstrip("="),
        "code_challenge_method": "S256",
    }
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(parameters)}"


def check_id_token(claims: Mapping[str, Any], issuer: Issuer, nonce: str) -> str:
    """The subject of a token whose signature, issuer, audience and times are good.

    Raises UnauthenticatedError for another sign-in's token, and for one that is made out to several and
    wasn't asked for by us.
    """
    given = claims.get("nonce")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
        raise sign_in_refused()
    audience = claims.get("aud")
    is_shared = isinstance(audience, list) and len(audience) > 1
    if (is_shared or "azp" in claims) and claims.get("azp") != issuer.client_id:
        raise sign_in_refused()
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT_CHARACTERS:
        raise sign_in_refused()
    return subject


def claimant(issuer_url: str, subject: str, claims: Mapping[str, Any], issuer: Issuer) -> Claimant:
    """Who the claims say it is. Raises PermissionDeniedError when the issuer hasn't verified the address, or
    may not speak for it."""
    email, name = claims.get("email"), claims.get("name")
    # Some issuers write the boolean as text.
    is_verified = claims.get("email_verified") in (True, "true") or issuer.trusts_email
    if not isinstance(email, str) or not email or not is_verified:
        raise PermissionDeniedError(
            "email_not_verified",
            f"{issuer.label} hasn't told us an address of yours that it has verified."
            " Sign in with a mailed code instead.",
        )
    if issuer.domains and email.rpartition("@")[2].lower() not in issuer.domains:
        raise PermissionDeniedError(
            "email_domain_refused",
            f"{issuer.label} can't be used here for an address like yours. Sign in with a mailed code.",
        )
    return Claimant(issuer_url, subject, email, name if isinstance(name, str) else "")


def sign_in_refused() -> UnauthenticatedError:
    """One answer for whatever is wrong with a code or a token: guessing learns nothing from it."""
    return UnauthenticatedError("sign_in_refused", "This sign-in could not be verified. Try again.")
