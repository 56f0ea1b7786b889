"""What of one party shows up at another, in the raw logs of both sides of the gateway."""

import base64
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from loadtests.proofs.hostile_clients import Call, Client
from loadtests.proofs.hostile_merchants import Merchant
from loadtests.support.seeds import CREDENTIAL_HEADER

# Calls of these kinds are whole and allowed: a gateway has to answer them, with the answer of the merchant.
_ANSWERED = ("plain", "h2c", "half-close", "HTTP/1.0", "forwarding fields", "hop by hop")
# A merchant that hangs up just as its connection is used again has failed by itself.
_MERCHANT_FAILED = (502, 503, 504)
# Of the entry that opens none.
_NO_WEBSOCKET = (501,)
_SESSION = b"ams_session="


@dataclass(frozen=True)
class Leak:
    kind: str
    where: str


def find_leaks(clients: Sequence[Client], merchants: Sequence[Merchant]) -> list[Leak]:
    return [
        *(leak for merchant in merchants for leak in _at_merchant(merchant, merchants, clients)),
        *(
            leak
            for client in clients
            for call in client.calls
            for leak in _at_client(call, merchants, clients)
        ),
    ]


def by_kind(leaks: Sequence[Leak]) -> Mapping[str, list[Leak]]:
    found: defaultdict[str, list[Leak]] = defaultdict(list)
    for leak in leaks:
        found[leak.kind].append(leak)
    return found


def spellings(key: str) -> list[bytes]:
    """The forms in which a key could be passed on."""
    raw = key.encode()
    encoded = [base64.b64encode(each) for each in (raw, raw + b":", b":" + raw, b"x:" + raw)]
    # Without the padding and what the bytes after it would change.
    return [raw, raw[17:], *(each.rstrip(b"=")[:-2] for each in encoded)]


def id_spellings(text: str) -> list[bytes]:
    """The forms in which an id could be passed on."""
    parsed = uuid.UUID(text)
    return [text.encode(), parsed.hex.encode(), base64.b64encode(parsed.bytes).rstrip(b"=")]


def _at_merchant(
    merchant: Merchant, merchants: Sequence[Merchant], clients: Sequence[Client]
) -> Iterator[Leak]:
    for text in merchant.malformed:
        yield Leak("a malformed request at a merchant", f"{merchant.name}: {text}")
    log = merchant.log
    others = [
        each.encode() for other in merchants if other is not merchant for each in (other.name, other.address)
    ]
    for client in clients:
        keys, private = spellings(client.key), client.private.encode()
        encoded = base64.b64encode(private).rstrip(b"=")[:-2]
        ids = [
            each for text in (client.grant.consumer_id, client.grant.key_id) for each in id_spellings(text)
        ]
        marks = {
            "a consumer's key": keys,
            "a consumer's or key's id": ids,
            "a consumer's address": [client.address.encode()],
            "what a consumer sent to the gateway alone": [private, encoded],
            "a smuggled request": [f"/smuggled-{client.name}".encode()],
        }
        for kind, needles in marks.items():
            if (line := _line_with(log, needles)) is not None:
                yield Leak(f"{kind} at a merchant", f"{client.name} at {merchant.name}: {line}")
    if (line := _line_with(log, others)) is not None:
        yield Leak("a merchant's name, address or cookie at another merchant", f"{merchant.name}: {line}")
    for request in merchant.requests:
        if request.values(CREDENTIAL_HEADER.lower().encode()) != [merchant.credential.encode()]:
            yield Leak("a call without its merchant's credential", f"{merchant.name}: {request.start_line!r}")
        if len(request.values(b"signature")) != 1 or len(request.values(b"signature-input")) != 1:
            yield Leak("a call that AMS alone hasn't signed", f"{merchant.name}: {request.start_line!r}")
        if request.method == b"OPTIONS":
            yield Leak("a browser's preflight at a merchant", f"{merchant.name}: {request.start_line!r}")
        cookies = b"; ".join(request.values(b"cookie"))
        if cookies and not merchant.passes_cookies:
            yield Leak("a cookie at a merchant that wants none", f"{merchant.name}: {cookies[:80]!r}")
        if _SESSION in cookies and b"cookie-" not in cookies:
            yield Leak("the web UI's session at a merchant", f"{merchant.name}: {cookies[:80]!r}")


def _at_client(call: Call, merchants: Sequence[Merchant], clients: Sequence[Client]) -> Iterator[Leak]:
    what = f"{call.number} ({call.kind}) to {call.merchant.name}"
    if call.malformed:
        yield Leak("a malformed answer at a consumer", f"{what}: {call.malformed}")
    for merchant in merchants:
        needles = [merchant.base_path.encode(), merchant.address.encode()]
        if (line := _line_with(call.received, needles)) is not None:
            yield Leak("a merchant's base URL at a consumer", f"{what}: {line}")
        if (line := _line_with(call.received, [merchant.credential.encode()])) is not None:
            yield Leak("a merchant's credential at a consumer", f"{what}: {line}")
        if merchant is not call.merchant and (line := _line_with(call.received, [merchant.name.encode()])):
            yield Leak("a merchant's answer to another one's call", f"{what}: {line}")
        for mark in (f"poison-{merchant.name}", f"hop-{merchant.name}", f"host-{merchant.name}"):
            if (line := _line_with(call.received, [mark.encode()])) is not None:
                yield Leak("what a merchant sent to the gateway alone at a consumer", f"{what}: {line}")
    for other in clients:
        if other is not call.client and (line := _line_with(call.received, [other.name.encode()])):
            yield Leak("a consumer's call in another one's answer", f"{what}: {line}")
    if call.answer is None:
        if not call.malformed and call.kind in _ANSWERED:
            yield Leak("a whole call has no answer", what)
        return
    is_its_own = call.answer.value(b"x-call") == call.number.encode()
    if call.kind in _ANSWERED and not is_its_own and call.answer.status not in _MERCHANT_FAILED:
        yield Leak("a whole call wasn't answered by its merchant", f"{what}: {call.answer.start_line!r}")
    if call.kind == "WebSocket" and call.answer.status not in (101, *_NO_WEBSOCKET, *_MERCHANT_FAILED):
        yield Leak("a WebSocket wasn't opened", f"{what}: {call.answer.start_line!r}")
    own = b"/api/consume/" + call.client.slugs[call.merchant.name].encode()
    for value in call.answer.values(b"set-cookie"):
        if not call.merchant.passes_cookies:
            yield Leak("a cookie of a merchant that sets none", f"{what}: {value!r}")
        elif not _stays_inside(value, own, call.directory):
            yield Leak("a cookie outside its service's path", f"{what}: {value!r}")


def _stays_inside(cookie: bytes, own: bytes, directory: bytes) -> bool:
    """A cookie without a path gets that of the request's directory (RFC 6265 §5.1.4)."""
    attributes = [part.strip().lower() for part in cookie.split(b";")[1:]]
    paths = [part[5:] for part in attributes if part.startswith(b"path=")] or [directory]
    inside = all(path == own or path.startswith(own + b"/") for path in paths)
    return inside and not any(part.startswith(b"domain") for part in attributes)


def _line_with(log: bytes, needles: Sequence[bytes]) -> str | None:
    for needle in needles:
        if (found := log.find(needle)) >= 0:
            line = log[log.rfind(b"\n", 0, found) + 1 : found + len(needle) + 20].split(b"\r\n")[0]
            return repr(line[-160:])
    return None
