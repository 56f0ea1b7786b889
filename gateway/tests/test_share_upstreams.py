"""An origin's connections are shared: nobody takes what others need."""

from ams_gateway.http.targets import Origin, origin_of
from ams_gateway.upstream.admission import (
    Admission,
    OriginCalls,
    Outcome,
    Refusal,
    RefusalReason,
    may_add_call,
)
from ams_gateway.upstream.breaker import BreakerLimits, CircuitBreaker
from hypothesis import given
from hypothesis import strategies as st

ORIGIN = origin_of("api.example.com", 443, True)
OTHER = origin_of("other.example.com", 443, True)
BUSY = Refusal(RefusalReason.BUSY, 1)


class Sharing:
    """An admission, and what it has let in. Each origin is a merchant of its own where none is named."""

    def __init__(self, max_calls: int = 100_000) -> None:
        self.admission = Admission(max_calls)
        self.held: dict[tuple[Origin, str], list[OriginCalls]] = {}

    def acquire(
        self, origin: Origin, consumer_id: str, max_connections: int, now_s: float, merchant_id: str = ""
    ) -> Refusal | None:
        merchant_id = merchant_id or origin.host
        answer = self.admission.acquire(origin, merchant_id, consumer_id, max_connections, now_s)
        if isinstance(answer, Refusal):
            return answer
        self.held.setdefault((origin, consumer_id), []).append(answer)
        return None

    def release(
        self,
        origin: Origin,
        consumer_id: str,
        outcome: Outcome,
        *,
        admitted_at_s: float,
        now_s: float,
        merchant_id: str = "",
    ) -> None:
        calls, merchant_id = self.held[origin, consumer_id].pop(), merchant_id or origin.host
        self.admission.release(
            calls, merchant_id, consumer_id, outcome, admitted_at_s=admitted_at_s, now_s=now_s
        )


def take_all(sharing: Sharing, consumer_id: str, max_connections: int = 1000) -> int:
    """As many calls as the consumer gets."""
    count = 0
    while sharing.acquire(ORIGIN, consumer_id, max_connections, 0.0) is None:
        count += 1
    return count


def give_back(sharing: Sharing, consumer_id: str, outcome: Outcome = Outcome.ANSWERED) -> None:
    sharing.release(ORIGIN, consumer_id, outcome, admitted_at_s=0.0, now_s=0.0)


def test_one_consumers_thousand_slow_calls_leave_half_to_others() -> None:
    sharing = Sharing()
    assert take_all(sharing, "greedy") == 500
    assert [sharing.acquire(ORIGIN, f"other-{number}", 1000, 0.0) for number in range(500)] == [None] * 500


def test_who_came_first_gets_nothing_new_until_shares_are_even() -> None:
    sharing = Sharing()
    assert take_all(sharing, "first") == 500
    assert take_all(sharing, "second") == 250
    for _ in range(166):
        give_back(sharing, "first")
        assert sharing.acquire(ORIGIN, "first", 1000, 0.0) == BUSY
        assert sharing.acquire(ORIGIN, "second", 1000, 0.0) in (None, BUSY)
    assert take_all(sharing, "third") >= 1


def test_origins_dont_share_with_each_other() -> None:
    sharing = Sharing()
    take_all(sharing, "greedy")
    assert sharing.acquire(OTHER, "greedy", 1000, 0.0) is None


def test_a_service_without_a_cap_has_the_default() -> None:
    assert take_all(Sharing(), "greedy", max_connections=0) == 500


def test_a_cap_of_one_admits_one_call_at_a_time() -> None:
    sharing = Sharing()
    assert sharing.acquire(ORIGIN, "a", 1, 0.0) is None
    assert sharing.acquire(ORIGIN, "b", 1, 0.0) == BUSY
    give_back(sharing, "a")
    assert sharing.acquire(ORIGIN, "b", 1, 0.0) is None


def test_an_origin_that_fails_is_refused_and_says_when_to_come_back() -> None:
    sharing = Sharing()
    for _ in range(5):
        assert sharing.acquire(ORIGIN, "a", 1000, 0.0) is None
        give_back(sharing, "a", Outcome.FAILED)
    assert sharing.acquire(ORIGIN, "a", 1000, 0.0) == Refusal(RefusalReason.FAILING, 1)
    assert sharing.acquire(OTHER, "a", 1000, 0.0) is None


def test_consumers_who_hang_up_dont_open_the_breaker() -> None:
    sharing = Sharing()
    for _ in range(100):
        assert sharing.acquire(ORIGIN, "a", 1000, 0.0) is None
        give_back(sharing, "a", Outcome.UNKNOWN)


def test_a_refused_consumer_doesnt_use_up_the_probe() -> None:
    sharing = Sharing()
    assert sharing.acquire(ORIGIN, "slow", 4, 0.0) is None
    assert sharing.acquire(ORIGIN, "slow", 4, 0.0) is None
    for _ in range(5):
        assert sharing.acquire(ORIGIN, "a", 4, 0.0) is None
        give_back(sharing, "a", Outcome.FAILED)
    assert sharing.acquire(ORIGIN, "slow", 4, 1.0) == BUSY
    assert sharing.acquire(ORIGIN, "a", 4, 1.0) is None


