"""Whatever listens gets a port of its own."""

from ams_local.system import USUAL_PORTS, free_ports, usual_or_free_ports


def test_no_two_that_listen_share_a_port() -> None:
    for chosen in (USUAL_PORTS, usual_or_free_ports(), free_ports()):
        assert len(set(chosen.values())) == len(chosen)
