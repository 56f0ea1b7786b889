"""A library that repeats itself doesn't drown what else is said."""

import logging

from ams_common.logs import Restraint


def record(name: str) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, __file__, 1, "Unable to connect", None, None)


def test_so_many_a_second_pass_and_the_next_says_how_many_did_not() -> None:
    now_s = 7.0
    restraint = Restraint("aiokafka", 2, lambda: now_s)
    passed = [restraint.filter(record("aiokafka.client")) for _ in range(10)]
    assert passed == [True, True, *[False] * 8]
    now_s = 8.1
    first, second = record("aiokafka.consumer.fetcher"), record("aiokafka")
    assert restraint.filter(first) and restraint.filter(second)
    assert vars(first)["left_out"] == 8
    assert "left_out" not in vars(second)


def test_everybody_else_passes_unbounded() -> None:
    restraint = Restraint("aiokafka", 0, lambda: 1.0)
    assert all(restraint.filter(record(name)) for name in ("ams_common", "aiokafkas", "kafka.aiokafka"))
