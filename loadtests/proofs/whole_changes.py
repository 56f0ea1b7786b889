"""Whether each change is whole or absent: what it leaves in its owner's tables, beside its audit record."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from loadtests.proofs.many_changes import Change

Connections = Mapping[str, asyncpg.Connection]  # by schema


@dataclass(frozen=True)
class Found:
    """What there is of a change: the rows that each of its traces finds, and the requests that the audit log
    says have made it."""

    change: Change
    rows: tuple[int, ...]
    made_by: tuple[str, ...]

    @property
    def is_there(self) -> bool:
        return bool(self.made_by)

    @property
    def fault(self) -> str:
        """What is wrong; "" for a change that is whole, or wholly absent. Pure."""
        wanted = 1 if self.is_there else 0
        if len(self.made_by) > 1 or any(count != wanted for count in self.rows):
            return f"rows {self.rows}, audit records {len(self.made_by)}"
        if self.change.is_answered and not self.is_there:
            return "was answered, and isn't there"
        if self.change.is_answered or self.change.is_lost:
            return ""
        last = self.change.answers[-1]
        return f"was answered with {last.status}: {last.text[:200]}"


async def find(connections: Connections, change: Change) -> Found:
    rows = await connections[change.kind.owner].fetchrow(change.kind.sql, *change.parameters)
    records = await connections["identity"].fetch(
        "SELECT request_id FROM audit.records WHERE request_id = ANY($1)", change.request_ids
    )
    return Found(change, tuple(rows), tuple(record["request_id"] for record in records))


def faults(found: Sequence[Found]) -> list[str]:
    """A line for each change that isn't whole, nor absent. Pure."""
    return [f"{each.change.name} {each.change.parameters}: {each.fault}" for each in found if each.fault]


def summary(found: Sequence[Found]) -> list[str]:
    """A line for each kind: how many were asked for, and what came of them. Pure."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for each in found:
        counts[each.change.name] += Counter(_outcomes(each))
    columns = ("asked", "answered", "lost", "repeated", "replayed", "whole", "absent", "refused")
    lines = [f"{'':18}" + "".join(f"{column:>10}" for column in columns)]
    for name in sorted(counts):
        lines.append(f"{name:18}" + "".join(f"{counts[name][column]:10}" for column in columns))
    total = sum(counts.values(), Counter[str]())
    return [*lines, f"{'in all':18}" + "".join(f"{total[column]:10}" for column in columns)]


def _outcomes(found: Found) -> list[str]:
    """`lost`: nothing was heard of it. Those that can be are `repeated` until they are answered; what had
    been made is then only `replayed`. Of the others it is seen whether they are `whole` or `absent`."""
    change = found.change
    if change.is_lost:
        return ["asked", "lost", "whole" if found.is_there else "absent"]
    if not change.is_answered:
        return ["asked", "refused"]
    if len(change.answers) == 1:
        return ["asked", "answered"]
    is_replayed = change.request_ids[-1] not in found.made_by
    return ["asked", "answered", "lost", "repeated"] + (["replayed"] if is_replayed else [])
