"""What tells the time: ams_common.clock.utc_now, or something that a test moves."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

Clock: TypeAlias = Callable[[], datetime]
