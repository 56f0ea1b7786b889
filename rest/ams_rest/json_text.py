"""JSON as it comes from outside, read strictly (RFC 8259): one meaning or none."""

import json
import math
from typing import Any, NoReturn

from ams_common.errors import InvalidArgumentError


class _AmbiguousError(ValueError):
    """Valid for Python's parser, but not for ours. The message may be shown."""


def parse(body: bytes) -> Any:
    """The value that `body` holds. Raises InvalidArgumentError json_invalid: not UTF-8, not JSON, a key
    twice in one object, NaN and numbers beyond what a double or an integer of 4,300 digits holds, nesting
    too deep to read."""
    try:
        return json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_float=_float,
            parse_constant=_refuse_constant,
        )
    except UnicodeDecodeError:
        reason = "it is not UTF-8"
    except json.JSONDecodeError as error:
        reason = f"line {error.lineno}, column {error.colno}"
    except _AmbiguousError as error:
        reason = str(error)
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError:  # more digits than Python converts
        reason = "a number is too large"
    raise InvalidArgumentError("json_invalid", f"The body can't be read as JSON: {reason}.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise _AmbiguousError("an object has a key twice")
    return values


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _AmbiguousError("a number is too large")
    return value


def _refuse_constant(_: str) -> NoReturn:
    raise _AmbiguousError("NaN and Infinity are not JSON")
