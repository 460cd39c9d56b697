"""What the sandbox runs, for `status`."""

import logging
import os
from pathlib import Path

log = logging.getLogger("sandbox")


def status(sandbox) -> dict:
    """The daemon's {endpoint, pid, home, time_scale, memory_mb, processes} and what runs in the regions used.

    redis: [{region, name, status, nodes, endpoint}], services: [{region, cluster, name, status, task_definition,
    running, desired}], load_balancers: [{region, name, state, url, listeners: {port: url}}].
    """
    answer = {
        "endpoint": sandbox.endpoint,
        "pid": os.getpid(),
        "home": str(sandbox.home),
        "time_scale": sandbox.time_scale,
        "memory_mb": memory_mb(),
        "processes": len(sandbox.processes.live()),
    }
    parts = {"redis": redis, "services": services, "load_balancers": load_balancers}
    for name, part in parts.items():
        answer[name] = []
        for region in sorted(sandbox.regions):
            try:
                answer[name] += [{"region": region, **row} for row in part(sandbox, region)]
            except Exception as failure:
                log.warning("status of %s in %s: %s", name, region, failure)
    return answer


def memory_mb() -> int:
    """Resident memory of this process."""
    import psutil

    return psutil.Process(os.getpid()).memory_info().rss >> 20


def redis(sandbox, region: str):
    for group in sandbox.client("elasticache", region).describe_replication_groups()["ReplicationGroups"]:
        nodes = group.get("NodeGroups") or [{}]
        endpoint = nodes[0].get("PrimaryEndpoint") or {}
        yield {
            "name": group["ReplicationGroupId"],
            "status": group["Status"],
            "nodes": len(group.get("MemberClusters", [])),
            "endpoint": f"{endpoint.get('Address')}:{endpoint.get('Port')}",
        }


def services(sandbox, region: str):
    ecs = sandbox.client("ecs", region)
    for cluster in ecs.list_clusters()["clusterArns"]:
        arns = ecs.list_services(cluster=cluster, maxResults=100)["serviceArns"]
        for start in range(0, len(arns), 10):
            for service in ecs.describe_services(cluster=cluster, services=arns[start : start + 10])["services"]:
                yield {
                    "cluster": Path(cluster).name,
                    "name": service["serviceName"],
                    "status": service["status"],
                    "task_definition": Path(service["taskDefinition"]).name,
                    "running": service["runningCount"],
                    "desired": service["desiredCount"],
                }


def load_balancers(sandbox, region: str):
    for balancer in sandbox.client("elbv2", region).describe_load_balancers()["LoadBalancers"]:
        yield {
            "name": balancer["LoadBalancerName"],
            "state": balancer["State"]["Code"],
            "url": f"http://{balancer['DNSName']}/",
            "listeners": sandbox.load_balancers.urls(balancer["LoadBalancerArn"]) if sandbox.load_balancers else {},
        }
