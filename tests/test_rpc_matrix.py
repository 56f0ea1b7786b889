"""Every RPC of every contract × whoever may come. Who is let in by role stands in tables by hand, which each
service's tests hold against it. Here it is shown that none is left out, and what holds for all: tokens
that may only read change nothing, who has lost every role gets what is for everybody, changes are audited."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role, Rule
from ams_common.context import ANONYMOUS, Caller
from ams_common.ids import uuid7
from ams_common.policy import denial, rules_of
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

ROOT = Path(__file__).resolve().parents[1]
# What an RPC that changes nothing begins with.
_READING = ("Get", "List", "BatchGet", "Watch", "Check", "Read", "Preview", "Simulate", "Estimate")
# They read, though their names don't say so; or what they make is their caller's own proof of who it is.
_ALSO_READING = {"IssueServiceToken", "StartOidcSignIn"}


def services() -> Iterator[ServiceDescriptor]:
    """Every gRPC service of our protos, with the proto's package and name."""
    text = files("ams").joinpath("descriptors.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(text).file:
        if file.package.startswith("ams.") and file.service:
            __import__(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
            found = descriptor_pool.Default().FindFileByName(file.name)
            yield from found.services_by_name.values()


RULES = rules_of(services())
RPCS = [pytest.param(rule, id=name) for name, rule in RULES.items()]
_TESTS = [path.read_text() for path in ROOT.glob("*-svc/tests/test_*.py")]
_TABLES = "\n".join(text for text in _TESTS if "callers_let_in" in text)


def person(*roles: Role.ValueType, credential: str = "session:1", is_read_only: bool = False) -> Caller:
    """Somebody who is signed in."""
    return Caller(uuid7(), frozenset(roles), credential=credential, is_read_only=is_read_only)


def test_there_are_rpcs() -> None:
    assert len(RULES) > 200


@pytest.mark.parametrize("name", RULES)
def test_every_rpc_has_its_row_in_a_table(name: str) -> None:
    rpc = name.rpartition("/")[2]
    assert f'"{rpc}"' in _TABLES, f"{rpc} is in no service's table of callers_let_in"


@pytest.mark.parametrize("name", RULES)
def test_what_changes_something_is_audited(name: str) -> None:
    rpc = name.rpartition("/")[2]
    is_reading = rpc.startswith(_READING) or rpc in _ALSO_READING
    assert bool(RULES[name].audit) != is_reading, f"{rpc} is named as if it were otherwise"


@pytest.mark.parametrize("rule", RPCS)
def test_a_token_that_may_only_read_changes_nothing(rule: Rule) -> None:
    reader = person(ADMIN, MERCHANT, CONSUMER, credential="token:1", is_read_only=True)
    refused = denial(rule, reader)
    if rule.audit:
        assert refused is not None and refused.code == "token_scope"
    elif rule.roles or rule.signed_in:
        assert refused is None or refused.code == "session_required"


@pytest.mark.parametrize("rule", RPCS)
def test_a_token_does_what_its_role_may_but_not_what_needs_a_session(rule: Rule) -> None:
    writer = person(ADMIN, MERCHANT, CONSUMER, credential="token:1")
    refused = denial(rule, writer)
    if rule.session_only:
        assert refused is not None and refused.code == "session_required"
    elif rule.roles or rule.signed_in or rule.public:
        assert refused is None


@pytest.mark.parametrize("rule", RPCS)
def test_who_has_lost_every_role_gets_what_is_for_everybody(rule: Rule) -> None:
    refused = denial(rule, person())
    if rule.public or rule.signed_in:
        assert refused is None
    else:
        assert refused is not None and refused.code == "role_required"


@pytest.mark.parametrize("rule", RPCS)
def test_nobody_gets_what_is_open_to_everybody(rule: Rule) -> None:
    refused = denial(rule, ANONYMOUS)
    assert (refused is None) == rule.public


@pytest.mark.parametrize("rule", RPCS)
def test_a_service_gets_what_names_it(rule: Rule) -> None:
    stranger = denial(rule, Caller(service="nobody-svc"))
    assert (stranger is None) == rule.public
    for name in rule.callers:
        assert denial(rule, Caller(service=name)) is None


def test_a_rule_that_is_missing_lets_nobody_in() -> None:
    everything = person(ADMIN, MERCHANT, CONSUMER)
    refused = denial(None, everything)
    assert refused is not None and refused.code == "rpc_not_served"
