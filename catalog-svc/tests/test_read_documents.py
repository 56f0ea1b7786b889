"""Which texts are taken as OpenAPI documents, and what is said of the others."""

import asyncio
import ctypes
import json
import subprocess
import sys
from typing import Any

import pytest
from ams_common.errors import InvalidArgumentError
from catalog_svc.openapi.checking import check
from catalog_svc.openapi.examining import MOST_BYTES, examine
from catalog_svc.openapi.problems import DocumentError
from catalog_svc.openapi.publishing import hidden_urls, public_text
from catalog_svc.openapi.reading import read
from catalog_svc.openapi.redacting import ADDRESS, redactor
from catalog_svc.openapi.rendering import reference_of

HEAD = 'openapi: 3.1.0\ninfo: {title: T, version: "1"}\n'
ONE = HEAD + "paths:\n  /a:\n    get:\n      responses:\n        200: {description: ok}\n"


def document(**fields: Any) -> str:
    return json.dumps({"openapi": "3.0.3", "info": {"title": "T", "version": "1"}, "paths": {}, **fields})


def problems(text: str) -> str:
    """What is wrong with it, "" for nothing."""
    try:
        source = read(text)
        check(source)
        reference_of(source)
    except DocumentError as error:
        return "; ".join(error.problems)
    return ""


