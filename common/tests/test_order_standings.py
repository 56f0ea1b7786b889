"""Which of two states of somebody's standing is in force."""

from collections.abc import Sequence
from uuid import UUID

from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_BLOCKED, Standing
from ams_common.standings import StandingState, is_newer, newest
from hypothesis import given
from hypothesis import strategies as st

USERS = [UUID(int=number) for number in range(1, 4)]


@st.composite
def histories(draw: st.DrawFn) -> Sequence[StandingState]:
    """States in the order of their versions, each version once, as identity-svc draws them."""
    users = draw(st.lists(st.sampled_from(USERS), max_size=12))
    standings: Sequence[Standing.ValueType] = (STANDING_ACTIVE, STANDING_BLOCKED)
    return [StandingState(user, standings[number % 2], number + 1) for number, user in enumerate(users)]


@given(histories(), st.data())
def test_in_whatever_order_and_how_often_states_come_the_last_made_is_in_force(
    history: Sequence[StandingState], data: st.DataObject
) -> None:
    heard = data.draw(
        st.permutations([*history, *data.draw(st.lists(st.sampled_from(history)))])
        if history
        else st.just([])
    )
    assert newest(heard) == newest(history)
    assert {state.user_id: state for state in newest(heard)} == {state.user_id: state for state in history}


def test_states_of_before_there_were_versions_count_in_their_order_and_below_all_others() -> None:
    user = USERS[0]
    blocked, active = StandingState(user, STANDING_BLOCKED, 0), StandingState(user, STANDING_ACTIVE, 0)
    versioned = StandingState(user, STANDING_BLOCKED, 1)
    assert newest([blocked, active]) == [active]
    assert newest([versioned, active]) == newest([active, versioned]) == [versioned]


@given(st.integers(0), st.integers(0))
def test_of_two_versions_at_most_one_is_newer(one: int, other: int) -> None:
    assert not (is_newer(one, other) and is_newer(other, one)) or one == other == 0
