"""ECS services to scale, with no task running unless asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

CLUSTER = "t-scaling"


def services(sandbox, cluster: str = CLUSTER) -> Iterator[Callable[..., str]]:
    """For a fixture: yields ``service(name, desired=0)``, the resource id of a new service; deletes them at the end."""
    ecs = sandbox.client("ecs")
    ecs.create_cluster(clusterName=cluster)
    ecs.register_task_definition(
        family=CLUSTER,
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        containerDefinitions=[{"name": "sleep", "image": "busybox", "command": ["sleep", "3600"]}],
    )
    ec2 = sandbox.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.8.0.0/24")["Subnet"]["SubnetId"]
    made = []

    def service(name: str, desired: int = 0) -> str:
        ecs.create_service(
            cluster=cluster,
            serviceName=name,
            taskDefinition=CLUSTER,
            desiredCount=desired,
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet]}},
        )
        made.append(name)
        return f"service/{cluster}/{name}"

    yield service
    for name in made:
        ecs.delete_service(cluster=cluster, service=name, force=True)