GOOD = {
    "YAML with a status as a number": ONE,
    "JSON": document(),
    "JSON after a byte order mark": "\ufeff" + document(),
    "3.0 with a nullable": document(
        components={"schemas": {"A": {"type": "string", "nullable": True, "default": None}}}
    ),
    "3.1 without paths": HEAD + "webhooks: {}\n",
    "3.2 with a query": ONE.replace("3.1.0", "3.2.0").replace("get:", "query:"),
    "words that YAML 1.1 takes for others": ONE
    + "      summary: no\n      x-day: 2026-11-29\n      x-sex: 1:20\n      description: off\n",
    "an alias": HEAD + "x-a: &a {description: ok}\npaths: {/a: {get: {responses: {200: *a}}}}\n",
    "a schema that holds itself": HEAD
    + "paths: {}\ncomponents: {schemas: {A: {properties: {a: {$ref: '#/components/schemas/A'}}}}}\n",
    "a property called $ref": HEAD
    + "paths: {}\ncomponents: {schemas: {A: {properties: {$ref: {type: string}}}}}\n",
}
BAD = {
    "nothing": ("", "It is no OpenAPI document"),
    "a list": ("- a\n", "It is no OpenAPI document"),
    "half a JSON": ('{"openapi": "3.0.0",\n "info"', "At line 2, column 8: this is no JSON"),
    "half a YAML": ("a: [b\n", "At line 2, column 1: this is no YAML"),
    "two documents": (f"{ONE}---\na: 1\n", "more than one YAML document"),
    "Swagger": ('swagger: "2.0"\n', "Swagger 2.0"),
    "a version as a number": ("openapi: 3.1\n", "“openapi” must be a text"),
    "a later version": ("openapi: 4.0.0\n", "OpenAPI 4.0.0 isn't known here: use 3.0, 3.1, 3.2"),
    "no info": ("openapi: 3.0.3\npaths: {}\n", "“info” is missing"),
    "a word in place of answers": (
        ONE.split("      responses")[0] + "      responses: 5\n",
        "At line 6, #/paths/~1a/get/responses: this must be an object",
    ),
    "an answer without a description": (
        ONE.replace("{description: ok}", "{}"),
        "At line 7, #/paths/~1a/get/responses/200: “description” is missing",
    ),
    "a name that OpenAPI doesn't know": (
        f"{ONE}      nonsense: 1\n",
        "At line 5, #/paths/~1a/get: “nonsense” isn't expected here",
    ),
    "a path without a slash": (ONE.replace("/a:", "a:"), "“a” isn't expected here"),
    "a path variable that isn't told of": (ONE.replace("/a:", "'/a/{x}':"), "'x'"),
    "an operationId twice": (
        f"{ONE}      operationId: x\n    put: {{operationId: x, responses: {{200: {{description: ok}}}}}}\n",
        "'x' for 'put' in '/a' is not unique",
    ),
    "a kind of value that there isn't": (
        HEAD + "paths: {}\ncomponents:\n  schemas:\n    A: {type: strin}\n",
        "At line 6, #/components/schemas/A/type: this must be one of",
    ),
    "a default of another kind": (
        HEAD + "paths: {}\ncomponents:\n  schemas:\n    A: {type: integer, default: x}\n",
        "At line 6, #/components/schemas/A: this must be a whole number",
    ),
    "a reference to another site": (
        ONE.replace("{description: ok}", '{$ref: "https://other.example/a.json"}'),
        "“https://other.example/a.json” lies outside of the document",
    ),
    "a reference to a file": (
        ONE.replace("{description: ok}", "{$ref: other.yaml}"),
        "“other.yaml” lies outside",
    ),
    "a base for references": (
        HEAD + "paths: {}\ncomponents: {schemas: {A: {$id: 'https://other.example/', $ref: '#/x'}}}\n",
        "“$id” isn't supported here",
    ),
    "a reference to nothing": (
        ONE.replace("{description: ok}", "{$ref: '#/components/responses/no'}"),
        "components/responses/no”, which isn't in it",
    ),
    "a name twice in JSON": ('{"openapi": "3.0.0", "openapi": "3.0.1"}', "“openapi” stands twice"),
    "a name twice in YAML": (
        "openapi: 3.0.0\nopenapi: 3.0.1\n",
        "At line 2: the name “openapi” stands twice",
    ),
    "a tag of Python": ("a: !!python/name:os x\n", "isn't of JSON"),
    "a number that is none": ('{"openapi": NaN}', "NaN"),
    "a number without end": ('{"openapi": 1e999}', "too large"),
    "half of a character": ('{"openapi": "3.0.3", "x": "\\ud800"}', "a character that is no text"),
    "a zero character": ('{"openapi": "3.0.3", "x": "\\u0000"}', "a character that is no text"),
    "a list as a name": ("? [a]\n: b\n", "At line 1: a name must be a word"),
    "an alias within what it stands for": ("a: &a [*a]\n", "stands for what isn't complete"),
    "objects in objects": ("{a: " * 80 + "1" + "}" * 80, "JSON"),
    "lists in lists": ("a: " + "[" * 80 + "]" * 80, "nested too deeply"),
    "lists in lists in JSON": ('{"a": ' + "[" * 80 + "]" * 80 + "}", "nested too deeply"),
    "values without end": ("a: [" + "1," * 100_001 + "]", "too large"),
    "operations without end": (
        document(paths={f"/{n}": {"get": {"responses": {"200": {"description": "ok"}}}} for n in range(501)}),
        "more than 500 operations",
    ),
    "a path with a new line": (
        document(paths={"/a\nb": {"get": {"responses": {"200": {"description": "ok"}}}}}),
        "this is no path",
    ),
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD.keys())
def test_these_are_taken(text: str) -> None:
    assert problems(text) == ""


@pytest.mark.parametrize(("text", "problem"), BAD.values(), ids=BAD.keys())
def test_these_are_refused_in_plain_words(text: str, problem: str) -> None:
    assert problem in problems(text)


def test_an_alias_counts_as_often_as_it_stands_for_something() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for n in range(1, 8):
        lines.append(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]")
    assert "too large" in problems("\n".join(lines))
    texts = "\n".join(["a: &a " + "x" * 50_000, f"b: [{', '.join(['*a'] * 50)}]"])
    assert "too large" in problems(texts)


def test_values_of_yaml_are_those_of_json() -> None:
    source = read("a: no\nb: 2026-11-29\nc: 0x1F\nd: 1e3\ne: ~\nf: 'true'\ng: True\nh: 12\n200: x\n")
    assert source.tree == {
        "a": "no",
        "b": "2026-11-29",
        "c": "0x1F",
        "d": 1000.0,
        "e": None,
        "f": "true",
        "g": True,
        "h": 12,
        "200": "x",
    }


