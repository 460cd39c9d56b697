"""bench/floor.py, which `make bench` measures us against, sees all that site.yml manages, and makes no call more.

Each case changes one field of a deployed stack behind site.yml's back and looks through the floor's eyes before and
after. What floor.py reads but nothing here changes is an id that no call can do without.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from conftest import ROOT, Console

from bench import floor

PREFIX = "nexus-learn"
WORKERS = ["worker-0", "worker-1"]
SERVICES = [{"name": name, "queues": [name], "min_count": 0, "desired_count": 0} for name in WORKERS]
TAG = {"Key": "Drift", "Value": "1"}
# What changes by itself
VOLATILE = {"ResponseMetadata", "deployments", "events", "runningCount", "pendingCount", "runningTasksCount",
            "pendingTasksCount", "storedBytes", "RoleLastUsed", "LastAccessedDate", "lastEvaluatedAt"}  # fmt: skip


@pytest.fixture(scope="module")
def stack(start_sandbox, tmp_path_factory):
    sandbox = start_sandbox(1.0, "--latency", "0s")
    console = Console(sandbox, tmp_path_factory.mktemp("floor") / "steps")
    console.playbook("site.yml", "-i", "inventories/dev", "-e", json.dumps({"celery_services": SERVICES}))
    return Stack(sandbox)


class Stack:
    """Clients of the deployed stack and the ids that drift needs."""

    def __init__(self, sandbox):
        self.sandbox, self.client = sandbox, sandbox.client
        self.vpc = self.ec2("describe_vpcs", "Vpcs", Name="tag:Name", Values=[f"{PREFIX}-vpc"])[0]["VpcId"]

    def ec2(self, operation: str, key: str, filters: str = "Filters", **given) -> list[dict]:
        return getattr(self.client("ec2"), operation)(**{filters: [given]} if given else {})[key]

    def mine(self, operation: str, key: str, filters: str = "Filters") -> list[dict]:
        return self.ec2(operation, key, filters, Name="vpc-id", Values=[self.vpc])

    def balancer(self) -> str:
        return self.client("elbv2").describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]

    def target_group(self) -> str:
        return self.client("elbv2").describe_target_groups()["TargetGroups"][0]["TargetGroupArn"]

    def listener(self) -> str:
        listeners = self.client("elbv2").describe_listeners(LoadBalancerArn=self.balancer())
        return listeners["Listeners"][0]["ListenerArn"]

    def service(self) -> dict:
        name = f"{PREFIX}-worker-0-service"
        return self.client("ecs").describe_services(cluster=f"{PREFIX}-cluster", services=[name])["services"][0]

    def update_service(self, **arguments) -> None:
        self.client("ecs").update_service(
            cluster=f"{PREFIX}-cluster", service=f"{PREFIX}-worker-0-service", **arguments
        )

    def target(self) -> dict:
        found = self.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="ecs")
        return next(item for item in found["ScalableTargets"] if "worker-0" in item["ResourceId"])

    def tag_ec2(self, resource_id: str) -> None:
        self.client("ec2").create_tags(Resources=[resource_id], Tags=[TAG])

    def tag_elasticache(self, kind: str, name: str) -> None:
        arn = f"arn:aws:elasticache:us-east-1:123456789012:{kind}:{name}"
        self.client("elasticache").add_tags_to_resource(ResourceName=arn, Tags=[TAG])


def modify_redis(stack: Stack, **arguments) -> None:
    """Wait until it is done, too: until then its tags cannot be read."""
    cache, name = stack.client("elasticache"), f"{PREFIX}-redis"
    cache.modify_replication_group(ReplicationGroupId=name, ApplyImmediately=True, **arguments)
    deadline = time.monotonic() + 60
    while cache.describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"][0]["Status"] != "available":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def another_revision(stack: Stack) -> None:
    ecs = stack.client("ecs")
    found = ecs.describe_task_definition(taskDefinition=f"{PREFIX}-worker-0")["taskDefinition"]
    kept = ("family", "cpu", "memory", "networkMode", "requiresCompatibilities", "volumes")
    kept += ("executionRoleArn", "taskRoleArn")
    container = {**found["containerDefinitions"][0], "command": ["true"]}
    new = ecs.register_task_definition(**{key: found[key] for key in kept}, containerDefinitions=[container])
    stack.update_service(taskDefinition=new["taskDefinition"]["taskDefinitionArn"])


def put_policy(stack: Stack, name: str, **configuration) -> None:
    stack.client("application-autoscaling").put_scaling_policy(
        PolicyName=name,
        ServiceNamespace="ecs",
        ResourceId=stack.target()["ResourceId"],
        ScalableDimension="ecs:service:DesiredCount",
        **configuration,
    )


def document(statement: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


TRACKING = {
    "TargetValue": 1,
    "PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"},
}
STEPS = {
    "AdjustmentType": "ChangeInCapacity",
    "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
}
TRUST = {"Effect": "Deny", "Action": "sts:AssumeRole", "Principal": {"Service": "ecs-tasks.amazonaws.com"}}
POLICY = {"Effect": "Deny", "Action": "*", "Resource": "*"}


LOOKS = {
    "network": lambda client: floor.network(client("ec2"), PREFIX),
    "redis": lambda client: floor.redis(client("elasticache"), PREFIX),
    "secret": lambda client: floor.secret(client("secretsmanager"), PREFIX),
    "bucket": lambda client: floor.bucket(
        client("s3"), PREFIX, floor.chains.submit(floor.secret, client("secretsmanager"), PREFIX)
    ),
    "load_balancer": lambda client: floor.load_balancer(client("elbv2"), PREFIX),
    "roles": lambda client: floor.roles(client("iam")),
    "log_groups": lambda client: floor.log_groups(client("logs"), PREFIX),
    "repository": lambda client: floor.repository(
        client("ecr"), PREFIX, floor.chains.submit(floor.secret, client("secretsmanager"), PREFIX)
    ),
    "cluster": lambda client: floor.cluster(client("ecs"), PREFIX),
    "services": lambda client: floor.services(client("ecs"), PREFIX, WORKERS),
    "scaling": lambda client: floor.scaling(client("application-autoscaling"), PREFIX, WORKERS),
}
ROLE = f"{PREFIX}-backend-execution"
BUCKET = f"{PREFIX}-deployment-123456789012-us-east-1"
REPOSITORY = f"{PREFIX}-worker"
LOG_GROUP = f"/ecs/{PREFIX}/worker-0"
DRIFTS = {
    "network: tags of the VPC": lambda s: s.tag_ec2(s.vpc),
    "network: DNS hostnames": lambda s: s.client("ec2").modify_vpc_attribute(
        VpcId=s.vpc, EnableDnsHostnames={"Value": False}
    ),
    "network: DNS support": lambda s: s.client("ec2").modify_vpc_attribute(
        VpcId=s.vpc, EnableDnsSupport={"Value": False}
    ),
    "network: tags of the internet gateway": lambda s: s.tag_ec2(
        s.ec2("describe_internet_gateways", "InternetGateways", Name="attachment.vpc-id", Values=[s.vpc])[0][
            "InternetGatewayId"
        ]
    ),
    "network: tags of the address": lambda s: s.tag_ec2(s.ec2("describe_addresses", "Addresses")[0]["AllocationId"]),
    "network: public addresses of a subnet": lambda s: s.client("ec2").modify_subnet_attribute(
        SubnetId=next(one for one in s.mine("describe_subnets", "Subnets") if one["MapPublicIpOnLaunch"])["SubnetId"],
        MapPublicIpOnLaunch={"Value": False},
    ),
    "network: tags of a subnet": lambda s: s.tag_ec2(s.mine("describe_subnets", "Subnets")[0]["SubnetId"]),
    "network: a route": lambda s: s.client("ec2").create_route(
        RouteTableId=s.mine("describe_route_tables", "RouteTables")[-1]["RouteTableId"],
        DestinationCidrBlock="192.0.2.0/24",
        GatewayId=s.ec2("describe_internet_gateways", "InternetGateways")[0]["InternetGatewayId"],
    ),
    "network: tags of the NAT gateway": lambda s: s.tag_ec2(
        s.mine("describe_nat_gateways", "NatGateways", "Filter")[0]["NatGatewayId"]
    ),
    "network: tags of the endpoint": lambda s: s.tag_ec2(
        s.mine("describe_vpc_endpoints", "VpcEndpoints")[0]["VpcEndpointId"]
    ),
    "network: a rule of a security group": lambda s: s.client("ec2").authorize_security_group_ingress(
        GroupId=s.mine("describe_security_groups", "SecurityGroups")[-1]["GroupId"],
        IpPermissions=[{"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "IpRanges": [{"CidrIp": "192.0.2.0/24"}]}],
    ),
    "redis: snapshot retention": lambda s: modify_redis(s, SnapshotRetentionLimit=9),
    "redis: description": lambda s: modify_redis(s, ReplicationGroupDescription="drift"),
    "redis: maintenance window": lambda s: modify_redis(s, PreferredMaintenanceWindow="mon:07:00-mon:08:00"),
    "redis: minor upgrades": lambda s: modify_redis(s, AutoMinorVersionUpgrade=False),
    "redis: tags": lambda s: s.tag_elasticache("replicationgroup", f"{PREFIX}-redis"),
    "redis: a parameter": lambda s: s.client("elasticache").modify_cache_parameter_group(
        CacheParameterGroupName=f"{PREFIX}-redis7",
        ParameterNameValues=[{"ParameterName": "maxmemory-policy", "ParameterValue": "allkeys-lru"}],
    ),
    "redis: tags of the parameter group": lambda s: s.tag_elasticache("parametergroup", f"{PREFIX}-redis7"),
    "redis: subnet group": lambda s: s.client("elasticache").modify_cache_subnet_group(
        CacheSubnetGroupName=f"{PREFIX}-redis", CacheSubnetGroupDescription="drift"
    ),
    "redis: tags of the subnet group": lambda s: s.tag_elasticache("subnetgroup", f"{PREFIX}-redis"),
    "secret: value": lambda s: s.client("secretsmanager").put_secret_value(
        SecretId=f"{PREFIX}/redis", SecretString="{}"
    ),
    "secret: description": lambda s: s.client("secretsmanager").update_secret(
        SecretId=f"{PREFIX}/redis", Description="drift"
    ),
    "secret: tags": lambda s: s.client("secretsmanager").tag_resource(SecretId=f"{PREFIX}/redis", Tags=[TAG]),
    "bucket: versioning": lambda s: s.client("s3").put_bucket_versioning(
        Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"}
    ),
    "bucket: encryption": lambda s: s.client("s3").put_bucket_encryption(
        Bucket=BUCKET,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]
        },
    ),
    "bucket: public access": lambda s: s.client("s3").put_public_access_block(
        Bucket=BUCKET, PublicAccessBlockConfiguration={"BlockPublicAcls": False}
    ),
    "bucket: ownership": lambda s: s.client("s3").put_bucket_ownership_controls(
        Bucket=BUCKET, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    ),
    "bucket: policy": lambda s: s.client("s3").put_bucket_policy(
        Bucket=BUCKET,
        Policy=document({**POLICY, "Action": "s3:*", "Principal": "*", "Resource": f"arn:aws:s3:::{BUCKET}/drift"}),
    ),
    "bucket: lifecycle": lambda s: s.client("s3").put_bucket_lifecycle_configuration(
        Bucket=BUCKET,
        LifecycleConfiguration={
            "Rules": [{"ID": "drift", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]
        },
    ),
    "bucket: tags": lambda s: s.client("s3").put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": [TAG]}),
    "load_balancer: an attribute": lambda s: s.client("elbv2").modify_load_balancer_attributes(
        LoadBalancerArn=s.balancer(), Attributes=[{"Key": "idle_timeout.timeout_seconds", "Value": "61"}]
    ),
    "load_balancer: tags": lambda s: s.client("elbv2").add_tags(ResourceArns=[s.balancer()], Tags=[TAG]),
    "load_balancer: health check": lambda s: s.client("elbv2").modify_target_group(
        TargetGroupArn=s.target_group(), HealthCheckPath="/drift"
    ),
    "load_balancer: deregistration delay": lambda s: s.client("elbv2").modify_target_group_attributes(
        TargetGroupArn=s.target_group(), Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "7"}]
    ),
    "load_balancer: tags of the target group": lambda s: s.client("elbv2").add_tags(
        ResourceArns=[s.target_group()], Tags=[TAG]
    ),
    "load_balancer: a listener": lambda s: s.client("elbv2").modify_listener(
        ListenerArn=s.listener(),
        DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}],
    ),
    "load_balancer: tags of a listener": lambda s: s.client("elbv2").add_tags(ResourceArns=[s.listener()], Tags=[TAG]),
    "roles: trust": lambda s: s.client("iam").update_assume_role_policy(RoleName=ROLE, PolicyDocument=document(TRUST)),
    "roles: an inline policy": lambda s: s.client("iam").put_role_policy(
        RoleName=ROLE, PolicyName="drift", PolicyDocument=document(POLICY)
    ),
    "roles: a managed policy": lambda s: s.client("iam").attach_role_policy(
        RoleName=ROLE, PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess"
    ),
    "roles: description": lambda s: s.client("iam").update_role(RoleName=ROLE, Description="drift"),
    "roles: tags": lambda s: s.client("iam").tag_role(RoleName=ROLE, Tags=[TAG]),
    "log_groups: retention": lambda s: s.client("logs").put_retention_policy(logGroupName=LOG_GROUP, retentionInDays=1),
    "log_groups: tags": lambda s: s.client("logs").tag_resource(
        resourceArn=f"arn:aws:logs:us-east-1:123456789012:log-group:{LOG_GROUP}", tags={"Drift": "1"}
    ),
    "log_groups: one that is gone": lambda s: s.client("logs").delete_log_group(logGroupName=LOG_GROUP),
    "repository: mutability": lambda s: s.client("ecr").put_image_tag_mutability(
        repositoryName=REPOSITORY, imageTagMutability="MUTABLE"
    ),
    "repository: scanning": lambda s: s.client("ecr").put_image_scanning_configuration(
        repositoryName=REPOSITORY, imageScanningConfiguration={"scanOnPush": False}
    ),
    "repository: lifecycle policy": lambda s: s.client("ecr").delete_lifecycle_policy(repositoryName=REPOSITORY),
    "repository: policy": lambda s: s.client("ecr").set_repository_policy(
        repositoryName=REPOSITORY, policyText=document({"Effect": "Allow", "Principal": "*", "Action": "ecr:*"})
    ),
    "repository: tags": lambda s: s.client("ecr").tag_resource(
        resourceArn=f"arn:aws:ecr:us-east-1:123456789012:repository/{REPOSITORY}", tags=[TAG]
    ),
    "cluster: container insights": lambda s: s.client("ecs").update_cluster_settings(
        cluster=f"{PREFIX}-cluster", settings=[{"name": "containerInsights", "value": "disabled"}]
    ),
    "cluster: capacity providers": lambda s: s.client("ecs").put_cluster_capacity_providers(
        cluster=f"{PREFIX}-cluster", capacityProviders=["FARGATE"], defaultCapacityProviderStrategy=[]
    ),
    "cluster: tags": lambda s: s.client("ecs").tag_resource(
        resourceArn=s.service()["clusterArn"], tags=[{"key": "Drift", "value": "1"}]
    ),
    "services: exec": lambda s: s.update_service(enableExecuteCommand=True),
    "services: network": lambda s: s.update_service(
        networkConfiguration={
            "awsvpcConfiguration": {
                **s.service()["networkConfiguration"]["awsvpcConfiguration"],
                "assignPublicIp": "ENABLED",
            }
        }
    ),
    "services: percents and breaker": lambda s: s.update_service(deploymentConfiguration={"maximumPercent": 300}),
    "services: tags": lambda s: s.client("ecs").tag_resource(
        resourceArn=s.service()["serviceArn"], tags=[{"key": "Drift", "value": "1"}]
    ),
    "services: tags of the task definition": lambda s: s.client("ecs").tag_resource(
        resourceArn=s.service()["taskDefinition"], tags=[{"key": "Drift", "value": "1"}]
    ),
    "services: another task definition": another_revision,
    "scaling: limits": lambda s: s.client("application-autoscaling").register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId=s.target()["ResourceId"],
        ScalableDimension="ecs:service:DesiredCount",
        MaxCapacity=9,
    ),
    "scaling: tags": lambda s: s.client("application-autoscaling").tag_resource(
        ResourceARN=s.target()["ScalableTargetARN"], Tags={"Drift": "1"}
    ),
    "scaling: a policy": lambda s: put_policy(
        s,
        f"{PREFIX}-worker-0-cpu",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=TRACKING,
    ),
    "scaling: a policy of somebody else": lambda s: put_policy(
        s, "drift", PolicyType="StepScaling", StepScalingPolicyConfiguration=STEPS
    ),
    "scaling: a scheduled action": lambda s: s.client("application-autoscaling").put_scheduled_action(
        ServiceNamespace="ecs",
        ScalableDimension="ecs:service:DesiredCount",
        ResourceId=s.target()["ResourceId"],
        ScheduledActionName="drift",
        Schedule="cron(0 3 * * ? *)",
        ScalableTargetAction={"MinCapacity": 0},
    ),
}


def look(stack: Stack, name: str) -> str:
    return json.dumps(steady(LOOKS[name](stack.client)), default=str, sort_keys=True)


def steady(value):
    if isinstance(value, dict):
        return {key: steady(item) for key, item in value.items() if key not in VOLATILE}
    return [steady(item) for item in value] if isinstance(value, (list, tuple)) else value


def test_it_makes_as_many_calls_as_it_says(stack):
    """49 for what every stack has; for each worker one for its revision, its log group's tags and its target's."""
    stack.sandbox.faults()
    done = subprocess.run(
        [sys.executable, "bench/floor.py", PREFIX, *WORKERS],
        cwd=ROOT,
        env=stack.sandbox.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    counted = stack.sandbox.ask("faults")
    assert counted["calls"] == 49 + 3 * len(WORKERS), counted["by_operation"]


@pytest.mark.parametrize("drift", DRIFTS)
def test_it_sees(stack, drift):
    name = drift.partition(":")[0]
    before = look(stack, name)
    assert look(stack, name) == before
    DRIFTS[drift](stack)
    assert look(stack, name) != before
