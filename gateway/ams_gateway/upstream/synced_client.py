"""A consumer's side whose answers end only once their events are on the disk."""

from collections.abc import Callable

from ams_gateway.upstream.exchange import Client

# Calls what it is given when all that is in the journal now is on the disk, with whether that has worked.
AfterSync = Callable[[Callable[[bool], None]], None]


class SyncedClient:
    """Holds the last piece of an answer back, and passes everything else on at once.

    An answer whose event can't be synced is cut. The event may be billed all the same: a disk that fails to
    write doesn't say what it has lost.
    """

    __slots__ = ("_after_sync", "_client")

    def __init__(self, client: Client, after_sync: AfterSync) -> None:
        self._client = client
        self._after_sync = after_sync

    @property
    def is_full(self) -> bool:
        return self._client.is_full

    def start(self, status: int, fields: bytes, length: int | None, body: bytes, more: bool) -> None:
        client = self._client
        if more:
            client.start(status, fields, length, body, True)
        else:
            self._end(lambda: client.start(status, fields, length, body, False))

    def write(self, data: bytes, more: bool) -> None:
        client = self._client
        if more:
            client.write(data, True)
        else:
            self._end(lambda: client.write(data, False))

    def _end(self, finish: Callable[[], None]) -> None:
        client = self._client
        self._after_sync(lambda is_synced: finish() if is_synced else client.cut())

    def cut(self) -> None:
        self._client.cut()

    def pause(self) -> None:
        self._client.pause()

    def resume(self) -> None:
        self._client.resume()
