"""`ams-verify FILE`: recomputes an invoice from its proof file, with nothing but Python (docs/proofs.md)."""

import argparse
import base64
import json
import sys
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from ams_rating import proof
from ams_rating.event_check import EventCheck
from ams_rating.invoice_check import Difference, Head, Roots, differences_in
from ams_rating.merkle import HASH_BYTES
from ams_rating.price_words import money
from ams_rating.root_digest import root_digest

# A row with an audit path has 3 kB at most, one with a price 50 kB.
_MAX_ROW_BYTES = 1_000_000
AGREES, DIFFERS, UNREADABLE = 0, 1, 2


class NoProofError(ValueError):
    """What was given isn't a proof file, or not a file of published roots."""


class Verification:
    """One reading of a file's rows. Raises NoProofError if they don't begin as a proof file does."""

    def __init__(
        self, rows: Iterable[bytes], published: Roots | None = None, digest: bytes | None = None
    ) -> None:
        self._rows = enumerate(rows, start=1)
        self._published = published
        self._digest = digest
        if not proof.is_header(self._next_row()):
            raise NoProofError(f"it doesn't begin as {proof.FORMAT} does")
        try:
            invoice = proof.read(self._next_row())
        except ValueError as error:
            raise NoProofError(f"row 2: {error}") from None
        if not isinstance(invoice, proof.Invoice):
            raise NoProofError("row 2 isn't the invoice")
        self.head = Head(invoice)
        self.events = 0
        self.test_events = 0

    def differences(self) -> Iterator[Difference]:
        """Each difference as soon as it is found. Holds the head and one event, however many come."""
        check: EventCheck | None = None
        for number, row in self._rows:
            try:
                record = proof.read(row)
                if isinstance(record, proof.Event):
                    if check is None:
                        yield from differences_in(self.head, self._published, self._digest)
                        check = EventCheck(self.head)
                    self.events += 1
                    yield from check.add(record)
                elif check is None:
                    self.head.add(record)
                else:
                    raise ValueError("events stand last")
            except ValueError as error:
                yield Difference(f"row {number} of the file", str(error))
        if check is None:
            yield from differences_in(self.head, self._published, self._digest)
            check = EventCheck(self.head)
        yield from check.sum_differences()
        self.test_events = check.test_events

    def summary(self) -> Iterator[str]:
        """What was checked, after `differences`."""
        invoice = self.head.invoice
        yield (
            f"Invoice {invoice.number or invoice.invoice_id}, {invoice.first_day} to {invoice.last_day} UTC: "
            f"{money(invoice.subtotal, invoice.currency)}, lines: {len(self.head.lines)}."
        )
        yield f"Events: {self.events}, with test keys: {self.test_events}, trees: {len(self.head.roots)}."
        # Each by itself: in their sum one above zero would hide one below, which makes its line dearer.
        for line in self.head.lines:
            if line.billed_before:
                before = money(line.billed_before, invoice.currency)
                yield f"Line {line.position} takes off {before}, billed before: see earlier invoices' files."
        if self._digest is None:
            digest = root_digest(self.head.roots).hex()
            yield f"Roots digest: {digest}. Compare it with the invoice's (--digest)."
        if self._published is None:
            yield "Roots were taken from the file itself: compare them with the published ones (--roots)."

    def _next_row(self) -> bytes:
        return next(self._rows, (0, b""))[1]


def read_roots(content: bytes) -> Roots:
    """Published roots, as `GET /api/v1/day-roots` answers. Raises NoProofError for anything else."""
    try:
        return {
            (UUID(each["merchantId"]), date.fromisoformat(each["day"]), int(each["edition"])): (
                int(each["events"]),
                base64.b64decode(each["root"], validate=True),
            )
            for each in json.loads(content)["roots"]
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise NoProofError("it isn't an answer of /api/v1/day-roots") from None


def main() -> int:
    """The command. Exit code: 0 if everything agrees, 1 if something doesn't, 2 if the file is no proof."""
    parser = argparse.ArgumentParser(
        prog="ams-verify",
        description="Recomputes an invoice from its proof file and names what doesn't agree.",
    )
    parser.add_argument("file", type=Path, help="of /api/v1/invoices/…/proof")
    parser.add_argument("--roots", type=Path, help="an answer of /api/v1/day-roots, fetched by yourself")
    parser.add_argument("--digest", type=_digest, help="the roots digest that the invoice shows")
    arguments = parser.parse_args()
    reading: Path = arguments.file
    try:
        with reading.open("rb") as file:
            published = None
            if arguments.roots:
                reading = arguments.roots
                published = read_roots(reading.read_bytes())
                reading = arguments.file
            return _report(Verification(_rows(file), published, arguments.digest))
    except (OSError, NoProofError) as error:
        print(f"{reading}: {error}", file=sys.stderr)  # noqa: T201
        return UNREADABLE


def _report(verification: Verification) -> int:
    differences = 0
    for difference in verification.differences():
        differences += 1
        print(difference)  # noqa: T201
    print(*verification.summary(), sep="\n")  # noqa: T201
    print(f"Differences: {differences}." if differences else "Everything agrees.")  # noqa: T201
    return DIFFERS if differences else AGREES


def _digest(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != HASH_BYTES:
        raise argparse.ArgumentTypeError("a digest has 64 hexadecimal digits")
    return digest


def _rows(file: BinaryIO) -> Iterator[bytes]:
    """The file's rows. One that is too long comes in pieces, which aren't JSON."""
    while row := file.readline(_MAX_ROW_BYTES):
        yield row


if __name__ == "__main__":
    sys.exit(main())
