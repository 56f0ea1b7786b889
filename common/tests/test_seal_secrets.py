"""What is sealed only the holder of the key reads, and keys can be replaced."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from ams_common.sealing import DEVELOPMENT_SEALING_KEYS, Sealer, SealingError
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@given(st.binary(max_size=300))
def test_what_was_sealed_comes_back_and_cannot_be_read_before(value: bytes) -> None:
    sealed = Sealer([OLD]).seal(value)
    assert Sealer([OLD]).unseal(sealed) == value
    assert len(value) < 8 or value not in sealed


def test_an_old_key_unseals_and_the_new_one_seals() -> None:
    both = Sealer([NEW, OLD])
    assert both.unseal(Sealer([OLD]).seal(b"secret")) == b"secret"
    assert Sealer([NEW]).unseal(both.seal(b"secret")) == b"secret"


def test_another_key_unseals_nothing() -> None:
    with pytest.raises(SealingError):
        Sealer([NEW]).unseal(Sealer([OLD]).seal(b"secret"))


@given(st.integers(min_value=0), st.integers(1, 255))
def test_what_was_changed_is_not_unsealed(place: int, difference: int) -> None:
    # The bytes and not their base64, whose last digit has bits that stand for nothing.
    sealed = bytearray(urlsafe_b64decode(Sealer([OLD]).seal(b"secret")))
    sealed[place % len(sealed)] ^= difference
    with pytest.raises(SealingError):
        Sealer([OLD]).unseal(urlsafe_b64encode(sealed))


@pytest.mark.parametrize("keys", [[], [""], ["short"], [OLD, "short"]])
def test_keys_that_are_none_are_refused_at_once(keys: list[str]) -> None:
    with pytest.raises(ValueError, match=r"Fernet|base64|padding"):
        Sealer(keys)


def test_development_needs_no_key_of_its_own() -> None:
    assert Sealer(DEVELOPMENT_SEALING_KEYS).unseal(Sealer(DEVELOPMENT_SEALING_KEYS).seal(b"x")) == b"x"