def test_origins_that_nobody_calls_are_forgotten_and_failing_ones_are_not() -> None:
    sharing = Sharing()
    assert sharing.acquire(ORIGIN, "a", 1000, 0.0) is None
    for _ in range(5):
        assert sharing.acquire(OTHER, "a", 1000, 0.0) is None
        sharing.release(OTHER, "a", Outcome.FAILED, admitted_at_s=0.0, now_s=0.0)
    sharing.admission.forget_unused(1.0)
    assert len(sharing.admission) == 2
    give_back(sharing, "a")
    sharing.admission.forget_unused(1.0)
    assert len(sharing.admission) == 1
    sharing.admission.forget_unused(3600.0)
    assert len(sharing.admission) == 0


def origins(count: int) -> list[Origin]:
    return [origin_of(f"{number}.example.com", 443, True) for number in range(count)]


def test_a_merchant_of_many_origins_and_consumers_leaves_half_to_others() -> None:
    sharing = Sharing(max_calls=100)
    many = origins(200)
    taken = [
        number
        for number, origin in enumerate(many)
        if sharing.acquire(origin, f"consumer-{number}", 1000, 0.0, "greedy") is None
    ]
    assert taken == list(range(50))
    others = [
        sharing.acquire(origin, "a", 1000, 0.0, f"merchant-{number}")
        for number, origin in enumerate(many[:51])
    ]
    assert others == [None] * 50 + [BUSY]
    # What is given back is for others first.
    for number in taken[:25]:
        sharing.release(
            many[number],
            f"consumer-{number}",
            Outcome.ANSWERED,
            admitted_at_s=0.0,
            now_s=0.0,
            merchant_id="greedy",
        )
    assert sharing.acquire(ORIGIN, "a", 1000, 0.0, "greedy") == BUSY
    assert sharing.acquire(ORIGIN, "a", 1000, 0.0, "new") is None


@given(
    st.integers(1, 100),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.booleans()), max_size=300),
)
def test_all_calls_stay_below_their_cap_and_no_merchant_takes_more_than_half(
    cap: int, steps: list[tuple[int, int, bool]]
) -> None:
    sharing, many = Sharing(max_calls=cap), origins(10)
    held: dict[str, list[Origin]] = {str(number): [] for number in range(4)}
    for merchant, number, takes in steps:
        origins_of, merchant_id = held[str(merchant)], str(merchant)
        if takes and sharing.acquire(many[number], merchant_id, 1000, 0.0, merchant_id) is None:
            origins_of.append(many[number])
        elif not takes and origins_of:
            sharing.release(
                origins_of.pop(),
                merchant_id,
                Outcome.UNKNOWN,
                admitted_at_s=0.0,
                now_s=0.0,
                merchant_id=merchant_id,
            )
        under_way = sum(map(len, held.values()))
        assert under_way <= cap
        assert max(map(len, held.values())) <= (cap + 1) // 2
        # Whoever has none gets one as long as there is any.
        for other, its_origins in held.items():
            if not its_origins and under_way < cap:
                assert sharing.acquire(ORIGIN, other, 1000, 0.0, other) is None
                sharing.release(
                    ORIGIN, other, Outcome.UNKNOWN, admitted_at_s=0.0, now_s=0.0, merchant_id=other
                )


@given(st.integers(1, 2000), st.integers(1, 2000))
def test_a_consumer_who_holds_nothing_is_admitted_while_anything_is_free(cap: int, under_way: int) -> None:
    assert may_add_call(0, under_way, cap) == (under_way < cap)


@given(st.integers(1, 300), st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=400))
def test_the_cap_holds_and_no_consumer_takes_more_than_half(cap: int, steps: list[tuple[int, bool]]) -> None:
    sharing, held = Sharing(), dict.fromkeys(map(str, range(6)), 0)
    for number, takes in steps:
        consumer_id = str(number)
        if takes and sharing.acquire(ORIGIN, consumer_id, cap, 0.0) is None:
            held[consumer_id] += 1
        elif not takes and held[consumer_id]:
            give_back(sharing, consumer_id)
            held[consumer_id] -= 1
        assert sum(held.values()) <= cap
        assert max(held.values()) <= (cap + 1) // 2


@given(st.integers(1, 5), st.integers(50, 1000))
def test_greedy_consumers_who_come_together_get_equal_shares_and_leave_one_free(
    consumers: int, cap: int
) -> None:
    sharing = Sharing()
    taken = dict.fromkeys(map(str, range(consumers)), 0)
    active = set(taken)
    while active:
        for consumer_id in sorted(active):
            if sharing.acquire(ORIGIN, consumer_id, cap, 0.0) is None:
                taken[consumer_id] += 1
            else:
                active.discard(consumer_id)
    share = cap / (consumers + 1)
    assert all(share - 1 <= count <= share + 1 for count in taken.values())
    assert cap - sum(taken.values()) >= int(share) - consumers


def test_a_call_that_goes_on_lets_others_in_as_soon_as_it_is_answered() -> None:
    """A WebSocket may last for hours: its end would tell too late that the upstream works again."""
    calls = OriginCalls(CircuitBreaker(BreakerLimits(consecutive_failures=1)))
    assert calls.acquire("a", 10, 0.0) is None
    calls.release("a", Outcome.FAILED, admitted_at_s=0.0, now_s=1.0)
    assert calls.acquire("a", 10, 3.0) is None
    assert calls.acquire("a", 10, 3.5) == Refusal(RefusalReason.FAILING, 1)
    calls.note_answer(3.0)
    assert calls.acquire("a", 10, 4.0) is None
    for admitted_at_s in (3.0, 4.0):
        calls.release("a", Outcome.ANSWERED, admitted_at_s=admitted_at_s, now_s=9.0)
    assert (calls.under_way, calls.by_consumer) == (0, {})
