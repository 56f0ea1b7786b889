"""What a person has typed, and what is wrong with it.

A control is named as the request's field, in proto names with dots ("price.per_request.amount"); what a
service refuses comes back to the control of the field.
"""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from ams_common.errors import (
    AbortedError,
    AlreadyExistsError,
    AppError,
    DeadlineExceededError,
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)

# What the person can mend by typing something else, or by waiting.
_AWAY = (UnavailableError, DeadlineExceededError)
_MENDABLE = (
    InvalidArgumentError,
    AlreadyExistsError,
    FailedPreconditionError,
    AbortedError,
    ResourceExhaustedError,
    *_AWAY,
)
_AWAY_TEXT = (
    "A part of AMS is not reachable, so this may not have been done. What you typed is still here: "
    "send it again in a moment."
)
_CHANGED_TEXT = (
    "This was changed while you had it open, so nothing is saved yet. What you typed is still here. Save it "
    "again to put it in the place of what is there now"
)
# What forms hold that isn't of the thing that they change.
_CARRIED = frozenset({"etag", "example"})
_MAX_FIELDS = 500
_UPPER = re.compile(r"(?<=[a-z0-9])[A-Z]")
_INDEX = re.compile(r"\[(\d+)\]")


class Form:
    """A form of a page: empty, or as it was sent, with what is wrong with it."""

    def __init__(self, values: Mapping[str, Sequence[str]] | None = None) -> None:
        self.values = {name: list(texts) for name, texts in (values or {}).items()}
        self.errors: dict[str, str] = {}
        # What controls are called on the page, by name: as far as it has been drawn.
        self.labels: dict[str, str] = {}
        # What each choice of a control is called, by name and value.
        self.choices: dict[tuple[str, str], str] = {}
        # What is stored by now where something else was typed, by name.
        self.present: dict[str, list[str]] = {}
        # What files were sent with it, whole.
        self.files: dict[str, bytes] = {}
        self.message = ""
        self.status = 200
        # Whether it was sent, and so holds what is stored nowhere.
        self.is_sent = False

    @classmethod
    def starting(cls, **values: str | Sequence[str]) -> "Form":
        """A form that is filled in already."""
        return cls({name: [text] if isinstance(text, str) else text for name, text in values.items()})

    @classmethod
    def parse(cls, body: bytes) -> "Form":
        """application/x-www-form-urlencoded, in UTF-8. Raises InvalidArgumentError."""
        try:
            pairs = parse_qsl(
                body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS
            )
        except ValueError:
            raise InvalidArgumentError("form_invalid", "This form can't be read.") from None
        form = cls()
        form.is_sent = True
        for name, text in pairs:
            form.values.setdefault(name, []).append(text)
        return form

    def __getitem__(self, name: str) -> str:
        """What was typed, without the space around it; "" for nothing."""
        texts = self.values.get(name)
        return texts[0].strip().replace("\r\n", "\n") if texts else ""

    def all(self, name: str) -> list[str]:
        """Every value of a name: of checkboxes, say."""
        return [text for text in self.values.get(name, ()) if text]

    def whole(self, name: str, least: int, most: int) -> int:
        """A whole number within bounds; what isn't one is an error of the field, and `least` is given."""
        text = self[name].replace(" ", "").replace(",", "")
        if re.fullmatch(r"\d{1,15}", text) and least <= int(text) <= most:
            return int(text)
        self.refuse(name, f"must be a whole number from {least:,} to {most:,}")
        return least

    def refuse(self, name: str, description: str) -> None:
        """The field can't be accepted; `description` goes on after its label: "is required"."""
        self.errors.setdefault(name, description)
        self.status = InvalidArgumentError.http_status

    def name_control(self, name: str, label: str) -> str:
        """Remember what the page calls a control; "" for the template that says so."""
        self.labels[name] = label
        return ""

    def name_choice(self, name: str, value: object, label: str) -> str:
        """Remember what the page calls one choice of a control; "" for the template that says so."""
        self.choices[name, str(value)] = label
        return ""

    def label_of(self, name: str) -> str:
        return self.labels.get(name, name.rpartition(".")[2].replace("_", " ").replace(" url", " URL"))

    def present_text(self, name: str) -> str:
        """What is stored by now, as the control would show it."""
        return ", ".join(self.choices.get((name, text), text) for text in self.present[name])

    def error_text(self, name: str) -> str:
        """The field's error as a sentence that begins with its label."""
        label = self.label_of(name)
        quoted = f"“{label}”" if label.endswith("?") else label
        return sentence(f"{quoted} {self.errors[name]}")

    def check(self) -> None:
        """Raises InvalidArgumentError when a field was refused here, before any service is asked."""
        if self.errors:
            raise InvalidArgumentError("form_refused", "")

    def refused(self, error: AppError, also: type[AppError] | None = None, **names: str) -> "Form":
        """The form with what a service has against it. `names` maps a request's field, dots as two
        underscores, to its control where they differ. What the person can't mend is raised again."""
        if not isinstance(error, (*_MENDABLE, *([also] if also else []))):
            raise error
        for violation in error.violations:
            field = self._control_of(violation)
            self.errors.setdefault(names.get(field.replace(".", "__"), field), violation.description)
        # The fields' own sentences say it better.
        self.message = "" if error.violations else error.message
        if isinstance(error, _AWAY):
            self.message = _AWAY_TEXT
        self.status = error.http_status
        return self

    def beside(self, stored: "Form") -> "Form":
        """The form, with what is stored by now wherever that is another than was typed, when it was refused
        because somebody has changed it meanwhile. Sent again it replaces that, which its reader has seen."""
        if self.status != AbortedError.http_status:
            return self
        parts = {_part(name) for name in stored.values} - _CARRIED
        names = sorted(name for name in {*self.values, *stored.values} if _part(name) in parts)
        self.present = {
            name: stored.all(name) for name in names if not _is_same(self.all(name), stored.all(name))
        }
        self.values["etag"] = stored.all("etag")
        self.message = f"{_CHANGED_TEXT}{':' if self.present else '.'}"
        return self

    def _control_of(self, violation: FieldViolation) -> str:
        """The control that a violation is about: of one item of a list, where items have their own."""
        item = _field_name(violation, r".\1")
        return item if item in self.values else _field_name(violation, "")


def _part(name: str) -> str:
    """The field of the request that a control belongs to: "price" of "price.per_request.amount"."""
    return name.partition(".")[0]


def _is_same(typed: Sequence[str], stored: Sequence[str]) -> bool:
    return sorted(map(_plain, typed)) == sorted(map(_plain, stored))


def _plain(text: str) -> str:
    return text.strip().replace("\r\n", "\n")


def sentence(text: str) -> str:
    """With a capital at the start and a stop at the end."""
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."


def _field_name(violation: FieldViolation, index: str) -> str:
    """The JSON path of a violation in proto names, with `index` in place of an item's: "serviceIds[2]" is
    "service_ids" or "service_ids.2"."""
    plain = _INDEX.sub(index, violation.field)
    return _UPPER.sub(lambda letter: f"_{letter[0].lower()}", plain)
