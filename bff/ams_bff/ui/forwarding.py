"""How a service's calls are forwarded, as pages tell it."""

from ams.catalog.v1.forwarding_pb2 import ForwardingSettings

# What a 0 stands for, as the contract says it.
DEFAULTS = ForwardingSettings(
    first_byte_timeout_s=30, idle_timeout_s=300, total_timeout_s=3600, max_connections=1000
)


def in_force(settings: ForwardingSettings) -> ForwardingSettings:
    """The settings with the platform's defaults where none is set."""
    filled = ForwardingSettings()
    filled.CopyFrom(DEFAULTS)
    # A merge leaves out what is 0.
    filled.MergeFrom(settings)
    return filled
