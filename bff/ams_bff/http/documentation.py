"""What the pages of the documentation show, from the same contracts as the OpenAPI document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from ams_rest import reference
from ams_rest.reference import Area, ErrorCode


@dataclass(frozen=True, slots=True)
class Documentation:
    areas: Mapping[str, Area]
    codes: Sequence[ErrorCode]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The documentation of an OpenAPI document of ours."""
        return cls(reference.areas_of(document), reference.error_codes())
