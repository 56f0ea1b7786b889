"""Takes the addresses of a merchant's API out of what consumers read (decision 0022)."""

from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlsplit

from ams.catalog.v1.openapi_pb2 import ApiReference
from google.protobuf.message import Message

# Stands for the service's address at the gateway, which is known when somebody asks.
ADDRESS = "https://address-at-the-gateway.invalid"
_ADDRESS_HOST = urlsplit(ADDRESS).netloc
_SCHEMES = (b"https:", b"http:", b"wss:", b"ws:")
_MOST_USER_INFO = 100
# What goes on a path's last word.
_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")

Redact = Callable[[str], str]


def redactor(urls: Iterable[str], address: str) -> Redact:
    """Puts `address`, a service's at the gateway, in place of these addresses, and its host in place of their
    hosts. ADDRESS becomes it too."""
    # By host: the paths of its addresses, the longest first.
    hosts: dict[bytes, list[bytes]] = {}
    for host, path in filter(None, map(_split, urls)):
        hosts.setdefault(host, []).append(path)
    for paths in hosts.values():
        paths.sort(key=len, reverse=True)
    netloc = urlsplit(address).netloc

    def redact(text: str) -> str:
        data = text.encode()
        for host, paths in hosts.items():
            data = b"".join(_pieces(data, host, paths, address.encode(), netloc.encode()))
        return data.decode().replace(ADDRESS, address).replace(_ADDRESS_HOST, netloc)

    return redact


def redact_reference(reference: ApiReference, redact: Redact) -> None:
    """Every text of it."""
    _redact_message(reference, redact)


def _redact_message(message: Message, redact: Redact) -> None:
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else (value,):
                _redact_message(inner, redact)
        elif isinstance(value, str) and (changed := redact(value)) != value:
            setattr(message, field.name, changed)


def _split(url: str) -> tuple[bytes, bytes] | None:
    """Host and path of an absolute address; None for what is none."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    return (host.encode(), parts.path.rstrip("/").encode()) if host else None


def _pieces(text: bytes, host: bytes, paths: list[bytes], address: bytes, netloc: bytes) -> Iterator[bytes]:
    """The text with one host's addresses replaced. No regular expression: those take long with what somebody
    makes up, and this is done whenever somebody reads."""
    lowered = text.lower()
    done = 0
    found = lowered.find(host)
    while found >= 0:
        end = found + len(host)
        start = _start_of_url(lowered, found, done)
        if start is not None:
            yield text[done:start]
            yield address
            end = _end_of_path(text, _end_of_port(text, end), paths)
            done = end
        elif b"." in host:  # one of a single word may be any word
            yield text[done:found]
            yield netloc
            done = end = _end_of_port(text, end)
        found = lowered.find(host, end)
    yield text[done:]


def _start_of_url(lowered: bytes, found: int, least: int) -> int | None:
    """Where the address begins whose host was found, with its scheme; None where it is a host alone."""
    slashes = lowered.rfind(b"//", max(least, found - _MOST_USER_INFO - 2), found)
    between = lowered[slashes + 2 : found]
    if slashes < 0 or (between and (not between.endswith(b"@") or set(between) & set(b'/ \n\t"'))):
        return None
    before = lowered[max(least, slashes - 6) : slashes]
    scheme = next((each for each in _SCHEMES if before.endswith(each)), b"")
    return slashes - len(scheme)


def _end_of_port(text: bytes, end: int) -> int:
    if text[end : end + 1] != b":" or not text[end + 1 : end + 2].isdigit():
        return end
    end += 1
    while text[end : end + 1].isdigit():
        end += 1
    return end


def _end_of_path(text: bytes, end: int, paths: list[bytes]) -> int:
    for path in paths:
        after = end + len(path)
        if text.startswith(path, end) and not (path and set(text[after : after + 1]) & _LETTERS):
            return after
    return end
