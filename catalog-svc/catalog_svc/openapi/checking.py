"""Whether a document keeps to its specification: asked of openapi-spec-validator, told in plain words."""

from functools import cache
from itertools import islice
from typing import Any

from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from jsonschema_path import SchemaPath
from openapi_spec_validator import (
    OpenAPIV30SpecValidator,
    OpenAPIV31SpecValidator,
    OpenAPIV32SpecValidator,
)
from openapi_spec_validator.schemas.utils import get_schema_content
from referencing.exceptions import Unresolvable

from catalog_svc.openapi.problems import DocumentError, Place
from catalog_svc.openapi.reading import Source, walk

_VALIDATORS = {"3.0": OpenAPIV30SpecValidator, "3.1": OpenAPIV31SpecValidator, "3.2": OpenAPIV32SpecValidator}
_MOST_PROBLEMS = 5
_MOST_TEXT = 240
_OUTSIDE = "“{}” lies outside of the document. Put what it leads to into the document."
# What leads to another text. Only the first is ever followed, by the validator.
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
# They would make "#/…" lead elsewhere.
_BASES = ("$id", "$self")


def check(source: Source) -> None:
    """Raises DocumentError with the first few things that are wrong."""
    version = _version_of(source)
    check_references(source)
    errors = list(islice(_schema_validator(version).iter_errors(source.tree), _MOST_PROBLEMS))
    _refuse(source, [(_closest(error), ()) for error in errors])
    path = SchemaPath.from_dict(
        source.tree, handlers=dict.fromkeys(("http", "https", "file", "", "<all_urls>"), _refused)
    )
    checked = _VALIDATORS[version](path)
    try:
        errors = [_closest(error) for error in islice(checked.root_validator(path), _MOST_PROBLEMS)]
        _refuse(source, [(error, _base_of(source, error)) for error in errors])
    except Unresolvable as error:
        raise DocumentError(f"It refers to “{str(error.ref)[:_MOST_TEXT]}”, which isn't in it.") from None
    except (KeyError, IndexError, TypeError, AttributeError, AssertionError):
        # The validator expects what the schema of its version doesn't ask for: that a $ref leads to its kind.
        raise DocumentError("A reference in it leads to something of another kind.") from None


@cache
def _schema_validator(version: str) -> Validator:
    """Made here, for what is said of a document mustn't hang on what else is installed: with jsonschema-rs
    there the library's own would speak otherwise."""
    schema = get_schema_content(version)
    made: Validator = validator_for(schema)(schema)
    return made


def _version_of(source: Source) -> str:
    stated = source.tree.get("openapi")
    if "swagger" in source.tree:
        raise DocumentError("This is Swagger 2.0. Convert it to OpenAPI 3 first.")
    if not isinstance(stated, str):
        raise DocumentError("It doesn't say its version: “openapi” must be a text such as “3.1.0”.")
    version = ".".join(stated.split(".")[:2])
    if version not in _VALIDATORS:
        raise DocumentError(f"OpenAPI {stated[:20]} isn't known here: use {', '.join(_VALIDATORS)}.")
    return version


def check_references(source: Source) -> None:
    """Raises DocumentError for a reference that leads out of the document: nothing is ever fetched."""
    for place, value in walk(source.tree):
        name = place[-1] if place else ""
        if not isinstance(value, str) or not isinstance(name, str):
            continue
        if name in _REFERENCES and not value.startswith("#"):
            raise DocumentError(source.problem(place, _OUTSIDE.format(value[:_MOST_TEXT])))
        if name in _BASES:
            raise DocumentError(source.problem(place, f"“{name}” isn't supported here: leave it out."))


def _refuse(source: Source, errors: list[tuple[ValidationError, Place | None]]) -> None:
    """Raises DocumentError for errors, each with the place that its path begins at; None: unknown."""
    sentences = [
        source.problem((*base, *error.absolute_path) if base is not None else (), _words(error))
        for error, base in errors
    ]
    if sentences:
        raise DocumentError(*dict.fromkeys(sentences))


def _closest(error: ValidationError) -> ValidationError:
    """Of alternatives of which none fits, what the likeliest one lacks: the one that fits the furthest."""
    while error.context:
        error = max(error.context, key=lambda each: (len(each.absolute_path), "$ref" not in each.message))
    return error


def _base_of(source: Source, error: ValidationError) -> Place | None:
    """Where the schema stands that an error was found in, or that is wrong itself: errors about schemas tell
    only where in one."""
    steps = tuple(error.absolute_path)
    for place, value in walk(source.tree):
        if not steps and value is error.schema:
            return place
        if steps and isinstance(value, dict) and _is_there(value, steps, error.instance):
            return place
    return None


def _is_there(node: Any, steps: Place, wanted: Any) -> bool:
    for step in steps:
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            return False
    # Equal numbers are one object wherever they stand.
    return node is wanted and isinstance(node, (str, dict, list))


def _words(error: ValidationError) -> str:
    text: str = error.message
    if error.validator == "required" and isinstance(error.instance, dict):
        lacking = [name for name in error.validator_value if name not in error.instance]
        text = f"“{lacking[0]}” is missing" if lacking else text
    elif error.validator == "type":
        text = f"this must be {_kinds(error.validator_value)}"
    elif error.validator == "enum":
        text = f"this must be one of {', '.join(map(str, error.validator_value))}"
    elif error.validator in ("additionalProperties", "unevaluatedProperties") and isinstance(
        error.instance, dict
    ):
        names = [name for name in error.instance if f"'{name}'" in text]
        text = f"{', '.join(f'“{name}”' for name in names)} isn't expected here" if names else text
    text = text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}…"
    return f"{text.rstrip('.')}."


def _kinds(names: Any) -> str:
    words = {
        "object": "an object",
        "array": "a list",
        "string": "a text",
        "boolean": "true or false",
        "integer": "a whole number",
        "null": "null",
    }
    listed = [names] if isinstance(names, str) else list(names)
    return " or ".join(words.get(name, f"a {name}") for name in listed)


def _refused(uri: str) -> Any:
    raise DocumentError(_OUTSIDE.format(uri[:_MOST_TEXT]))
