"""Quotas of Fargate: what applies to this account, what AWS begins with, and which metric tells the usage."""

import pytest
from botocore.exceptions import ClientError

from sandbox import service_quotas


@pytest.mark.parametrize("code", sorted(service_quotas.FARGATE))
def test_applied_and_default_quotas_of_fargate(sandbox, code):
    client = sandbox.client("service-quotas")
    applied = client.get_service_quota(ServiceCode="fargate", QuotaCode=code)["Quota"]
    default = client.get_aws_default_service_quota(ServiceCode="fargate", QuotaCode=code)["Quota"]
    assert (applied["QuotaName"], default["QuotaName"]) == (service_quotas.FARGATE[code][0],) * 2
    assert (applied["Value"], default["Value"]) == (service_quotas.APPLIED, service_quotas.DEFAULT)
    assert applied["UsageMetric"]["MetricDimensions"]["Class"] == service_quotas.FARGATE[code][1]


@pytest.mark.parametrize("service", ["fargate", "ecs"])
def test_a_quota_that_nobody_knows(sandbox, service):
    for operation in ("get_service_quota", "get_aws_default_service_quota"):
        with pytest.raises(ClientError, match="NoSuchResourceException"):
            getattr(sandbox.client("service-quotas"), operation)(ServiceCode=service, QuotaCode="L-0")


def test_the_quotas_that_moto_knows_are_left_to_it(sandbox):
    quota = sandbox.client("service-quotas").get_service_quota(ServiceCode="vpc", QuotaCode="L-7E9ECCDB")["Quota"]
    assert quota["Value"] == 50
