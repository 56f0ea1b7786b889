"""What an admin is told to do first, in place of empty charts."""

from ams_bff.views.admin_overview import first_steps


def test_an_empty_marketplace_is_opened_in_three_steps() -> None:
    assert [done for *_, done in first_steps(False, False, False)] == [False, False, False]
    assert [done for *_, done in first_steps(True, False, True)] == [True, False, True]


def test_an_open_marketplace_has_figures_instead() -> None:
    assert first_steps(True, True, False) == []
