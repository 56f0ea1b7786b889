import pytest
from ams_common.errors import InvalidArgumentError
from ams_rest.path_templates import PathTemplate, RequestPath, TemplateError


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("/v1/me", b"/v1/me", {}),
        ("/v1/me", b"/v1/%6De", {}),
        ("/v1/me", b"/v1/me/", None),
        ("/v1/me", b"//v1/me", None),
        ("/v1/me", b"/v1/ME", None),
        ("/v1/keys/{key_id}", b"/v1/keys/7", {"key_id": "7"}),
        ("/v1/keys/{key_id}", b"/v1/keys/", None),
        ("/v1/keys/{key_id}", b"/v1/keys/7/8", None),
        ("/v1/keys/{key_id}", b"/v1/keys/7:revoke", None),
        ("/v1/keys/{key_id}:revoke", b"/v1/keys/7:revoke", {"key_id": "7"}),
        ("/v1/keys/{key_id}:revoke", b"/v1/keys/7:Revoke", None),
        ("/v1/keys/{key_id}:revoke", b"/v1/keys/:revoke", None),
        ("/v1/keys/{key_id}:revoke", b"/v1/keys/7:revoke:revoke", None),
        ("/v1/keys/{key_id}:revoke", b"/v1/keys/7%3Arevoke", None),
        ("/v1/keys/{key_id}", b"/v1/keys/7%3Arevoke", {"key_id": "7:revoke"}),
        ("/v1/keys/{key_id}", b"/v1/keys/%C3%BC", {"key_id": "ü"}),
        ("/v1/keys/{key_id}", b"/v1/keys/%2525", {"key_id": "%25"}),
        ("/v1/keys/{key_id}", b"/v1/keys/%zz", {"key_id": "%zz"}),
        ("/v1/keys/{key_id}", b"/v1/keys/..", {"key_id": ".."}),
        ("/v1/{a.b}/{c}", b"/v1/1/2", {"a.b": "1", "c": "2"}),
        ("/v1/invoices:generate", b"/v1/invoices:generate", {}),
        ("/v1/invoices:generate", b"/v1/invoices", None),
    ],
)
def test_a_path_fits_its_template_only(template: str, path: bytes, expected: dict[str, str] | None) -> None:
    assert PathTemplate.parse(template).match(RequestPath.parse(path)) == expected


@pytest.mark.parametrize("path", [b"/v1/a%2Fb", b"/v1/a%2fb", b"/v1%2fkeys", b"/v1/%ff", b"/v1/\xc3\xbc"])
def test_encoded_slashes_and_other_than_utf8_are_refused(path: bytes) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        RequestPath.parse(path)
    assert refusal.value.code == "path_invalid"


@pytest.mark.parametrize(
    "template",
    ["", "v1", "/v1/", "/v1/{a}{b}", "/v1/{a=**}", "/v1/*", "/v1/{}", "/v1/{A}", "/v1:a:b", "/v1/{a}/{a}"],
)
def test_a_template_of_another_kind_is_refused_at_the_start(template: str) -> None:
    with pytest.raises(TemplateError):
        PathTemplate.parse(template)


@pytest.mark.parametrize(
    ("one", "two", "overlap"),
    [
        ("/v1/a", "/v1/a", True),
        ("/v1/a", "/v1/{x}", True),
        ("/v1/{x}/b", "/v1/a/{y}", True),
        ("/v1/a", "/v1/b", False),
        ("/v1/{x}", "/v1/{x}:do", False),
        ("/v1/{x}", "/v1/{x}/{y}", False),
    ],
)
def test_templates_overlap_when_one_path_fits_both(one: str, two: str, overlap: bool) -> None:
    first, second = PathTemplate.parse(one), PathTemplate.parse(two)
    assert first.overlaps(second) is second.overlaps(first) is overlap
