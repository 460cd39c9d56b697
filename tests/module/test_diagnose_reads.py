"""The reads of a diagnosis where there is nothing to read, and where AWS refuses some of them."""

from __future__ import annotations

import pytest
import scaling_services
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError

STACK = {
    "cluster": "no-such-cluster",
    "services": ["no-such-service"],
    "replication_group": "no-such-redis",
    "alarm_prefix": "no-such-",
}


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch):
    """``refuse("ListTasks", error)``: this call raises it from here on."""

    def add(refused, error):
        original = BaseClient._make_api_call

        def call(self, operation, arguments):
            if operation == refused:
                raise error
            return original(self, operation, arguments)

        monkeypatch.setattr(BaseClient, "_make_api_call", call)

    return add


@pytest.mark.parametrize("check", [True, False])
def test_what_is_not_there_is_missing_and_nothing_is_written(module, calls, check):
    result = module("diagnose", STACK, check=check)
    assert [(one["cause"], one["resource"]) for one in result["findings"]] == [
        ("redis_missing", "replication group no-such-redis"),
        ("service_missing", "service no-such-service"),
    ]
    assert result["healthy"] is False
    assert result["unknown"] == [
        "Queues, consumers and beat's last runs: no service is behind a load balancer",
        "Differences from the inventory: not asked for",
    ]
    assert calls
    assert calls.writes == []


@pytest.mark.parametrize(
    ("error", "cause", "words"),
    [
        (
            ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not yours"}}, "DescribeAlarms"),
            "not_allowed",
            "The deployer's IAM policies do not allow DescribeAlarms",
        ),
        (
            ClientError({"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, "DescribeAlarms"),
            "aws_throttles",
            "Rate exceeded",
        ),
        (EndpointConnectionError(endpoint_url="https://monitoring"), "aws_fails", "does not answer"),
    ],
)
def test_a_read_that_fails_is_a_finding_beside_the_others(module, refuse, error, cause, words):
    refuse("DescribeAlarms", error)
    result = module("diagnose", STACK)
    *others, last = result["findings"]
    assert [one["cause"] for one in others] == ["redis_missing", "service_missing"]
    assert (last["cause"], last["resource"]) == (cause, "API calls: cloudwatch alarms")
    assert words in last["evidence"]


def test_more_services_than_one_call_takes(module, sandbox):
    """DescribeScalableTargets takes 50 resources."""
    name = "diagnose-many"
    for services in scaling_services.services(sandbox, name):
        for number in range(51):
            services(f"many-{number}")
        result = module("diagnose", {**STACK, "cluster": name, "services": []})
    assert not [line for line in result["unknown"] if "application-autoscaling" in line]
    assert not [one for one in result["findings"] if one["cause"] == "aws_fails"]
