"""Passkeys (WebAuthn): what browsers are asked with, and whether their answers are good."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

import webauthn
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from identity_svc.records import StoredPasskey


@dataclass(frozen=True, slots=True)
class NewPasskey:
    """A passkey that a browser has made."""

    credential_id: bytes
    public_key: bytes
    sign_count: int


class RelyingParty:
    """AMS as passkeys know it: by the host of its public URL, or "localhost" where that is an address, which
    can't have any."""

    def __init__(self, public_url: str) -> None:
        url = urlsplit(public_url)
        self._id, self._origins = url.hostname or "localhost", [f"{url.scheme}://{url.netloc}"]
        if _is_address(self._id):
            port = f":{url.port}" if url.port else ""
            self._id = "localhost"
            self._origins.append(f"{url.scheme}://localhost{port}")

    def creation_options(
        self, user_id: UUID, email: str, name: str, passkeys: Sequence[StoredPasskey]
    ) -> tuple[str, bytes]:
        """PublicKeyCredentialCreationOptions as JSON, and their challenge. Authenticators that hold one of
        the person's passkeys make no second one."""
        options = webauthn.generate_registration_options(
            rp_id=self._id,
            rp_name="AMS",
            user_id=user_id.bytes,
            user_name=email,
            user_display_name=name,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.PREFERRED,
                user_verification=UserVerificationRequirement.PREFERRED,
            ),
            exclude_credentials=_descriptors(passkeys),
        )
        return webauthn.options_to_json(options), options.challenge

    def made(self, passkey_json: str, challenge: bytes) -> NewPasskey | None:
        """The passkey that a browser has made for the challenge; None for what isn't one."""
        try:
            verified = webauthn.verify_registration_response(
                credential=passkey_json,
                expected_challenge=challenge,
                expected_rp_id=self._id,
                expected_origin=self._origins,
            )
        except (WebAuthnException, ValueError):
            return None
        return NewPasskey(verified.credential_id, verified.credential_public_key, verified.sign_count)

    def request_options(self, passkeys: Sequence[StoredPasskey]) -> tuple[str, bytes]:
        """PublicKeyCredentialRequestOptions as JSON ("" without passkeys), and their challenge."""
        options = webauthn.generate_authentication_options(
            rp_id=self._id, allow_credentials=_descriptors(passkeys)
        )
        return (webauthn.options_to_json(options) if passkeys else ""), options.challenge

    def used(
        self, passkey_json: str, challenge: bytes, passkeys: Sequence[StoredPasskey]
    ) -> tuple[StoredPasskey, int] | None:
        """Which of the passkeys has answered the challenge, and its new count of signatures, or None."""
        try:
            given = webauthn.helpers.parse_authentication_credential_json(passkey_json)
            passkey = next((one for one in passkeys if one.credential_id == given.raw_id), None)
            if passkey is None:
                return None
            verified = webauthn.verify_authentication_response(
                credential=given,
                expected_challenge=challenge,
                expected_rp_id=self._id,
                expected_origin=self._origins,
                credential_public_key=passkey.public_key,
                credential_current_sign_count=passkey.sign_count,
            )
        except (WebAuthnException, ValueError):
            return None
        return passkey, verified.new_sign_count


def _descriptors(passkeys: Sequence[StoredPasskey]) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=passkey.credential_id) for passkey in passkeys]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
