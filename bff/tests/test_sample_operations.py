"""The line that calls an operation: what a merchant wrote in its document is never obeyed by a shell."""

import shlex

import pytest
from ams.catalog.v1.openapi_pb2 import Operation, OperationBody, OperationContent, OperationParameter
from ams_bff.ui.samples import operation_sample

CONSUME_URL = "https://gateway.ams.example/api/consume"


def curl(operation: Operation) -> list[str]:
    """The words of the line, as a shell reads them."""
    [(label, text)] = operation_sample(CONSUME_URL, "maps", operation)
    assert label == "curl"
    return shlex.split(text.replace("\\\n", ""))


def test_examples_stand_in_the_path_and_where_they_are_required() -> None:
    operation = Operation(
        method="GET",
        path="/cities/{code}/{part}",
        parameters=[
            OperationParameter(name="code", location="path", example="Zü/1"),
            OperationParameter(name="part", location="path"),
            OperationParameter(name="a b", location="query", is_required=True, example="1&2"),
            OperationParameter(name="more", location="query", example="3"),
        ],
    )
    assert curl(operation) == [
        *("curl", f"{CONSUME_URL}/maps/cities/Z%C3%BC%2F1/PART?a%20b=1%262"),
        *("-H", "Authorization: Bearer $AMS_KEY"),
    ]


def test_a_body_is_sent_as_what_it_is() -> None:
    content = OperationContent(media_type="application/json", example='{"it\'s": "$(reboot)"}')
    operation = Operation(method="PUT", path="/a", request_body=OperationBody(contents=[content]))
    assert curl(operation) == [
        *("curl", f"{CONSUME_URL}/maps/a", "-X", "PUT", "-H", "Authorization: Bearer $AMS_KEY"),
        *("-H", "Content-Type: application/json", "--data-raw", '{"it\'s": "$(reboot)"}'),
    ]


@pytest.mark.parametrize("path", ["/a'; reboot #", "/$(reboot)", "/`reboot`", '/"$HOME"', "/a\\"])
def test_a_path_is_one_word_whatever_it_holds(path: str) -> None:
    [(_, text)] = operation_sample(CONSUME_URL, "maps", Operation(method="GET", path=path))
    first = text.split(" \\\n")[0]
    assert shlex.split(first) == ["curl", f"{CONSUME_URL}/maps{path}"]
    # Between single quotes a shell obeys nothing.
    assert first == f"curl {shlex.quote(f'{CONSUME_URL}/maps{path}')}"
