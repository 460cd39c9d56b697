"""python bench/floor.py NAME_PREFIX SERVICE...: the fewest calls that could notice drift in anything site.yml manages.

It reads and compares nothing: what no tool can do without. One process, a client per service, calls in threads; only
what depends on an answer waits for it. With --print the answers follow as JSON.

Two ways to read less are left out, because each would miss drift:

- The Resource Groups Tagging API gives the tags of 100 resources in a call, but as a service of its own it hears of
  them, which is later (https://github.com/aws/aws-sdk/issues/302). Only a resource's own service knows them now.
- A revision of a task definition never changes, so its content could be kept from an earlier run; but its tags can,
  and DescribeTaskDefinition, which has both, takes one at a time.
"""

import json
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import botocore.config
import botocore.loaders
import botocore.session
from botocore.exceptions import ClientError

THREADS = 32
session = botocore.session.Session()
session.register_component("data_loader", botocore.loaders.create_loader())
config = botocore.config.Config(max_pool_connections=THREADS, retries={"mode": "adaptive"})
# Chains wait for calls, so the calls have threads of their own.
chains, calls = ThreadPoolExecutor(16), ThreadPoolExecutor(THREADS)


def together(*some) -> list:
    return [future.result() for future in [calls.submit(one) for one in some]]


def pages(client, operation: str, **arguments) -> list:
    return list(client.get_paginator(operation).paginate(**arguments))


def batches(items: list, size: int) -> list[list]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def network(ec2, prefix: str):
    """10 calls. Whatever there is in the VPC; internet gateways and addresses are in none, or not before they are."""
    vpcs, *rest = together(
        partial(ec2.describe_vpcs, Filters=[{"Name": "tag:Name", "Values": [f"{prefix}-vpc"]}]),
        ec2.describe_internet_gateways,
        ec2.describe_addresses,  # a NAT gateway's address has tags of its own
    )
    vpc = vpcs["Vpcs"][0]["VpcId"]
    here = [{"Name": "vpc-id", "Values": [vpc]}]
    return (
        vpcs,
        rest,
        together(
            partial(ec2.describe_vpc_attribute, VpcId=vpc, Attribute="enableDnsHostnames"),  # one attribute a call
            partial(ec2.describe_vpc_attribute, VpcId=vpc, Attribute="enableDnsSupport"),
            partial(ec2.describe_subnets, Filters=here),
            partial(ec2.describe_route_tables, Filters=here),
            partial(ec2.describe_nat_gateways, Filter=here),
            partial(ec2.describe_vpc_endpoints, Filters=here),
            partial(ec2.describe_security_groups, Filters=here),  # with rules and tags
        ),
    )


def redis(cache, prefix: str):
    """8 calls; ElastiCache shows tags only one resource at a time. The family is that of the inventory's version."""
    name, parameters = f"{prefix}-redis", f"{prefix}-redis7"
    *found, subnets, group = together(
        # version, windows, subnet and parameter group, topic: only the node has them
        partial(cache.describe_cache_clusters, CacheClusterId=f"{name}-001"),
        partial(cache.describe_replication_groups, ReplicationGroupId=name),
        partial(cache.describe_cache_parameters, CacheParameterGroupName=parameters),
        partial(cache.describe_cache_subnet_groups, CacheSubnetGroupName=name),
        partial(cache.describe_cache_parameter_groups, CacheParameterGroupName=parameters),
    )
    arns = [
        found[1]["ReplicationGroups"][0]["ARN"],
        subnets["CacheSubnetGroups"][0]["ARN"],
        group["CacheParameterGroups"][0]["ARN"],
    ]
    tags = together(*(partial(cache.list_tags_for_resource, ResourceName=arn) for arn in arns))
    return found, subnets, group, tags


def secret(manager, prefix: str):
    """2 calls: description, key, tags and stages; and the value, which holds Redis's address."""
    return together(
        partial(manager.describe_secret, SecretId=f"{prefix}/redis"),
        partial(manager.get_secret_value, SecretId=f"{prefix}/redis"),
    )


def bucket(s3, prefix: str, token: Future):
    """7 calls, one for each thing that a bucket can be told. Its name has the account, which any ARN tells."""
    region, account = token.result()[0]["ARN"].split(":")[3:5]

    def ask(operation) -> dict:
        try:
            return operation(Bucket=f"{prefix}-deployment-{account}-{region}")
        except ClientError as error:  # what was never set is an error here
            return error.response["Error"]

    return together(
        partial(ask, s3.get_bucket_versioning),
        partial(ask, s3.get_bucket_encryption),
        partial(ask, s3.get_public_access_block),
        partial(ask, s3.get_bucket_ownership_controls),
        partial(ask, s3.get_bucket_policy),
        partial(ask, s3.get_bucket_lifecycle_configuration),
        partial(ask, s3.get_bucket_tagging),
    )