async def test_what_is_examined_in_another_process_comes_back() -> None:
    examined = await examine(ONE + "servers: [{url: https://a.example/v1}]\n")
    assert [each.operation_id for each in examined.reference.operations] == ["get-a"]
    assert "a.example" not in examined.public_content
    with pytest.raises(InvalidArgumentError) as raised:
        await examine(ONE.replace("{description: ok}", "{}"))
    assert raised.value.code == "openapi_document_invalid"
    assert raised.value.violations[0].field == "content"
    assert "line 7" in raised.value.violations[0].description


def test_nothing_of_ours_runs_between_fork_and_exec() -> None:
    """What gRPC runs in a child that is forked kills it now and then."""
    ran = subprocess.run([sys.executable, __file__], check=False, capture_output=True, text=True, timeout=120)
    assert ran.stdout == "examined after 0 forks, and 1 when one is meant\n", ran.stderr


async def _count_forks() -> None:
    """In a process of its own: what it registers stays."""
    forks = []
    before = ctypes.CFUNCTYPE(None)(lambda: forks.append(1))
    ctypes.CDLL(None)["__register_atfork"](before, None, None, None)
    await examine(ONE)
    counted = len(forks)
    await (await asyncio.create_subprocess_exec("/bin/true", preexec_fn=int)).wait()
    print(f"examined after {counted} forks, and {len(forks)} when one is meant")  # noqa: T201


async def test_a_document_that_is_too_large_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(subprocess, "Popen")
    with pytest.raises(InvalidArgumentError, match="too large"):
        await examine("é" * (MOST_BYTES // 2 + 1))


def test_more_servers_than_anybody_has_are_refused() -> None:
    servers = [{"url": f"https://{n}.a.example"} for n in range(21)]
    with pytest.raises(DocumentError, match="more than 20 servers"):
        hidden_urls(json.loads(document(servers=servers)))


def test_servers_are_taken_out_wherever_they_stand() -> None:
    servers = [{"url": "https://{region}.a.example/v1", "variables": {"region": {"default": "eu"}}}]
    operation = {
        "servers": servers,
        "responses": {
            "200": {
                "description": "ok",
                "links": {"next": {"operationId": "x", "server": {"url": "https://linked.example"}}},
            }
        },
        "callbacks": {"told": {"{$request.body#/url}": {"servers": servers, "post": {"servers": servers}}}},
    }
    schema = {"properties": {"servers": {"type": "array"}}}
    tree = json.loads(
        document(
            servers=servers,
            paths={"/a": {"servers": servers, "get": operation}},
            components={"schemas": {"A": schema}},
        )
    )
    assert hidden_urls(tree) == ["https://eu.a.example/v1", "https://linked.example"]
    published = json.loads(public_text(tree))
    assert "a.example" not in json.dumps(published)
    assert "linked.example" not in json.dumps(published)
    assert published["components"]["schemas"]["A"] == schema
    # What was read is left as it was.
    assert tree["servers"] == servers


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("see https://api.a.example/v1/x", "see https://g.example/s/x"),
        ("see HTTPS://API.A.EXAMPLE/v1", "see https://g.example/s"),
        ("see //user:pw@api.a.example:8443/other", "see https://g.example/s/other"),
        ("the host api.a.example answers", "the host g.example answers"),
        ("https://api.a.example/v12", "https://g.example/s/v12"),
        ("https://api.a.example/v1é and api.a.example", "https://g.example/sé and g.example"),
        ("ftp://api.a.example/v1/v1", "ftp:https://g.example/s/v1"),
        (f"{ADDRESS}/a, at address-at-the-gateway.invalid", "https://g.example/s/a, at g.example"),
        ("http://inside:8080/x", "https://g.example/s/x"),
        ("what is inside", "what is inside"),
    ],
)
def test_addresses_are_hidden_in_any_text(text: str, redacted: str) -> None:
    redact = redactor(
        ["https://api.a.example/v1", "http://inside:8080", "/relative", "https://["], "https://g.example/s"
    )
    assert redact(text) == redacted


if __name__ == "__main__":
    asyncio.run(_count_forks())
