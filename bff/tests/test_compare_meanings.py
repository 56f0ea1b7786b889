"""Templates and forms go by what values mean; the words that people read are free to change."""

import re
from pathlib import Path

import pytest
from ams.catalog.v1.events_pb2 import ServiceStatus
from ams_bff.ui.forms import Form
from ams_bff.ui.renderer import ENUMS, TEMPLATES
from ams_common.errors import FieldViolation, InvalidArgumentError

FILES = sorted(TEMPLATES.rglob("*.html"))
_SHOWN = "|".join(ENUMS)
# A value in words, compared; or kept under a name, under which it could be.
_COMPARED = re.compile(rf"\|(?:{_SHOWN})\s*(?:[=!]=|in\b)|set \w+ = [\w.]+\|(?:{_SHOWN}) %")


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_template_compares_the_words_of_an_enum(path: Path) -> None:
    assert _COMPARED.findall(path.read_text()) == []


def test_the_rule_above_finds_what_it_forbids() -> None:
    assert _COMPARED.search('{% if service.status|service_status == "Active" %}')
    assert _COMPARED.search("{% set status = key.status|key_status %}")
    assert ServiceStatus.Value("ACTIVE") == ServiceStatus.ACTIVE


def test_a_summary_calls_a_field_as_its_page_does() -> None:
    form = Form.parse(b"ttl_days=x")
    violations = [FieldViolation("ttlDays", "is too much"), FieldViolation("baseUrl", "is required")]
    form.refused(InvalidArgumentError("request_invalid", "No.", violations))
    form.name_control("ttl_days", "Expires after")
    assert form.error_text("ttl_days") == "Expires after is too much."
    assert form.error_text("base_url") == "Base URL is required."
    form.name_control("base_url", "What is it?")
    assert form.error_text("base_url") == "“What is it?” is required."
