"""The documentation in the product has every call and every code."""

from typing import Any

import pytest
from ams_rest import openapi, reference
from ams_rest.areas import AREAS
from ams_rest.routes import routes_of

DOCUMENT = openapi.build(routes_of(AREAS), "https://ams.example")
FOUND = reference.areas_of(DOCUMENT)


def test_everything_in_the_document_is_on_a_page(bff: Any) -> None:
    shown = "".join(bff.ask("GET", f"/docs/api/{name}").text for name in FOUND)
    operations = [each for area in FOUND.values() for each in area.operations]
    assert len(operations) == sum(
        method in ("get", "post", "put", "patch", "delete")
        for item in DOCUMENT["paths"].values()
        for method in item
    )
    assert all(f'id="{operation.name}"' in shown for operation in operations)


def test_every_code_is_on_the_page_of_codes(bff: Any) -> None:
    page = bff.ask("GET", "/docs/errors")
    assert page.status == 200
    assert len(reference.error_codes()) > 150
    text = page.text.replace("<wbr>", "")
    assert all(f"<code>{code.code}</code>" in text for code in reference.error_codes())


def test_the_guide_leads_to_every_area(bff: Any) -> None:
    page = bff.ask("GET", "/docs").text
    assert all(f'href="/docs/api/{name}"' in page for name in FOUND)


@pytest.mark.parametrize("path", ["/docs/api/nope", "/docs/nope"])
def test_what_is_not_documented_is_a_404(bff: Any, path: str) -> None:
    assert bff.ask("GET", path).status == 404
