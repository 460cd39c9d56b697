# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a stack costs by the month, from a table of list prices that is kept here. Pure; no call to AWS.

Every cost is ``(min, typical, max)`` in US dollars: the fewest, the usual and the most tasks that the scaler may run,
and for what depends on traffic the three values of ``ASSUMED``. Free tiers, reservations, savings plans, taxes, data
transfer and requests are left out.

``estimate`` takes what aggregates give as ``billed``: entries with ``kind``, ``resource`` (as in a plan) and

=================== ==============================================================================================
tasks               ``service`` (cluster/name), ``count``, ``cpu`` (1024 is a vCPU), ``memory`` (MiB), ``architecture``,
                    ``ephemeral_storage_gib``, ``capacity_providers`` ({name: {weight, base}}), ``launch_type``,
                    ``public_ip``
scalable_target     ``service``, ``min``, ``max``, ``policies`` (how many)
redis               ``engine``, ``node_type``, ``nodes``, ``backups`` (days they are kept, one a day)
nat_gateway
vpc_endpoint        ``zones`` (interface endpoints only; gateway endpoints are free)
load_balancer       ``zones``, ``public``
logs                ``retention_in_days`` (None: for ever)
alarm               ``count`` of metrics that it watches
dashboard, secret
container_insights  ``mode``
ecr_repository
=================== ==============================================================================================

The Terraform guide that this stack follows estimates, for what it lists (Redis and workers alone), 45 to 60 dollars
for dev and 270 to 350 for prod. The same items cost 48.45 and 315.52 here. In the parts it is less exact: a
cache.t3.micro costs 12.41, not 15 to 20; two cache.t3.medium 99.28, not 120 to 150; three workers of 2 vCPU and 4 GB
216.24, not 150 to 200. And it leaves out what else it builds: load balancer, NAT gateway, API, beat, logs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Range = tuple[float, float, float]

# The month in which the newest price below was read; each group says its own.
AS_OF = "2026-10"
# AWS counts a month as 730 hours: https://aws.amazon.com/calculator/calculator-assumptions/
HOURS = 730
DEFAULT_REGION = "us-east-1"

# US dollars by region: per hour, or where the name says so per GB, per month or each.
#
# fargate     offer AmazonECS of the AWS Price List API, published 2026-09-11
#             https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonECS/current/region_index.json
# spot        moves with supply; the value of 2026-09-28 of the feed that https://aws.amazon.com/fargate/pricing/ shows
# public_ipv4 offer AmazonVPC, 2026-09-28; https://aws.amazon.com/vpc/pricing/
# nat         offer AmazonEC2 (NatGateway-Hours, -Bytes), 2026-09-28; https://aws.amazon.com/vpc/pricing/
# endpoint    https://aws.amazon.com/privatelink/pricing/, 2026-10-06
# alb         https://aws.amazon.com/elasticloadbalancing/pricing/, 2026-08-22
# backup      https://aws.amazon.com/elasticache/pricing/ (all regions), 2026
# logs, alarm, dashboard   https://aws.amazon.com/cloudwatch/pricing/, 2026-06
# secret      https://aws.amazon.com/secrets-manager/pricing/, 2026-10-06
PRICES: dict[str, dict[str, float]] = {
    "us-east-1": {
        "fargate.X86_64.vcpu": 0.04048,
        "fargate.X86_64.gb": 0.004445,
        "fargate.ARM64.vcpu": 0.03238,
        "fargate.ARM64.gb": 0.00356,
        "spot.X86_64.vcpu": 0.01288871,
        "spot.X86_64.gb": 0.00141527,
        "spot.ARM64.vcpu": 0.01030969,
        "spot.ARM64.gb": 0.00113349,
        "fargate.storage_gb": 0.000111,
        "public_ipv4": 0.005,
        "nat": 0.045,
        "nat_gb": 0.045,
        "endpoint": 0.01,
        "endpoint_gb": 0.01,
        "alb": 0.0225,
        "alb_lcu": 0.008,
        "backup_gb_month": 0.085,
        "logs_gb": 0.50,
        "logs_gb_month": 0.03,
        "alarm_month": 0.10,
        "dashboard_month": 3.00,
        "secret_month": 0.40,
    },
    # Fargate only; the rest of these regions is priced as us-east-1, and an estimate says so
    "eu-west-1": {
        "fargate.X86_64.vcpu": 0.04048,
        "fargate.X86_64.gb": 0.004445,
        "fargate.ARM64.vcpu": 0.03238,
        "fargate.ARM64.gb": 0.00356,
        "spot.X86_64.vcpu": 0.01224056,
        "spot.X86_64.gb": 0.0013441,
        "spot.ARM64.vcpu": 0.00979124,
        "spot.ARM64.gb": 0.00107649,
    },
    "eu-central-1": {"fargate.X86_64.vcpu": 0.04656, "fargate.X86_64.gb": 0.00511},
    "eu-north-1": {"fargate.X86_64.vcpu": 0.0445, "fargate.X86_64.gb": 0.0049},
    "ap-south-1": {
        "fargate.X86_64.vcpu": 0.04256,
        "fargate.X86_64.gb": 0.004655,
        "fargate.ARM64.vcpu": 0.02383,
        "fargate.ARM64.gb": 0.00261,
    },
    "ap-northeast-1": {"fargate.X86_64.vcpu": 0.05056, "fargate.X86_64.gb": 0.00553},
    "ap-southeast-1": {"fargate.X86_64.vcpu": 0.05056, "fargate.X86_64.gb": 0.00553},
}

