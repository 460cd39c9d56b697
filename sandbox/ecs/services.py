"""CreateService, UpdateService and DeleteService: what they refuse, what they default, when they make a deployment.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateService.html
"""

import copy
import random

from botocore.exceptions import ClientError

from . import errors
from .connect import check_connect, check_registries
from .definitions import NAME
from .model import Cluster, Deployment, Service, TaskDefinition, merge_tags, utcnow
from .store import Store

DEPLOYING = (
    "networkConfiguration",
    "capacityProviderStrategy",
    "platformVersion",
    "loadBalancers",
    "serviceRegistries",
    "serviceConnectConfiguration",
    "volumeConfigurations",
)
"""Settings that belong to a revision: changing one of them makes a new deployment, a roll-back brings them back."""
ECHOED = (
    "healthCheckGracePeriodSeconds",
    "enableECSManagedTags",
    "enableExecuteCommand",
    "propagateTags",
    "availabilityZoneRebalancing",
    "placementConstraints",
    "placementStrategy",
    "deploymentConfiguration",
)
DEPLOYMENT_CONFIGURATION = {
    "deploymentCircuitBreaker": {"enable": False, "rollback": False},
    "maximumPercent": 200,
    "minimumHealthyPercent": 100,
    "strategy": "ROLLING",
    "bakeTimeInMinutes": 0,
}


def create(store: Store, sandbox, cluster: Cluster, request: dict, created_by: str) -> Service:
    name = request["serviceName"]
    if not NAME.fullmatch(name):
        raise errors.invalid("Service name contains invalid characters.")
    existing = cluster.services.get(name)
    if existing and existing.status == "ACTIVE":
        if existing.request == request:
            return existing
        raise errors.invalid("Creation of service was not idempotent.")
    if existing and existing.status == "DRAINING":
        raise errors.invalid("Unable to Start a service that is still Draining.")
    if request.get("desiredCount") is None or request["desiredCount"] < 0:
        raise errors.invalid("desiredCount must be zero or more.")
    if request.get("schedulingStrategy", "REPLICA") != "REPLICA":
        raise errors.invalid("The daemon scheduling strategy is not supported by the Fargate launch type.")
    if (request.get("deploymentController") or {}).get("type", "ECS") != "ECS":
        raise errors.error("UnsupportedFeatureException", "The sandbox knows the deployment controller ECS only.")
    definition = store.usable_revision(cluster.region, request.get("taskDefinition"))
    spec = _spec({}, request, cluster) | placement(cluster, request, definition)
    settings = {key: copy.deepcopy(request[key]) for key in ECHOED if request.get(key) is not None}
    settings["deploymentConfiguration"] = _deployment_configuration(
        DEPLOYMENT_CONFIGURATION, request.get("deploymentConfiguration")
    )
    settings = {
        "schedulingStrategy": "REPLICA",
        "deploymentController": {"type": "ECS"},
        "enableECSManagedTags": False,
        "enableExecuteCommand": False,
        "propagateTags": "NONE",
        # the default where it is possible: API reference, CreateService
        "availabilityZoneRebalancing": (
            "ENABLED" if settings["deploymentConfiguration"]["maximumPercent"] > 100 else "DISABLED"
        ),
        **settings,
    }
    if settings.get("healthCheckGracePeriodSeconds") and not spec.get("loadBalancers"):
        raise errors.invalid("Health check grace period is only valid for services configured to use load balancers")
    check(sandbox, cluster, definition, spec, settings)
    if spec.get("loadBalancers"):
        settings.setdefault("healthCheckGracePeriodSeconds", 0)
    service = Service(
        name=name,
        arn=store.arn(cluster.region, "service", f"{cluster.name}/{name}"),
        cluster=cluster,
        settings=settings,
        desired_count=request["desiredCount"],
        created_by=created_by,
        tags=merge_tags([], request.get("tags") or []),
        request=copy.deepcopy(request),
    )
    cluster.services[name] = service
    deploy(service, definition, spec)
    return service