def load_balancer(elb, prefix: str):
    """6 calls, in three steps: listeners have no name, and their tags need their ARN."""
    balancers, groups = together(
        partial(elb.describe_load_balancers, Names=[f"{prefix}-alb"]),
        partial(elb.describe_target_groups, Names=[f"{prefix}-backend"]),
    )
    balancer = balancers["LoadBalancers"][0]["LoadBalancerArn"]
    group = groups["TargetGroups"][0]["TargetGroupArn"]
    listeners, *attributes = together(
        partial(elb.describe_listeners, LoadBalancerArn=balancer),
        partial(elb.describe_load_balancer_attributes, LoadBalancerArn=balancer),
        partial(elb.describe_target_group_attributes, TargetGroupArn=group),
    )
    arns = [balancer, group, *(item["ListenerArn"] for item in listeners["Listeners"])]
    return balancers, groups, listeners, attributes, elb.describe_tags(ResourceArns=arns)


def roles(iam):
    """2 calls: trust, inline and managed policies, boundary and tags; and what only the other one has, descriptions."""
    return together(
        partial(pages, iam, "get_account_authorization_details", Filter=["Role"], PaginationConfig={"PageSize": 1000}),
        partial(pages, iam, "list_roles", PaginationConfig={"PageSize": 1000}),
    )


def log_groups(logs, prefix: str):
    """A call per 50 groups, and one per group: DescribeLogGroups has no tags."""
    found = pages(logs, "describe_log_groups", logGroupNamePrefix=f"/ecs/{prefix}/")
    arns = [group["logGroupArn"] for page in found for group in page["logGroups"]]
    return found, together(*(partial(logs.list_tags_for_resource, resourceArn=arn) for arn in arns))


def repository(ecr, prefix: str, token: Future):
    """4 calls: settings, tags and the two policies, none of which has any other's."""
    name = f"{prefix}-worker"
    region, account = token.result()[0]["ARN"].split(":")[3:5]

    def ask(operation) -> dict:
        try:
            return operation(repositoryName=name)
        except ClientError as error:  # what was never set is an error here
            return error.response["Error"]

    return together(
        partial(ecr.describe_repositories, repositoryNames=[name]),
        partial(ecr.list_tags_for_resource, resourceArn=f"arn:aws:ecr:{region}:{account}:repository/{name}"),
        partial(ask, ecr.get_lifecycle_policy),
        partial(ask, ecr.get_repository_policy),
    )


def cluster(ecs, prefix: str):
    return ecs.describe_clusters(clusters=[f"{prefix}-cluster"], include=["TAGS", "SETTINGS"])


def services(ecs, prefix: str, names: list[str]):
    """A call per 10 services, and one per service for the revision of the task definition that it runs."""
    wanted = [f"{prefix}-{name}-service" for name in ["backend", "celery-beat", *names]]
    ask = partial(ecs.describe_services, cluster=f"{prefix}-cluster", include=["TAGS"])
    found = together(*(partial(ask, services=batch) for batch in batches(wanted, 10)))
    revisions = {service["taskDefinition"] for answer in found for service in answer["services"]}
    ask = partial(ecs.describe_task_definition, include=["TAGS"])
    return found, together(*(partial(ask, taskDefinition=revision) for revision in sorted(revisions)))


def scaling(autoscaling, prefix: str, names: list[str]):
    """A call per 50 targets, one per target for its tags, and one per 10 policies and 50 actions of the account."""
    ids = [f"service/{prefix}-cluster/{prefix}-{name}-service" for name in names]
    policies, actions = (
        calls.submit(pages, autoscaling, operation, ServiceNamespace="ecs")
        for operation in ("describe_scaling_policies", "describe_scheduled_actions")
    )
    ask = partial(autoscaling.describe_scalable_targets, ServiceNamespace="ecs")
    targets = together(*(partial(ask, ResourceIds=batch) for batch in batches(ids, 50)))
    arns = [target["ScalableTargetARN"] for answer in targets for target in answer["ScalableTargets"]]
    tags = together(*(partial(autoscaling.list_tags_for_resource, ResourceARN=arn) for arn in arns))
    return targets, tags, policies.result(), actions.result()


def read(prefix: str, names: list[str]) -> list:
    clients = {}

    def start(chain, service: str, *arguments):
        if service not in clients:
            clients[service] = session.create_client(service, config=config)
        return chains.submit(chain, clients[service], *arguments)

    token = start(secret, "secretsmanager", prefix)
    running = [  # the longest first
        start(services, "ecs", prefix, names),
        start(cluster, "ecs", prefix),
        start(scaling, "application-autoscaling", prefix, names),
        start(log_groups, "logs", prefix),
        start(load_balancer, "elbv2", prefix),
        start(redis, "elasticache", prefix),
        start(roles, "iam"),
        start(network, "ec2", prefix),
        start(bucket, "s3", prefix, token),
        start(repository, "ecr", prefix, token),
        token,
    ]
    return [chain.result() for chain in running]


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--print"]
    answers = read(arguments[0], arguments[1:])
    if "--print" in sys.argv:
        print(json.dumps(answers, indent=1, default=str))
