"""Answers: JSON, and RFC 9457 problems with the headers that their status asks for."""

import json
from typing import Any

from ams_common.context import current_request_id
from ams_common.errors import AppError, to_problem
from starlette.responses import Response

from ams_rest.http_errors import CallsLimitedError, MethodNotAllowedError

JSON = "application/json"
PROBLEM = "application/problem+json"


def json_answer(
    document: Any, *, status: int = 200, is_pretty: bool = False, media_type: str = JSON
) -> Response:
    """`document` as JSON, indented for human eyes if wanted."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2 if is_pretty else None)
    return Response(text, status, media_type=media_type)


def problem_answer(error: AppError) -> Response:
    """The problem of an error, for the request being served."""
    problem = to_problem(error, current_request_id())
    answer = json_answer(problem, status=error.http_status, media_type=PROBLEM)
    answer.headers.update(_headers(error))
    return answer


def _headers(error: AppError) -> dict[str, str]:
    if isinstance(error, MethodNotAllowedError):
        return {"allow": ", ".join(error.allowed)}
    if error.http_status == 401:
        return {"www-authenticate": "Bearer"}
    headers = dict(error.headers) if isinstance(error, CallsLimitedError) else {}
    retry_after_s = error.metadata.get("retry_after_s", "")
    if error.http_status in (429, 503, 504) and retry_after_s.isascii() and retry_after_s.isdigit():
        headers["retry-after"] = retry_after_s
    return headers