def update(store: Store, sandbox, service: Service, request: dict) -> Service:
    if service.status != "ACTIVE":
        raise errors.error("ServiceNotActiveException", "Service was not ACTIVE.")
    primary, cluster = service.primary, service.cluster
    definition = primary.definition
    if request.get("taskDefinition"):
        definition = store.usable_revision(cluster.region, request["taskDefinition"])
    spec = _spec(primary.spec, request, cluster)
    if request.get("capacityProviderStrategy") is not None:
        spec.pop("launchType", None)
        # an empty list takes a service back to its launch type (API reference, UpdateService)
        fargate = "FARGATE" in definition.body.get("requiresCompatibilities", [])
        back_to = service.request.get("launchType") or ("FARGATE" if fargate else "EC2")
        given = request if request["capacityProviderStrategy"] else {"launchType": back_to}
        spec |= placement(cluster, given, definition)
    desired = request.get("desiredCount")
    if desired is not None and desired < 0:
        raise errors.invalid("desiredCount must be zero or more.")
    settings = {
        **service.settings,
        **{key: copy.deepcopy(request[key]) for key in ECHOED if request.get(key) is not None},
    }
    settings["deploymentConfiguration"] = _deployment_configuration(
        service.settings["deploymentConfiguration"], request.get("deploymentConfiguration")
    )
    check(sandbox, cluster, definition, spec, settings)
    if desired is not None and desired != service.desired_count:
        service.desired_count, service.steady = desired, False
    service.settings = settings
    if request.get("forceNewDeployment") or definition is not primary.definition or spec != primary.spec:
        deploy(service, definition, spec)
    return service


def delete(service: Service, force: bool) -> Service:
    if service.status != "ACTIVE":
        raise errors.error("ServiceNotActiveException", "Service was not ACTIVE.")
    if service.desired_count and not force:
        raise errors.invalid("The service cannot be stopped while it is scaled above 0.")
    # in these words: https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/ecs/service.go
    if len(service.deployments) > 1 and not force:
        raise errors.invalid("The service cannot be stopped while deployments are active.")
    service.status, service.desired_count = "DRAINING", 0
    return service


def deploy(service: Service, definition: TaskDefinition, spec: dict, undoes: Deployment | None = None) -> Deployment:
    """Make a new PRIMARY deployment. With `undoes` it is the roll-back of that failed deployment."""
    new = Deployment(f"ecs-svc/{random.randrange(10**18, 10**19)}", definition, spec, rolled_back=undoes)  # noqa: S311
    new.requested = service.desired_count
    new.sources = list(service.deployments)
    for old in service.history:  # one that is being rolled back may have no task, and so no deployment, any more
        if old.service_status in ("IN_PROGRESS", "ROLLBACK_IN_PROGRESS") and old is not undoes:
            old.service_status, old.finished_at = "STOPPED", utcnow()
    for old in service.deployments:
        old.status, old.updated_at = "ACTIVE", utcnow()
    new.reason = f"ECS deployment {new.id} in progress."
    service.deployments.insert(0, new)
    if not undoes:
        service.history.insert(0, new)
    service.steady = False
    return new


def roll_back(service: Service, failed: Deployment, reason: str) -> bool:
    """Make the deployment that undoes a failed one; False where there is nothing to go back to.

    `reason` is whose doing it is. A roll-back itself is not rolled back.
    """
    back_to = service.last_completed
    if not back_to or failed.rolled_back:
        return False
    new = deploy(service, back_to.definition, back_to.spec, undoes=failed)
    new.reason = f"{reason}: rolling back to deploymentId {new.id}."
    failed.service_status, failed.finished_at = "ROLLBACK_IN_PROGRESS", None
    service.last_completed = None  # until the roll-back is complete there is nothing to roll back to
    for task in service.tasks():  # what still runs of the good revision serves on
        if task.deployment is back_to:
            task.deployment = new
    service.event(f"rolling back to deployment {new.id}.")
    return True


def stop_deployment(service: Service, stopped: Deployment, kind: str) -> None:
    """StopServiceDeployment: which states it is possible in, and that those of a roll-back go on, is documented.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stop-service-deployment.html
    What AWS answers when there is nothing to go back to, and how DescribeServices shows the stopped one, is not.
    """
    if kind != "ROLLBACK":
        raise errors.invalid(f"Invalid stopType {kind}: the valid value is ROLLBACK.")
    if stopped.service_status == "ROLLBACK_IN_PROGRESS":
        return
    if stopped.service_status != "IN_PROGRESS":
        raise errors.error("ConflictException", f"The service deployment is {stopped.service_status}.")
    if not service.last_completed:
        raise errors.invalid("There is no earlier service revision to roll back to.")
    stopped.rollout, stopped.updated_at = "FAILED", utcnow()
    stopped.reason = "Service deployment was stopped."
    roll_back(service, stopped, "ECS service deployment stopped")


def _spec(before: dict, request: dict, cluster: Cluster) -> dict:
    """A revision's settings after a request, in one form for each meaning: what compares equal changes nothing."""
    given = {key: request[key] for key in DEPLOYING if request.get(key) is not None}
    spec = {key: value for key, value in copy.deepcopy({**before, **given}).items() if value}
    vpc = (spec.get("networkConfiguration") or {}).get("awsvpcConfiguration")
    if vpc:
        vpc.setdefault("securityGroups", [])
        vpc.setdefault("assignPublicIp", "DISABLED")
    if spec.get("platformVersion") == "LATEST":
        del spec["platformVersion"]
    connect = spec.get("serviceConnectConfiguration")
    if connect and not connect.get("enabled"):
        del spec["serviceConnectConfiguration"]
    elif connect and not connect.get("namespace") and cluster.service_connect:
        connect["namespace"] = cluster.service_connect["namespace"]
    return spec


