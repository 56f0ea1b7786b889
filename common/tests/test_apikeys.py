"""The syntax of an API key."""

import hashlib

import pytest
from ams_common import apikeys
from hypothesis import given
from hypothesis import strategies as st

KEY = apikeys.generate()
TEST_KEY = apikeys.generate(is_test=True)


@pytest.mark.parametrize("is_test", [False, True])
def test_a_generated_key_hashes_to_what_was_stored(is_test: bool) -> None:
    key = apikeys.generate(is_test=is_test)
    assert key.sha256 == hashlib.sha256(key.secret.encode()).digest()
    assert apikeys.hash_key(key.secret) == key.sha256
    assert apikeys.hash_key(key.secret.encode()) == key.sha256


def test_a_key_has_the_documented_form() -> None:
    key = apikeys.generate()
    assert len(key.secret) == len("ams_live_") + 8 + 32 + 6
    assert key.secret.startswith("ams_live_")
    assert key.prefix == key.secret[:17]
    assert set(key.secret.removeprefix("ams_live_")) <= set(apikeys.ALPHABET)


def test_a_test_key_differs_from_a_live_one_in_its_first_characters_only() -> None:
    assert TEST_KEY.secret.startswith("ams_test_")
    assert (len(TEST_KEY.secret), len(TEST_KEY.prefix)) == (len(KEY.secret), len(KEY.prefix))


def test_a_live_key_made_a_test_key_by_its_first_characters_is_none() -> None:
    """Or anybody could call for nothing with a key that is billed: the checksum covers them too."""
    assert apikeys.hash_key(KEY.secret.replace("ams_live_", "ams_test_")) is None
    assert apikeys.hash_key(TEST_KEY.secret.replace("ams_test_", "ams_live_")) is None


def test_two_keys_share_nothing() -> None:
    keys = [apikeys.generate() for _ in range(200)]
    assert len({key.sha256 for key in keys}) == 200
    assert len({key.secret[17:49] for key in keys}) == 200


def test_printing_a_key_shows_no_secret() -> None:
    assert KEY.secret not in repr(KEY)


@given(st.integers(0, apikeys.KEY_LENGTH - 1), st.characters())
def test_one_changed_character_is_noticed(position: int, character: str) -> None:
    changed = KEY.secret[:position] + character + KEY.secret[position + 1 :]
    expected = KEY.sha256 if changed == KEY.secret else None
    assert apikeys.hash_key(changed) == expected


@given(st.integers(0, apikeys.KEY_LENGTH - 2))
def test_two_swapped_characters_are_noticed(position: int) -> None:
    text = KEY.secret
    swapped = text[:position] + text[position + 1] + text[position] + text[position + 2 :]
    expected = KEY.sha256 if swapped == text else None
    assert apikeys.hash_key(swapped) == expected


@given(st.one_of(st.text(max_size=80), st.binary(max_size=80)))
def test_arbitrary_text_is_no_key(text: str | bytes) -> None:
    assert apikeys.hash_key(text) is None


@pytest.mark.parametrize("body", ["ams_live_" + "é" * 40, "ams_live_" + "-" * 40, "ams_beta_" + "a" * 40])
def test_a_right_checksum_does_not_make_up_for_a_wrong_form(body: str) -> None:
    raw = body.encode("latin-1")
    assert apikeys.hash_key(raw + apikeys.checksum(raw)) is None
