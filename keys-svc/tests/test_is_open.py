from ams.catalog.v1.events_pb2 import ACTIVE, ServiceSnapshot, ServiceStatus
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, Standing
from hypothesis import given
from hypothesis import strategies as st
from keys_svc.access_requests import is_open


@given(st.sampled_from(ServiceStatus.values()), st.sampled_from(Standing.values()))
def test_only_active_services_of_merchants_in_good_standing_can_be_asked_for(
    status: ServiceStatus.ValueType, standing: Standing.ValueType
) -> None:
    service = ServiceSnapshot(status=status, merchant_standing=standing)
    assert is_open(service) == (status == ACTIVE and standing == STANDING_ACTIVE)