def placement(cluster: Cluster, request: dict, definition: TaskDefinition) -> dict:
    """launchType or capacityProviderStrategy of a service or task, the cluster's default when neither is given."""
    launch_type, strategy = request.get("launchType"), request.get("capacityProviderStrategy")
    if launch_type and strategy:
        raise errors.invalid(
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again."
        )
    for item in strategy or []:
        if item["capacityProvider"] not in cluster.providers:
            raise errors.invalid(
                "The specified capacity provider strategy cannot contain a capacity provider that is not associated "
                "with the cluster. Associate the capacity provider with the cluster and try again."
            )
    if strategy and not any(item.get("weight", 0) or item.get("base", 0) for item in strategy):
        raise errors.invalid("A capacity provider strategy must contain a provider with a weight above 0.")
    if not launch_type:
        strategy = strategy or copy.deepcopy(cluster.strategy)
    result = {}
    if strategy:
        result["capacityProviderStrategy"] = [{"weight": 0, "base": 0, **item} for item in strategy]
    else:
        result["launchType"] = launch_type or "EC2"
    fargate = bool(strategy) or launch_type == "FARGATE"
    if fargate and "FARGATE" not in definition.body.get("requiresCompatibilities", []):
        raise errors.invalid("Task definition does not support launch_type FARGATE.")
    if not fargate and definition.body.get("requiresCompatibilities") == ["FARGATE"]:
        raise errors.invalid("Task definition does not support launch_type EC2.")
    return result


def unassumable(sandbox, definition: TaskDefinition) -> str:
    """Why ECS cannot start tasks of this revision yet: a role of it was made a moment ago. Empty where it can."""
    from moto.iam.models import iam_backends

    if not sandbox.lag:
        return ""
    now = utcnow().replace(tzinfo=None)
    made = {role.arn: role.create_date for role in iam_backends[sandbox.account_id]["aws"].roles.values()}
    for parameter in ("taskRoleArn", "executionRoleArn"):
        arn = definition.body.get(parameter)
        if arn in made and (now - made[arn]).total_seconds() < sandbox.lag:
            return (
                f"ECS was unable to assume the role '{arn}' that was provided for this task. Please verify that the "
                "role being passed has the proper trust relationship and permissions and that your IAM user has "
                "permissions to pass this role."
            )
    return ""


def check(sandbox, cluster: Cluster, definition: TaskDefinition, spec: dict, settings: dict) -> None:
    """Network, load balancers, execute command and deployment percents, in the words of ECS."""
    check_network(sandbox, cluster, definition, spec.get("networkConfiguration"))
    for balancer in spec.get("loadBalancers") or []:
        _check_balancer(sandbox, cluster, definition, balancer)
    check_registries(sandbox, cluster.region, spec.get("serviceRegistries") or [])
    check_connect(sandbox, cluster.region, definition.containers, spec.get("serviceConnectConfiguration") or {})
    _check_volumes(definition, spec.get("volumeConfigurations") or [])
    _check_failing(settings["deploymentConfiguration"])
    if settings.get("enableExecuteCommand") and not definition.body.get("taskRoleArn"):
        raise errors.invalid(
            "The service couldn't be created because a valid taskRoleArn is not being used. "
            "Specify a valid task role in your task definition and try again."
        )
    percents = settings["deploymentConfiguration"]
    minimum, maximum = percents["minimumHealthyPercent"], percents["maximumPercent"]
    if (minimum, maximum) == (100, 100):
        raise errors.invalid(
            "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments."
        )
    if not 0 <= minimum <= 100 or maximum < max(minimum, 1):
        raise errors.invalid("minimumHealthyPercent must be 0 to 100, and maximumPercent above 0 and not below it.")
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-rebalancing.html
    if settings["availabilityZoneRebalancing"] == "ENABLED" and maximum <= 100:
        raise errors.invalid("Availability Zone rebalancing requires a maximumPercent above 100.")


