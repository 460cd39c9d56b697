"""Service Quotas of Fargate, which moto does not know.

https://docs.aws.amazon.com/general/latest/gr/ecs-service.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/monitoring-fargate-usage.html
"""

import json
from typing import Any

from .core import Sandbox

FARGATE = {
    "L-3032A538": ("Fargate On-Demand vCPU resource count", "Standard/OnDemand"),
    "L-36FBB829": ("Fargate Spot vCPU resource count", "Standard/Spot"),
}
"""Code -> name, and the metric's dimension Class."""
DEFAULT, APPLIED = 6.0, 64.0
"""vCPUs. AWS begins with the first and raises it as an account is used; the second is an assumption about this one."""


def quota(code: str, region: str, account: str, value: float) -> dict[str, Any]:
    name, kind = FARGATE[code]
    return {
        "ServiceCode": "fargate",
        "ServiceName": "AWS Fargate",
        "QuotaArn": f"arn:aws:servicequotas:{region}:{account}:fargate/{code}",
        "QuotaCode": code,
        "QuotaName": name,
        "Value": value,
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
        "UsageMetric": {
            "MetricNamespace": "AWS/Usage",
            "MetricName": "ResourceCount",
            "MetricDimensions": {"Class": kind, "Resource": "vCPU", "Service": "Fargate", "Type": "Resource"},
            "MetricStatisticRecommendation": "Maximum",
        },
    }


def install(sandbox: Sandbox) -> None:
    from moto.servicequotas.exceptions import NoSuchResource
    from moto.servicequotas.responses import ServiceQuotasResponse

    known = ServiceQuotasResponse.get_service_quota

    def answer(response, value: float) -> str:
        asked = json.loads(response.body)
        if asked.get("QuotaCode") not in FARGATE:
            raise NoSuchResource
        return json.dumps({"Quota": quota(asked["QuotaCode"], response.region, sandbox.account_id, value)})

    def get_service_quota(self) -> str:
        return answer(self, APPLIED) if json.loads(self.body).get("ServiceCode") == "fargate" else known(self)

    def get_aws_default_service_quota(self) -> str:
        if json.loads(self.body).get("ServiceCode") != "fargate":
            raise NoSuchResource
        return answer(self, DEFAULT)

    ServiceQuotasResponse.get_service_quota = get_service_quota
    ServiceQuotasResponse.get_aws_default_service_quota = get_aws_default_service_quota