_T = "micro small medium"
_M5 = "large xlarge 2xlarge 4xlarge 12xlarge 24xlarge"
_LARGE = "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge"
_MEMORY_M5 = "6.38 12.93 26.04 52.26 157.12 314.32"
_MEMORY_M = "6.38 12.93 26.04 52.26 103.68 157.12 209.55"
_MEMORY_R = "13.07 26.32 52.82 105.81 209.55 317.77 419.09"
_MEMORY_C = "3.09 6.38 12.94 26.05 52.26 78.56 105.81"


def _nodes(families: Mapping[str, tuple[str, str, str]]) -> dict[str, tuple[float, float]]:
    return {
        f"cache.{family}.{size}": (float(price), float(memory))
        for family, columns in families.items()
        for size, price, memory in zip(*(column.split() for column in columns), strict=True)
    }


# Node type -> (dollars an hour in us-east-1, GiB of memory).
# Offer AmazonElastiCache of the AWS Price List API (Cache Instance, Redis, NodeUsage), 2026-10-02. Memory:
# https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/CacheNodes.SupportedTypes.html
REDIS_NODES = _nodes(
    {
        "t2": (_T, "0.017 0.034 0.068", "0.55 1.55 3.22"),
        "t3": (_T, "0.017 0.034 0.068", "0.5 1.37 3.09"),
        "t4g": (_T, "0.016 0.032 0.065", "0.5 1.37 3.09"),
        "m5": (_M5, "0.156 0.311 0.623 1.245 3.744 7.488", _MEMORY_M5),
        "m6g": (_LARGE, "0.149 0.297 0.593 1.186 2.372 3.557 4.743", _MEMORY_M),
        "m7g": (_LARGE, "0.158 0.315 0.629 1.257 2.514 3.77 5.028", _MEMORY_M),
        "r5": (_M5, "0.216 0.431 0.862 1.724 5.184 10.368", "13.07 26.32 52.82 105.81 317.77 635.61"),
        "r6g": (_LARGE, "0.206 0.411 0.821 1.642 3.284 4.925 6.567", _MEMORY_R),
        "r7g": (_LARGE, "0.219 0.437 0.873 1.745 3.491 5.235 6.981", _MEMORY_R),
        "c7gn": (_LARGE, "0.255 0.509 1.018 2.037 4.073 6.11 8.147", _MEMORY_C),
    }
)
# With Valkey the same types cost 0.8 of that, to the last digit in the same offer; these have no Redis price.
VALKEY_SHARE = 0.8
VALKEY_NODES = _nodes(
    {
        "m8g": (_LARGE, "0.1266 0.2531 0.5062 1.0125 2.025 3.0375 4.05", _MEMORY_M),
        "r8g": (_LARGE, "0.1756 0.3511 0.7022 1.4044 2.8088 4.2132 5.6177", _MEMORY_R),
        "c8gn": (_LARGE, "0.1837 0.3674 0.7348 1.4696 2.9392 4.4088 5.8784", _MEMORY_C),
    }
)

