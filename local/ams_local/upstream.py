"""A small merchant API, so that the demo marketplace has something to call."""

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

# Units of the currency for one euro; the figures of a demonstration, which no bank would honour.
RATES = {
    "EUR": Decimal("1"),
    "CHF": Decimal("0.93"),
    "GBP": Decimal("0.85"),
    "USD": Decimal("1.09"),
    "JPY": Decimal("171.4"),
}
MAX_ECHO_BYTES = 10 * 1024 * 1024
QUOTES = (
    ("Measure what is measurable.", "Galileo Galilei"),
    ("Nothing is so practical as a good theory.", "Kurt Lewin"),
    ("Simplicity is prerequisite for reliability.", "Edsger W. Dijkstra"),
)


async def convert(request: Request) -> Response:
    """`GET /convert?from=EUR&to=CHF&amount=100`."""
    source, target = (_currency(request.query_params.get(name, "")) for name in ("from", "to"))
    amount = _amount(request.query_params.get("amount", "1"))
    rate = RATES[target] / RATES[source]
    result = (amount * rate).quantize(Decimal("0.01"), ROUND_HALF_EVEN)
    return JSONResponse(
        {"from": source, "to": target, "amount": str(amount), "rate": f"{rate:.6f}", "result": str(result)}
    )


async def rates(request: Request) -> Response:
    return JSONResponse({"base": "EUR", "rates": {code: str(rate) for code, rate in RATES.items()}})


async def quote(request: Request) -> Response:
    """`GET /quote?number=2`; without a number the first."""
    number = request.query_params.get("number", "1")
    if not number.isdecimal() or not 1 <= int(number) <= len(QUOTES):
        raise HTTPException(404, f"There are quotes 1 to {len(QUOTES)}.")
    text, author = QUOTES[int(number) - 1]
    return JSONResponse({"text": text, "author": author})


async def echo(request: Request) -> Response:
    """Sends the body back as it came."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_ECHO_BYTES:
            raise HTTPException(413, f"At most {MAX_ECHO_BYTES} bytes.")
    kind = request.headers.get("content-type", "application/octet-stream")
    return Response(bytes(body), headers={"content-type": kind})


async def count_words(request: Request) -> Response:
    """Characters, words and lines of a UTF-8 text."""
    try:
        text = (await request.body()).decode()
    except UnicodeDecodeError:
        raise HTTPException(415, "The text must be UTF-8.") from None
    counts = {"characters": len(text), "words": len(text.split()), "lines": len(text.splitlines())}
    return JSONResponse(counts)


def _currency(code: str) -> str:
    if code not in RATES:
        raise HTTPException(400, f"Give from and to as one of {', '.join(RATES)}.")
    return code


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise HTTPException(400, "The amount must be a number.") from None
    if not amount.is_finite() or abs(amount) > Decimal(10) ** 12:
        raise HTTPException(400, "The amount must lie within ± 10^12.")
    return amount


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, status_code=error.status_code)


def app() -> Starlette:
    routes = [
        Route("/currency/convert", convert),
        Route("/currency/rates", rates),
        Route("/quotes/quote", quote),
        Route("/echo", echo, methods=["POST", "PUT"]),
        Route("/text/count", count_words, methods=["POST"]),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _problem})


def serve(port: int) -> None:
    """On the loopback address, until SIGINT or SIGTERM."""
    uvicorn.run(app(), host="127.0.0.1", port=port, log_level="warning")