def _check_volumes(definition: TaskDefinition, configurations: list[dict]) -> None:
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceManagedEBSVolumeConfiguration.html"""
    wanted = {volume["name"] for volume in definition.body["volumes"] if volume.get("configuredAtLaunch")}
    if wanted != {configuration["name"] for configuration in configurations}:
        raise errors.invalid(
            "volumeConfigurations must name the volumes of the task definition that are configured at launch: "
            f"{', '.join(sorted(wanted)) or 'there is none'}."
        )
    for configuration in configurations:
        volume = configuration.get("managedEBSVolume") or {}
        if not (volume.get("sizeInGiB") or volume.get("snapshotId")):
            raise errors.invalid("A managedEBSVolume needs a sizeInGiB or a snapshotId.")
        if volume.get("volumeInitializationRate") and not volume.get("snapshotId"):
            raise errors.invalid("volumeInitializationRate needs a snapshotId.")
        if volume.get("throughput") and volume.get("volumeType", "gp3") != "gp3":
            raise errors.invalid("throughput is for volumes of the type gp3 only.")


def _check_failing(configuration: dict) -> None:
    """When a deployment fails, and when it is over early."""
    threshold = configuration["deploymentCircuitBreaker"].get("thresholdConfiguration")
    if threshold:
        if threshold["type"] not in ("COUNT", "BOUNDED_PERCENT", "UNBOUNDED_PERCENT") or threshold["value"] < 1:
            raise errors.invalid("The circuit breaker's threshold is a type and a value of at least 1.")
        if threshold["type"] == "BOUNDED_PERCENT" and threshold["value"] > 100:
            raise errors.invalid("The circuit breaker's threshold of type BOUNDED_PERCENT must be at most 100.")
    alarms = configuration.get("alarms") or {}
    if alarms.get("enable") and not alarms.get("alarmNames"):
        raise errors.invalid("alarmNames cannot be empty when alarms are enabled.")
    if configuration["strategy"] != "ROLLING":
        raise errors.error("UnsupportedFeatureException", "The sandbox knows the deployment strategy ROLLING only.")
    early = configuration.get("earlySuccessCriteria") or {}
    if early.get("enable"):
        if early.get("sourceServiceRevisionCleanup") not in ("BLOCKING", "DEFERRED"):
            raise errors.invalid("earlySuccessCriteria needs healthyPercent and sourceServiceRevisionCleanup.")
        if not configuration["minimumHealthyPercent"] <= early.get("healthyPercent", -1) <= 100:
            raise errors.invalid("healthyPercent must be minimumHealthyPercent to 100.")


def check_network(sandbox, cluster: Cluster, definition: TaskDefinition, configuration: dict | None) -> None:
    if definition.body["networkMode"] != "awsvpc":
        if configuration:
            raise errors.invalid(
                "Network Configuration is not valid for the given networkMode of this task definition."
            )
        return
    vpc = (configuration or {}).get("awsvpcConfiguration")
    if not vpc:
        raise errors.invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    if not vpc.get("subnets"):
        raise errors.invalid("subnets can not be empty.")
    ec2 = sandbox.client("ec2", cluster.region)
    checks = (
        ("subnet", "subnets", ec2.describe_subnets, "SubnetIds"),
        ("security group", "securityGroups", ec2.describe_security_groups, "GroupIds"),
    )
    for words, key, describe, parameter in checks:
        ids = vpc.get(key) or []
        try:
            if ids:
                describe(**{parameter: ids})
        except ClientError as error:
            found = error.response["Error"]
            raise errors.invalid(
                f"Error retrieving {words} information for [{', '.join(ids)}]: {found['Message']} "
                f"(ErrorCode: {found['Code']})"
            ) from None


def _check_balancer(sandbox, cluster: Cluster, definition: TaskDefinition, balancer: dict) -> None:
    arn, name, port = balancer.get("targetGroupArn"), balancer.get("containerName"), balancer.get("containerPort")
    container = next((c for c in definition.containers if c["name"] == name), None)
    if not container:
        raise errors.invalid(f"The container {name} does not exist in the task definition.")
    if port not in [mapping.get("containerPort") for mapping in container["portMappings"]]:
        raise errors.invalid(f"The container {name} did not have a container port {port} defined.")
    try:
        answer = sandbox.client("elbv2", cluster.region).describe_target_groups(TargetGroupArns=[arn] if arn else [])
        group = answer["TargetGroups"][0]
    except (ClientError, IndexError):
        raise errors.invalid(f"The target group with targetGroupArn {arn} does not exist.") from None
    if group.get("TargetType") != "ip" and definition.body["networkMode"] == "awsvpc":
        raise errors.invalid(
            f"The provided target group {arn} has target type {group.get('TargetType')}, which is incompatible with "
            "the awsvpc network mode specified in the task definition."
        )
    if not group.get("LoadBalancerArns"):
        raise errors.invalid(f"The target group with targetGroupArn {arn} does not have an associated load balancer.")


def _deployment_configuration(before: dict, given: dict | None) -> dict:
    given = given or {}
    breaker = {**before["deploymentCircuitBreaker"], **(given.get("deploymentCircuitBreaker") or {})}
    return {**before, **copy.deepcopy(given), "deploymentCircuitBreaker": breaker}
