"""The messages that keys-svc makes of its rows."""

from datetime import datetime

from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1.events_pb2 import KeySnapshot, SpendCap
from ams_common.clock import to_timestamp

from keys_svc.access_requests import AccessRequest
from keys_svc.consumers import Consumer
from keys_svc.keys import Key, status_of


def access_request_message(request: AccessRequest) -> pb.AccessRequest:
    return pb.AccessRequest(
        access_request_id=str(request.access_request_id),
        consumer_id=str(request.consumer_id),
        service_id=str(request.service_id),
        status=pb.AccessRequestStatus.Value(request.status.upper()),
        note=request.note,
        reason=request.reason,
        requested_at=to_timestamp(request.requested_at),
        resolved_at=to_timestamp(request.resolved_at),
    )


def key_message(key: Key, now: datetime) -> pb.Key:
    return pb.Key(
        key_id=str(key.key_id),
        consumer_id=str(key.consumer_id),
        name=key.name,
        description=key.description,
        key_prefix=key.key_prefix,
        service_ids=[str(service_id) for service_id in key.service_ids],
        status=status_of(key, now),
        ttl_days=key.ttl_days,
        expires_at=to_timestamp(key.expires_at),
        created_at=to_timestamp(key.created_at),
        revoked_at=to_timestamp(key.revoked_at),
        spend_cap=key.spend_cap.to_money() if key.spend_cap is not None else None,
        is_test=key.is_test,
    )


def consumer_spend_cap_message(consumer: Consumer) -> pb.ConsumerSpendCap:
    cap = consumer.spend_cap
    return pb.ConsumerSpendCap(amount=cap.to_money() if cap is not None else None)


def key_snapshot(key: Key, consumer: Consumer, now: datetime) -> KeySnapshot:
    """What the gateway serves from. It is written for keys that are active or revoked: that a key expires
    the gateway sees by its own clock."""
    caps = {SpendCap.KEY: key.spend_cap, SpendCap.CONSUMER: consumer.spend_cap}
    return KeySnapshot(
        key_id=str(key.key_id),
        consumer_id=str(key.consumer_id),
        key_prefix=key.key_prefix,
        service_ids=[str(service_id) for service_id in key.service_ids],
        status=status_of(key, now),
        expires_at=to_timestamp(key.expires_at),
        consumer_standing=consumer.standing,
        version=key.snapshot_version,
        spend_caps=[
            SpendCap(scope=scope, amount=cap.to_money()) for scope, cap in caps.items() if cap is not None
        ],
        is_test=key.is_test,
    )
