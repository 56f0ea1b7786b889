"""What the URL of the usage page asks for: how far back, in which steps, grouped by what."""

from collections.abc import Mapping
from dataclasses import dataclass

from ams.usage.v1 import usage_service_pb2 as pb

from ams_bff.usage.reports import GRANULARITY_NAMES

GROUPINGS = {"service": pb.SERVICE, "key": pb.KEY, "status": pb.STATUS_CLASS}


@dataclass(frozen=True, slots=True)
class RangePreset:
    """How far back a page looks: its name in the URL, in words, and buckets by granularity; the first
    granularity is the one without a choice."""

    name: str
    words: str
    buckets: Mapping[pb.Granularity.ValueType, int]
    poll_every: int  # beats of a live page until it is worth loading again


PRESETS = {
    preset.name: preset
    for preset in (
        RangePreset("1h", "hour", {pb.MINUTE: 60}, 1),
        RangePreset("6h", "6 hours", {pb.MINUTE: 360}, 2),
        RangePreset("24h", "24 hours", {pb.HOUR: 24}, 1),
        RangePreset("7d", "7 days", {pb.HOUR: 168, pb.DAY: 7}, 3),
        RangePreset("30d", "30 days", {pb.DAY: 30}, 6),
        RangePreset("90d", "90 days", {pb.DAY: 90}, 12),
    )
}
DEFAULT_PRESET = PRESETS["24h"]


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """What the URL can't ask for is as if it hadn't."""

    preset: RangePreset
    granularity: pb.Granularity.ValueType
    group: str  # one of GROUPINGS

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> "ReportQuery":
        """Of a URL's `range`, `by` and `group`."""
        preset = PRESETS.get(query.get("range", ""), DEFAULT_PRESET)
        named = {GRANULARITY_NAMES[granularity]: granularity for granularity in preset.buckets}
        granularity = named.get(query.get("by", ""), next(iter(preset.buckets)))
        group = query.get("group", "")
        return cls(preset, granularity, group if group in GROUPINGS else "service")

    @property
    def granularity_name(self) -> str:
        return GRANULARITY_NAMES[self.granularity]