# What the inventory does not tell: (min, typical, max), and what it is. Nobody's measurement, so an estimate shows it.
ASSUMED: dict[str, tuple[Range, str]] = {
    "nat_gb": ((1, 20, 200), "GB a month through each NAT gateway"),
    "endpoint_gb": ((1, 20, 200), "GB a month through each interface endpoint"),
    "lcu": ((0.05, 0.5, 2), "load balancer capacity units, on average"),
    "logs_gb": ((0.1, 1, 10), "GB a month into each log group"),
    "backup_share": ((0.05, 0.25, 1), "of a node's memory in each backup; every backup kept is paid for"),
}
# https://aws.amazon.com/cloudwatch/pricing/ (example 5): archived logs take 0.15 of what was sent in
LOGS_COMPRESSED = 0.15
# Of logs without retention: after so many months; they cost more each month
LOGS_MONTHS = 12
# A target tracking policy makes one alarm to scale out and one to scale in.
# https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html
ALARMS_OF_A_POLICY = 2


class _Unknown(Exception):
    """There is no price for this; the message says for what."""


class _Table:
    """The prices of a region; ``borrowed`` is set once one had to be taken from us-east-1."""

    def __init__(self, region: str):
        self.region, self.borrowed = region, False

    def __getitem__(self, name: str) -> float:
        own = PRICES.get(self.region, {})
        if name not in own:
            self.borrowed |= self.region != DEFAULT_REGION
        return own.get(name, PRICES[DEFAULT_REGION][name])

    def node(self, engine: str, node_type: str) -> tuple[float, float]:
        self.borrowed |= self.region != DEFAULT_REGION
        if node_type in REDIS_NODES:
            price, memory = REDIS_NODES[node_type]
            return price * (VALKEY_SHARE if engine == "valkey" else 1), memory
        if engine == "valkey" and node_type in VALKEY_NODES:
            return VALKEY_NODES[node_type]
        raise _Unknown(f"{node_type} with {engine}")


def flat(value: float) -> Range:
    return value, value, value


def times(values: Sequence[float], factor: float) -> Range:
    low, typical, high = (value * factor for value in values)
    return low, typical, high


def plus(*ranges: Sequence[float]) -> Range:
    low, typical, high = (sum(values) for values in zip(*ranges, strict=True))
    return low, typical, high


NOTHING: Range = (0, 0, 0)


def spot_share(strategy: Mapping[str, Mapping[str, int]], count: float) -> float:
    """The part of ``count`` tasks that a capacity provider strategy puts on Fargate Spot, from 0 to 1.

    The base comes first, the rest goes by weight.
    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CapacityProviderStrategyItem.html
    """
    if not count:
        return 0.0
    left, spot = float(count), 0.0
    for name, numbers in strategy.items():
        taken = min(left, numbers.get("base") or 0)
        left -= taken
        spot += taken if name == "FARGATE_SPOT" else 0
    weights = {name: numbers.get("weight") or 0 for name, numbers in strategy.items()}
    if sum(weights.values()):
        spot += left * weights.get("FARGATE_SPOT", 0) / sum(weights.values())
    return spot / count


