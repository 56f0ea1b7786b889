"""What of one party stands in another's log is found, and an honest gateway's day has nothing to find."""

import random

from loadtests.proofs.hostile_clients import Call, Client
from loadtests.proofs.hostile_merchants import Merchant
from loadtests.proofs.leaks import by_kind, find_leaks
from loadtests.proofs.raw_http import read_request, read_response
from loadtests.support.seeds import Grant

KEY = "ams_live_" + "k" * 46
KEY_ID, CONSUMER_ID = "0197b2a0-0000-7000-8000-00000000000a", "0197b2a0-0000-7000-8000-00000000000b"


def parties() -> tuple[Client, list[Merchant]]:
    """One client, one merchant that wants cookies and one that doesn't."""
    merchants = [
        Merchant(f"m{number}-mark", number == 0, random.Random(1), port=9000 + number) for number in (0, 1)
    ]
    slugs = {merchant.name: f"slug-{merchant.name[:2]}" for merchant in merchants}
    grant = Grant(KEY, KEY_ID, CONSUMER_ID)
    return Client("c0-mark", "127.50.0.7", grant, random.Random(1), slugs), merchants


def kinds_of(*, request: bytes = b"", answer: bytes = b"", at: int = 0, credential: str = "") -> set[str]:
    """The leaks when this field is in a request at merchant `at`, and this one in its answer."""
    client, merchants = parties()
    merchant = merchants[at]
    own = f"X-Upstream-Token: {credential or merchant.credential}\r\nSignature: s\r\nSignature-Input: i\r\n"
    head = f"GET /base HTTP/1.1\r\nHost: x\r\nX-Call: call-c0-mark-0\r\n{own}".encode()
    sent = head + request + b"\r\n"
    merchant.received.append(bytearray(sent))
    parsed = read_request(sent)
    assert parsed is not None
    merchant.requests.append(parsed)
    call = Call(
        client, merchant, "call-c0-mark-0", "plain", b"GET /api/consume/slug-m0/items/1 HTTP/1.1\r\n\r\n"
    )
    call.received = b"HTTP/1.1 200 OK\r\nX-Call: call-c0-mark-0\r\n" + answer + b"Content-Length: 0\r\n\r\n"
    call.answer = read_response(call.received)
    client.calls.append(call)
    return set(by_kind(find_leaks([client], merchants)))


def test_an_honest_gateways_call_has_no_leak() -> None:
    answer = b"Set-Cookie: a=b; Path=/api/consume/slug-m0\r\nLocation: /api/consume/slug-m0/items\r\n"
    assert kinds_of(request=b"Cookie: a=cookie-m0-mark\r\n", answer=answer) == set()


def test_what_is_the_consumers_is_found_at_a_merchant() -> None:
    assert kinds_of(request=b"X-Key: " + KEY.encode() + b"\r\n") == {"a consumer's key at a merchant"}
    encoded = b"YW1zX2xpdmVf" + b"a2tr" * 15 + b"azo="  # of the key and a colon, as Basic sends it
    assert kinds_of(request=b"X-Key: " + encoded + b"\r\n") == {"a consumer's key at a merchant"}
    assert kinds_of(request=b"X-Real-IP: 127.50.0.7\r\n") == {"a consumer's address at a merchant"}
    for name in (b"X-Request-Id: ", b"Via: 1.1 ", b"traceparent: 01-"):
        assert kinds_of(request=name + KEY.encode() + b"\r\n") == {"a consumer's key at a merchant"}
    for each in (KEY_ID, CONSUMER_ID, CONSUMER_ID.replace("-", ""), "AZeyoAAAcACAAAAAAAAACg"):
        assert kinds_of(request=f"X-Who: {each}\r\n".encode()) == {"a consumer's or key's id at a merchant"}
    assert kinds_of(request=b"Via: 1.1 private-c0-mark\r\n") == {
        "what a consumer sent to the gateway alone at a merchant"
    }
    assert kinds_of(request=b"Cookie: ams_session=x\r\n") == {"the web UI's session at a merchant"}
    assert kinds_of(request=b"Cookie: a=b\r\n", at=1) == {"a cookie at a merchant that wants none"}


def test_what_is_a_merchants_is_found_at_another_and_at_consumers() -> None:
    [kind] = kinds_of(request=b"Cookie: sid=cookie-m1-mark\r\n")
    assert kind == "a merchant's name, address or cookie at another merchant"
    assert kinds_of(answer=b"Location: http://127.0.0.1:9000/x\r\n") == {
        "a merchant's base URL at a consumer"
    }
    assert kinds_of(answer=b"Alt-Svc: host-m0-mark\r\n") == {
        "what a merchant sent to the gateway alone at a consumer"
    }
    assert kinds_of(answer=b"Link: </base-m0-mark/items>; rel=next\r\n") == {
        "a merchant's base URL at a consumer"
    }
    assert kinds_of(answer=b"Set-Cookie: a=b; Path=/\r\n") == {"a cookie outside its service's path"}
    assert kinds_of(answer=b"X-Merchant: m1-mark\r\n") == {"a merchant's answer to another one's call"}


def test_a_call_that_anybody_could_have_made_is_found() -> None:
    assert kinds_of(credential="guessed") == {"a call without its merchant's credential"}
    assert kinds_of(request=b"Signature: forged\r\n") == {"a call that AMS alone hasn't signed"}
    assert kinds_of(answer=b"X-Echo: credential-m0-mark\r\n") == {"a merchant's credential at a consumer"}
