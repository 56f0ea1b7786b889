"""Every door of the system gets a port of its own."""

from dataclasses import astuple

from ams_local.system import Ports


def test_no_two_doors_share_a_port() -> None:
    chosen = astuple(Ports.choose())
    assert len(set(chosen)) == len(chosen)