def _tasks(prices: _Table, item: Mapping, counts: Range) -> tuple[Range, str]:
    if item["cpu"] is None or item["memory"] is None:
        raise _Unknown("tasks whose size this run did not read")
    strategy = item["capacity_providers"]
    if item["launch_type"] not in (None, "FARGATE") or set(strategy) - {"FARGATE", "FARGATE_SPOT"}:
        raise _Unknown("tasks that do not run on Fargate")
    vcpu, gigabytes = item["cpu"] / 1024, item["memory"] / 1024
    architecture = item["architecture"] or "X86_64"
    # 20 GiB are free: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-task-storage.html
    extra = max(0, (item["ephemeral_storage_gib"] or 20) - 20) * prices["fargate.storage_gb"]
    extra += prices["public_ipv4"] if item["public_ip"] else 0

    def hourly(kind: str) -> float:
        size = vcpu * prices[f"{kind}.{architecture}.vcpu"] + gigabytes * prices[f"{kind}.{architecture}.gb"]
        return size + extra

    shares = [spot_share(strategy, count) for count in counts]
    low, typical, high = (
        count * HOURS * (share * hourly("spot") + (1 - share) * hourly("fargate")) if count else 0.0
        for count, share in zip(counts, shares, strict=True)
    )
    size = f"{vcpu:g} vCPU {gigabytes:g} GB {'ARM' if architecture == 'ARM64' else 'x86'}"
    spot = f", {shares[1]:.0%} Spot" if any(shares) else ""
    return (low, typical, high), f"{_counted(counts)} of {size}{spot}"


def _counted(counts: Range) -> str:
    low, typical, high = (f"{count:g}" for count in counts)
    if low == high:
        return _number(low, "task")
    return f"{low} to {high} tasks, usually {typical},"


def _number(count: Any, thing: str) -> str:
    return f"{count} {thing}{'' if str(count) == '1' else 's'}"


def _scalable_target(prices: _Table, item: Mapping, assumed: Mapping[str, Range]) -> tuple[Range, str]:
    alarms = ALARMS_OF_A_POLICY * item["policies"]
    return flat(alarms * prices["alarm_month"]), f"{alarms} alarms"


def _redis(prices: _Table, item: Mapping, assumed: Mapping[str, Range]) -> tuple[Range, str]:
    price, memory = prices.node(item["engine"], item["node_type"])
    nodes = flat(price * HOURS * item["nodes"])
    backups = times(assumed["backup_share"], memory * item["backups"] * prices["backup_gb_month"])
    kept = f", {_number(item['backups'], 'backup')}" if item["backups"] else ""
    return plus(nodes, backups), f"{item['nodes']} x {item['node_type']} ({item['engine']}){kept}"


def _nat_gateway(prices: _Table, item: Mapping, assumed: Mapping[str, Range]) -> tuple[Range, str]:
    hours = flat(HOURS * (prices["nat"] + prices["public_ipv4"]))
    return plus(hours, times(assumed["nat_gb"], prices["nat_gb"])), "with its IPv4 address and traffic"


def _vpc_endpoint(prices: _Table, item: Mapping, assumed: Mapping[str, Range]) -> tuple[Range, str]:
    hours = flat(HOURS * prices["endpoint"] * item["zones"])
    return plus(hours, times(assumed["endpoint_gb"], prices["endpoint_gb"])), f"in {item['zones']} zones"


def _load_balancer(prices: _Table, item: Mapping, assumed: Mapping[str, Range]) -> tuple[Range, str]:
    addresses = prices["public_ipv4"] * item["zones"] if item["public"] else 0
    hours = flat(HOURS * (prices["alb"] + addresses))
    units = times(assumed["lcu"], HOURS * prices["alb_lcu"])
    return plus(hours, units), f"{item['zones']} public IPv4 addresses, traffic" if item["public"] else "traffic"


