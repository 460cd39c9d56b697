# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Room for what a rolling deployment runs at its widest: vCPU quotas of Fargate, addresses of subnets, tasks a service.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html
https://docs.aws.amazon.com/general/latest/gr/ecs-service.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws
from ansible_collections.nexus_learn.aws.plugins.module_utils.prices import spot_share
from ansible_collections.nexus_learn.aws.plugins.module_utils.verify import (
    CREATED,
    FAILED,
    NOT_APPLICABLE,
    OK,
    UNKNOWN,
    Finding,
    Service,
    Stack,
    attempt,
    distinct,
    known,
)

QUOTAS = {"FARGATE": "L-3032A538", "FARGATE_SPOT": "L-36FBB829"}
# "Tasks per service", which AWS raises for nobody
TASKS_PER_SERVICE = 5000
# Fargate writes its usage once a minute or so; an older value would be of before the last scaling
_USAGE_MINUTES = 15


@dataclass(frozen=True)
class Demand:
    """Tasks and vCPUs of a service: what runs, and what will run at the widest moment of a deployment."""

    name: str
    running: int
    peak: int
    running_vcpu: float
    peak_vcpu: float
    spot: float


def demand(service: Service, before_cpu: Any, created: bool) -> Demand:
    """``before_cpu`` is the CPU of what runs, where the deployment changes it. Pure."""
    desired = service.there["desired_count"]
    running = 0 if created else service.there["running_count"]
    percent = service.wanted["maximum_percent"]
    percent = 200 if percent is None else percent
    # a new service begins with its count; else old and new tasks are beside each other, AWS rounds down
    peak = desired if created else max(desired, math.floor(desired * percent / 100), running)
    new = int(service.task["cpu"]) / 1024
    old = int(before_cpu or service.task["cpu"]) / 1024
    kept = min(running, peak)
    vcpu = kept * old + (peak - kept) * new if percent > 100 or created else peak * max(old, new)
    return Demand(service.name, running, peak, running * old, vcpu, spot_share(service.capacity, peak))


def demands(stack: Stack) -> list[Demand]:
    found = []
    for service in stack.services:
        changes = stack.planned(f"service {service.name}")
        cpu = next((one["before"] for one in changes if one["path"] == "task_definition.cpu"), None)
        found.append(demand(service, cpu, any(one["action"] == "create" for one in changes)))
    return found


def quotas(aws: Aws, stack: Stack) -> Iterator[Finding]:
    wanted = demands(stack)
    for provider, code in QUOTAS.items():
        share = {one.name: one.spot if provider == "FARGATE_SPOT" else 1 - one.spot for one in wanted}
        needed = sum(one.peak_vcpu * share[one.name] for one in wanted)
        if not needed:
            yield Finding("quota", f"vCPUs of {provider}", NOT_APPLICABLE, "nothing of this stack runs there.")
            continue
        ours = sum(one.running_vcpu * share[one.name] for one in wanted)
        yield attempt(
            "quota",
            f"vCPUs of {provider}",
            lambda provider=provider, code=code, needed=needed, ours=ours: quota_finding(
                provider, code, needed, ours, *_quota(aws, code)
            ),
        )
    for one in wanted:
        if one.peak > TASKS_PER_SERVICE:
            evidence = f"it comes to {one.peak} tasks, and ECS runs {TASKS_PER_SERVICE} in a service."
            yield Finding("quota", one.name, FAILED, evidence, "Make several services of it in celery_services.")


def _quota(aws: Aws, code: str) -> tuple[float, float | None]:
    """The quota that applies, and how much of it the account uses; None where AWS has no recent value of that."""
    client = aws.client("service-quotas")
    try:
        quota = client.get_service_quota(ServiceCode="fargate", QuotaCode=code)["Quota"]
    except client.exceptions.NoSuchResourceException:  # nobody has had it raised
        quota = client.get_aws_default_service_quota(ServiceCode="fargate", QuotaCode=code)["Quota"]
    metric, now = quota["UsageMetric"], datetime.now(UTC)
    dimensions = [{"Name": name, "Value": value} for name, value in metric["MetricDimensions"].items()]
    asked = {"Namespace": metric["MetricNamespace"], "MetricName": metric["MetricName"], "Dimensions": dimensions}
    (answer,) = aws.client("cloudwatch").get_metric_data(
        MetricDataQueries=[{"Id": "used", "MetricStat": {"Metric": asked, "Period": 60, "Stat": "Maximum"}}],
        StartTime=now - timedelta(minutes=_USAGE_MINUTES),
        EndTime=now,
        ScanBy="TimestampDescending",
    )["MetricDataResults"]
    return quota["Value"], next(iter(answer["Values"]), None)


def quota_finding(provider: str, code: str, needed: float, ours: float, quota: float, used: float | None) -> Finding:
    """``needed`` of the stack at its widest, ``ours`` of it now, ``used`` of the account now. Pure."""
    others = 0.0 if used is None else max(0.0, used - ours)
    text = f"{ours:g} run, a deployment of everything comes to {needed:g}"
    text += ", what else the account runs is not known" if used is None else f", {others:g} are of others"
    subject = f"vCPUs of {provider}"
    if needed + others <= quota:
        return Finding("quota", subject, OK, f"{text}, {quota:g} are allowed.")
    value = math.ceil(needed + others)
    mend = (
        "Lower counts or sizes, or ask for more: aws service-quotas request-service-quota-increase "
        f"--service-code fargate --quota-code {code} --desired-value {value}"
    )
    return Finding("quota", subject, FAILED, f"{text}, and {quota:g} are allowed.", mend)


def addresses(aws: Aws, stack: Stack) -> Iterator[Finding]:
    """Each task has an address of its own in its subnet."""
    wanted = {one.name: one for one in demands(stack)}
    together_in: dict[tuple[str, ...], list[Demand]] = {}
    for service in stack.services:
        together_in.setdefault(tuple(sorted(service.wanted["subnets"])), []).append(wanted[service.name])
    ids = known(distinct(subnet for subnets in together_in for subnet in subnets))
    found = aws.pages("ec2", "describe_subnets", "Subnets", SubnetIds=ids) if ids else []
    free = {subnet["SubnetId"]: subnet["AvailableIpAddressCount"] for subnet in found}
    for subnets, some in together_in.items():
        yield address_finding(subnets, free, sum(one.peak - one.running for one in some))


def address_finding(subnets: Sequence[str], free: Mapping[str, int], more: int) -> Finding:
    """Pure."""
    subject = ", ".join(subnets)
    missing = [subnet for subnet in subnets if subnet not in free]
    if missing:
        if known(missing):
            return Finding("addresses", subject, UNKNOWN, f"EC2 does not tell of {', '.join(known(missing))}.")
        return Finding("addresses", "private subnets", CREATED, "site.yml makes them.")
    total = sum(free[subnet] for subnet in subnets)
    text = f"{total} are free, and a deployment of everything takes {more} more"
    if more <= total:
        return Finding("addresses", subject, OK, f"{text}.")
    mend = "Lower the counts, or give more or larger subnets (network_private_subnet_ids, or network_cidr_block)."
    return Finding("addresses", subject, FAILED, f"{text}.", mend)
