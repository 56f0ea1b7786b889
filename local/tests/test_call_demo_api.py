"""The demo merchants' API answers."""

from collections.abc import Callable

import pytest
from ams_local.upstream import MAX_ECHO_BYTES, app
from ams_local.web import Answer, call

Client = Callable[..., Answer]


@pytest.fixture
def client(serve: Callable[..., str]) -> Client:
    url = serve(app())
    return lambda method, path, **parts: call(method, f"{url}{path}", **parts)


def test_an_amount_is_converted(client: Client) -> None:
    answer = client("GET", "/currency/convert", query={"from": "EUR", "to": "CHF", "amount": "100"})
    assert answer.json() == {
        "from": "EUR",
        "to": "CHF",
        "amount": "100",
        "rate": "0.930000",
        "result": "93.00",
    }
    assert client("GET", "/currency/rates").json()["rates"]["CHF"] == "0.93"


@pytest.mark.parametrize(
    "query",
    [{}, {"from": "EUR"}, {"from": "EUR", "to": "XXX"}]
    + [{"from": "EUR", "to": "CHF", "amount": amount} for amount in ("", "much", "NaN", "Infinity", "1e400")],
)
def test_a_conversion_that_makes_no_sense_is_refused(client: Client, query: dict[str, str]) -> None:
    answer = client("GET", "/currency/convert", query=query)
    assert answer.status == 400 and answer.json()["error"]


def test_an_echo_is_the_body_and_its_type(client: Client) -> None:
    answer = client("POST", "/echo", content=b"\x00\xff", headers={"Content-Type": "image/x-thing"})
    assert (answer.content, answer.headers["Content-Type"]) == (b"\x00\xff", "image/x-thing")
    assert client("POST", "/echo", content=b"x" * (MAX_ECHO_BYTES + 1)).status == 413


def test_quotes_and_word_counts(client: Client) -> None:
    assert client("GET", "/quotes/quote", query={"number": "2"}).json()["author"] == "Kurt Lewin"
    assert client("GET", "/quotes/quote", query={"number": "99"}).status == 404
    assert client("POST", "/text/count", content="Grüezi mitenand\n".encode()).json() == {
        "characters": 16,
        "words": 2,
        "lines": 1,
    }
    assert client("POST", "/text/count", content=b"\xff").status == 415