def _logs(prices: _Table, item: Mapping, assumed: Mapping[str, Range]) -> tuple[Range, str]:
    days = item["retention_in_days"]
    months = days * 24 / HOURS if days else LOGS_MONTHS
    a_gigabyte = prices["logs_gb"] + months * LOGS_COMPRESSED * prices["logs_gb_month"]
    kept = f"{days} days" if days else f"for ever (here: {LOGS_MONTHS} months of it)"
    return times(assumed["logs_gb"], a_gigabyte), f"kept {kept}"


def _alarm(prices: _Table, item: Mapping, assumed: Mapping[str, Range]) -> tuple[Range, str]:
    return flat(item["count"] * prices["alarm_month"]), _number(item["count"], "metric")


def _dashboard(prices: _Table, item: Mapping, assumed: Mapping[str, Range]) -> tuple[Range, str]:
    return flat(prices["dashboard_month"]), ""


def _secret(prices: _Table, item: Mapping, assumed: Mapping[str, Range]) -> tuple[Range, str]:
    return flat(prices["secret_month"]), ""


def _container_insights(prices: _Table, item: Mapping, assumed: Mapping[str, Range]) -> tuple[Range, str]:
    # billed by the metric; AWS documents no number of metrics to reckon with
    raise _Unknown(f"Container Insights ({item['mode']}), which is billed by the number of metrics")


def _ecr_repository(prices: _Table, item: Mapping, assumed: Mapping[str, Range]) -> tuple[Range, str]:
    # 0.10 a GB in us-east-1: https://aws.amazon.com/ecr/pricing/
    raise _Unknown("its images, which are billed by the GB")


_KINDS = {
    "scalable_target": _scalable_target,
    "redis": _redis,
    "nat_gateway": _nat_gateway,
    "vpc_endpoint": _vpc_endpoint,
    "load_balancer": _load_balancer,
    "logs": _logs,
    "alarm": _alarm,
    "dashboard": _dashboard,
    "secret": _secret,
    "container_insights": _container_insights,
    "ecr_repository": _ecr_repository,
}


def estimate(
    items: Iterable[Mapping[str, Any]], region: str, assumed: Mapping[str, Sequence[float]] | None = None
) -> dict[str, Any]:
    """``{lines, total, borrowed, unpriced}`` of what is billed in one region.

    ``lines``: ``{resource, what, cost: (min, typical, max)}``. ``borrowed``: whether prices of us-east-1 stand in for
    those of the region. ``unpriced``: what has no price here, a sentence each.
    """
    items = list(items)
    values: dict[str, Range] = {
        name: times(assumed[name], 1) if name in (assumed or {}) else usual for name, (usual, _) in ASSUMED.items()
    }  # type: ignore[index]
    prices = _Table(region)
    targets = {item["service"]: item for item in items if item["kind"] == "scalable_target"}
    services = {item["service"] for item in items if item["kind"] == "tasks"}
    lines: list[dict[str, Any]] = []
    unpriced: list[str] = []
    for item in items:
        try:
            if item["kind"] == "tasks":
                cost, what = _tasks(prices, item, task_counts(item, targets.get(item["service"])))
            else:
                cost, what = _KINDS[item["kind"]](prices, item, values)
        except _Unknown as error:
            unpriced.append(f"{item['resource']}: {error}")
            continue
        lines.append({"resource": item["resource"], "what": what, "cost": cost})
    unpriced += [
        f"service {service.split('/')[-1]}: its {target['min']} to {target['max']} tasks, which this run did not read"
        for service, target in targets.items()
        if service not in services
    ]
    total = plus(NOTHING, *(line["cost"] for line in lines))
    return {"lines": lines, "total": total, "borrowed": prices.borrowed, "unpriced": unpriced}


def task_counts(item: Mapping, target: Mapping | None) -> Range:
    """How many tasks the scaler may run at least, runs now (or starts with), and may run at most."""
    if target is None:
        return flat(item["count"])
    return target["min"], min(max(item["count"], target["min"]), target["max"]), target["max"]
