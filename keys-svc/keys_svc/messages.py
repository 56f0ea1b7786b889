"""The messages that keys-svc makes of its rows."""

from datetime import datetime
from uuid import UUID

from ams.keys.v1 import grants_service_pb2 as grants_pb
from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1.events_pb2 import KeySnapshot
from ams.keys.v1.events_pb2 import SpendCap as ScopedCap
from ams_common.clock import to_timestamp

from keys_svc.access_requests import PARTIES, AccessRequest, status_value
from keys_svc.consumers import Consumer
from keys_svc.grants import Grant
from keys_svc.keys import Key, status_of
from keys_svc.secrets import Secret
from keys_svc.spend_caps import SpendCap


def access_request_message(request: AccessRequest) -> pb.AccessRequest:
    return pb.AccessRequest(
        access_request_id=str(request.access_request_id),
        consumer_id=str(request.consumer_id),
        project_id=str(request.project_id or ""),
        service_id=str(request.service_id),
        status=status_value(request.status),
        note=request.note,
        reason=request.reason,
        requested_at=to_timestamp(request.requested_at),
        requested_by=str(request.requested_by),
        resolved_at=to_timestamp(request.resolved_at),
        resolved_by=PARTIES[request.resolver],
        grant_id=str(request.grant_id or ""),
        ended_at=to_timestamp(request.ended_at),
        ended_by=PARTIES[request.ended_by],
        end_reason=request.end_reason,
    )


def grant_message(grant: Grant) -> grants_pb.Grant:
    return grants_pb.Grant(
        grant_id=str(grant.grant_id),
        consumer_id=str(grant.consumer_id),
        project_id=str(grant.project_id or ""),
        service_id=str(grant.service_id),
        access_request_id=str(grant.access_request_id),
        granted_at=to_timestamp(grant.granted_at),
        ended_at=to_timestamp(grant.ended_at),
        ended_by=PARTIES[grant.ended_by],
        end_reason=grant.end_reason,
    )


def key_message(key: Key, now: datetime, is_changeable: bool = False) -> pb.Key:
    """`is_changeable`: whether whoever asked may change it."""
    message = pb.Key(
        key_id=str(key.key_id),
        consumer_id=str(key.consumer_id),
        project_id=str(key.project_id or ""),
        created_by=str(key.created_by),
        name=key.name,
        description=key.description,
        key_prefix=key.key_prefix,
        service_ids=[str(service.service_id) for service in key.callable_services],
        service_terms=[terms for each in key.callable_services if (terms := each.terms()) is not None],
        lost_services=[
            pb.LostService(service_id=str(each.service_id), reason=each.loss)
            for each in key.services
            if each.loss is not None
        ],
        status=status_of(key, now),
        ttl_days=key.ttl_days or 0,
        expires_at=to_timestamp(key.expires_at),
        created_at=to_timestamp(key.created_at),
        revoked_at=to_timestamp(key.revoked_at),
        disabled_at=to_timestamp(key.disabled_at),
        rotated_at=to_timestamp(key.rotated_at),
        allowed_networks=key.allowed_networks,
        spend_cap=key.spend_cap.to_money() if key.spend_cap is not None else None,
        is_test=key.is_test,
        is_changeable=is_changeable,
    )
    working = [each for each in key.previous if each.ends_at > now]
    if working:
        message.previous_secret.key_prefix = working[-1].key_prefix
        message.previous_secret.ends_at.FromDatetime(working[-1].ends_at)
    return message


def consumer_spend_cap_message(consumer: Consumer) -> pb.ConsumerSpendCap:
    cap = consumer.spend_cap
    return pb.ConsumerSpendCap(amount=cap.to_money() if cap is not None else None)


def project_spend_cap_message(project_id: UUID, cap: SpendCap | None) -> pb.ProjectSpendCap:
    amount = cap.to_money() if cap is not None else None
    return pb.ProjectSpendCap(project_id=str(project_id), amount=amount)


def key_snapshot(key: Key, secret: Secret, consumer: Consumer, now: datetime) -> KeySnapshot:
    """What the gateway serves from, for one of the key's secrets. It is written for keys that are active,
    disabled or revoked: that a key or a secret expires the gateway sees by its own clock."""
    caps = {
        ScopedCap.KEY: key.spend_cap,
        ScopedCap.PROJECT: key.project_spend_cap,
        ScopedCap.CONSUMER: consumer.spend_cap,
    }
    services = key.callable_services
    return KeySnapshot(
        key_id=str(key.key_id),
        consumer_id=str(key.consumer_id),
        project_id=str(key.project_id or ""),
        key_prefix=secret.key_prefix,
        service_ids=[str(service.service_id) for service in services],
        service_terms=[terms for each in services if (terms := each.terms()) is not None],
        status=status_of(key, now),
        expires_at=to_timestamp(secret.expires_at),
        consumer_standing=consumer.standing,
        version=key.snapshot_version,
        spend_caps=[
            ScopedCap(scope=scope, amount=cap.to_money()) for scope, cap in caps.items() if cap is not None
        ],
        is_test=key.is_test,
        allowed_networks=key.allowed_networks,
    )
