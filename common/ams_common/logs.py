"""Logs: one JSON object a line, with the request id of whatever is being served."""

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from ams_common.context import current_request_id

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


# What aiokafka says of a broker that is away it says at every try, thousands of times a second.
_MOST_A_SECOND = 5


class Restraint(logging.Filter):
    """Lets so many records of one library pass a second, and says with the next how many were left out."""

    def __init__(self, library: str, most_a_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._library = library
        self._most = most_a_second
        self._clock = clock
        self._second = 0
        self._passed = 0
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] != self._library:
            return True
        if (second := int(self._clock())) != self._second:
            self._second, self._passed = second, 0
        if self._passed >= self._most:
            self._left_out += 1
            return False
        self._passed += 1
        if self._left_out:
            record.left_out, self._left_out = self._left_out, 0
        return True


class JsonFormatter(logging.Formatter):
    """The record's own `extra` fields become members of the object."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := current_request_id():
            line["request_id"] = request_id
        line |= {name: value for name, value in vars(record).items() if name not in _PLAIN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure_logs(service: str, level: str = "INFO") -> None:
    """Send everything the process logs to standard error, as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    handler.addFilter(Restraint("aiokafka", _MOST_A_SECOND))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("aiokafka", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
