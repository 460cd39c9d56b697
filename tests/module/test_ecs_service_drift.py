"""Every field that ecs_service manages: changed by hand, seen as exactly that field, mended, nothing else moved.

The services run no tasks here, so that each roll-out is over at once; what rolls out is tested elsewhere.
"""

import copy

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_rollout
from ecs_examples import EXECUTION_ROLE, TAGS, Stack

EFS = {"file_system_id": "fs-1", "authorization_config": {"access_point_id": "ap-1", "iam": "ENABLED"}}

CONTAINER = {
    "essential": True,
    "entry_point": ["sh"],
    "command": ["-c", "true"],
    "environment": {"A": "1"},
    "secrets": {"S": "arn:aws:ssm:us-east-1:123456789012:parameter/s"},
    "port_mappings": [{"container_port": 8000, "protocol": "tcp", "name": "http"}],
    "health_check": {"command": ["CMD", "true"], "interval": 10, "timeout": 4, "retries": 2, "start_period": 15},
    "stop_timeout": 60,
    "start_timeout": 20,
    "linux_parameters": {"init_process_enabled": True},
    "readonly_root_filesystem": True,
    "mount_points": [{"source_volume": "tmp", "container_path": "/tmp", "read_only": False}],
    "user": "1000",
    "working_directory": "/srv",
    "ulimits": [{"name": "nofile", "soft_limit": 1024, "hard_limit": 2048}],
    "cpu": 100,
    "memory": 400,
    "memory_reservation": 200,
}
TASK = {
    "task_role_arn": "arn:aws:iam::123456789012:role/task",
    "cpu_architecture": "ARM64",
    "operating_system_family": "LINUX",
    "ephemeral_storage_gib": 30,
    "volumes": [
        {"name": "tmp"},
        {"name": "shared", "efs_volume_configuration": {**EFS, "transit_encryption": "ENABLED"}},
    ],
}
SERVICE = {
    "desired_count": 0,
    "capacity_provider_strategy": [
        {"capacity_provider": "FARGATE", "weight": 1, "base": 1},
        {"capacity_provider": "FARGATE_SPOT", "weight": 3},
    ],
    "platform_version": "LATEST",
    "assign_public_ip": False,
    "health_check_grace_period_seconds": 0,
    "minimum_healthy_percent": 100,
    "maximum_percent": 200,
    "enable_execute_command": False,
    "propagate_tags": "SERVICE",
    "availability_zone_rebalancing": "DISABLED",
}


def wanted(stack, name):
    service = stack.service(name, **SERVICE, task=copy.deepcopy(TASK), container=copy.deepcopy(CONTAINER))
    del service["launch_type"]
    containers = service["task_definition"]["containers"]
    containers[0]["log_configuration"] = {
        "log_driver": "awslogs",
        "options": {"awslogs-group": "/g", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "t"},
    }
    containers[0]["depends_on"] = [{"container_name": "side", "condition": "START"}]
    containers.append({"name": "side", "image": "busybox", "essential": False})
    return stack.args(service)


@pytest.fixture(scope="module")
def stack(sandbox):
    return Stack(sandbox)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(ecs_rollout, "PAUSE", 0.05)


def _set(path, value):
    """A change of the described task definition at ``path``, a key or an index at a time."""

    def change(document):
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value

    return change


def _main(*path_and_value):
    *path, value = path_and_value
    return _set(("containerDefinitions", 0, *path), value)


def _drop_environment(document):
    document["containerDefinitions"][0]["environment"] = []


# path in the plan -> what somebody does to the task definition by hand
MAIN = "containers.main"
TASK_DEFINITION = {
    "cpu": lambda d: d.update(cpu="512", memory="1024"),
    "execution_role_arn": _set(("executionRoleArn",), f"{EXECUTION_ROLE}-other"),
    "task_role_arn": _set(("taskRoleArn",), "arn:aws:iam::123456789012:role/other"),
    "cpu_architecture": _set(("runtimePlatform", "cpuArchitecture"), "X86_64"),
    "operating_system_family": _set(("runtimePlatform", "operatingSystemFamily"), "WINDOWS_SERVER_2022_CORE"),
    "ephemeral_storage_gib": _set(("ephemeralStorage", "sizeInGiB"), 40),
    "requires_compatibilities": _set(("requiresCompatibilities",), ["EC2", "FARGATE"]),
    "volumes.more": lambda d: d["volumes"].append({"name": "more"}),
    "volumes.shared.efs_volume_configuration.file_system_id": _set(
        ("volumes", 1, "efsVolumeConfiguration", "fileSystemId"), "fs-2"
    ),
    "volumes.shared.efs_volume_configuration.root_directory": _set(
        ("volumes", 1, "efsVolumeConfiguration", "rootDirectory"), "/x"
    ),
    "containers.more": lambda d: d["containerDefinitions"].append({"name": "more", "image": "busybox"}),
    "containers.side.essential": _set(("containerDefinitions", 1, "essential"), True),
    f"{MAIN}.image": _main("image", "busybox:old"),
    f"{MAIN}.entry_point": _main("entryPoint", ["sh", "-x"]),
    f"{MAIN}.command": _main("command", ["true", "-c"]),
    f"{MAIN}.environment.A": _main("environment", 0, "value", "2"),
    f"{MAIN}.environment.B": lambda d: d["containerDefinitions"][0]["environment"].append({"name": "B", "value": ""}),
    f"{MAIN}.environment.A ": _drop_environment,  # the same path as a changed value
    f"{MAIN}.secrets.S": _main("secrets", 0, "valueFrom", "arn:aws:ssm:us-east-1:123456789012:parameter/t"),
    f"{MAIN}.port_mappings.8000/tcp.container_port": _main("portMappings", []),
    f"{MAIN}.port_mappings.8000/tcp.name": _main("portMappings", 0, "name", "web"),
    f"{MAIN}.health_check.command": _main("healthCheck", "command", ["CMD", "false"]),
    f"{MAIN}.health_check.interval": _main("healthCheck", "interval", 30),
    f"{MAIN}.health_check.timeout": _main("healthCheck", "timeout", 5),
    f"{MAIN}.health_check.retries": _main("healthCheck", "retries", 3),
    f"{MAIN}.health_check.start_period": _main("healthCheck", "startPeriod", 0),
    f"{MAIN}.stop_timeout": _main("stopTimeout", 30),
    f"{MAIN}.start_timeout": _main("startTimeout", 30),
    f"{MAIN}.depends_on.side": _main("dependsOn", 0, "condition", "COMPLETE"),
    f"{MAIN}.log_configuration.options.awslogs-group": _main("logConfiguration", "options", "awslogs-group", "/other"),
    f"{MAIN}.linux_parameters.init_process_enabled": _main("linuxParameters", "initProcessEnabled", False),
    f"{MAIN}.readonly_root_filesystem": _main("readonlyRootFilesystem", False),
    f"{MAIN}.mount_points./tmp.read_only": _main("mountPoints", 0, "readOnly", True),
    f"{MAIN}.mount_points./tmp.source_volume": _main("mountPoints", 0, "sourceVolume", "shared"),
    f"{MAIN}.user": _main("user", "0"),
    f"{MAIN}.working_directory": _main("workingDirectory", "/"),
    f"{MAIN}.ulimits.nofile.soft_limit": _main("ulimits", 0, "softLimit", 512),
    f"{MAIN}.cpu": _main("cpu", 50),
    f"{MAIN}.memory": _main("memory", 300),
    f"{MAIN}.memory_reservation": _main("memoryReservation", 100),
    # options that we do not have yet: whoever sets one by hand has changed what runs
    f"{MAIN}.docker_labels": _main("dockerLabels", {"a.b": "c"}),
    "pid_mode": _set(("pidMode",), "task"),
}

# Fields that change with another one.
PORT = f"task_definition.{MAIN}.port_mappings.8000/tcp"
COMPANIONS = {
    "task_definition.cpu": {"task_definition.memory"},
    f"{PORT}.container_port": {f"{PORT}.protocol", f"{PORT}.host_port", f"{PORT}.name"},
}


def _deployment(**values):
    return {"deploymentConfiguration": values}


SERVICE_FIELDS = {
    "subnets": lambda s: {"networkConfiguration": _network(s, subnets=s.subnets[2:3])},
    "security_groups": lambda s: {"networkConfiguration": _network(s, securityGroups=s.security_groups)},
    "assign_public_ip": lambda s: {"networkConfiguration": _network(s, assignPublicIp="ENABLED")},
    "capacity_provider_strategy.FARGATE_SPOT.weight": lambda s: {
        "capacityProviderStrategy": [
            {"capacityProvider": "FARGATE", "weight": 1, "base": 1},
            {"capacityProvider": "FARGATE_SPOT", "weight": 1},
        ]
    },
    "capacity_provider_strategy.FARGATE.base": lambda s: {
        "capacityProviderStrategy": [
            {"capacityProvider": "FARGATE", "weight": 1},
            {"capacityProvider": "FARGATE_SPOT", "weight": 3},
        ]
    },
    "platform_version": lambda s: {"platformVersion": "1.4.0"},
    "health_check_grace_period_seconds": lambda s: {"healthCheckGracePeriodSeconds": 9},
    "minimum_healthy_percent": lambda s: _deployment(minimumHealthyPercent=50),
    "maximum_percent": lambda s: _deployment(maximumPercent=150),
    "circuit_breaker.enable": lambda s: _deployment(deploymentCircuitBreaker={"enable": False, "rollback": True}),
    "circuit_breaker.rollback": lambda s: _deployment(deploymentCircuitBreaker={"enable": True, "rollback": False}),
    "enable_execute_command": lambda s: {"enableExecuteCommand": True},
    "propagate_tags": lambda s: {"propagateTags": "TASK_DEFINITION"},
    "availability_zone_rebalancing": lambda s: {"availabilityZoneRebalancing": "ENABLED"},
}


def _network(stack, **values):
    return {
        "awsvpcConfiguration": {
            "subnets": stack.subnets[:2],
            "securityGroups": stack.security_groups[:1],
            "assignPublicIp": "DISABLED",
            **values,
        }
    }


def drift_task_definition(stack, name, change):
    """Somebody registers a changed revision and puts the service on it."""
    document = stack.ecs.describe_task_definition(taskDefinition=f"{stack.cluster}-{name}")["taskDefinition"]
    for read_only in (
        "taskDefinitionArn",
        "revision",
        "status",
        "requiresAttributes",
        "compatibilities",
        "registeredAt",
        "registeredBy",
    ):
        document.pop(read_only, None)
    change(document)
    # registered under the same tags, or these would be a difference of their own
    tags = [{"key": key, "value": value} for key, value in TAGS.items()]
    arn = stack.ecs.register_task_definition(**document, tags=tags)["taskDefinition"]["taskDefinitionArn"]
    stack.ecs.update_service(cluster=stack.cluster, service=name, taskDefinition=arn)


def drift_service(stack, name, change):
    stack.ecs.update_service(cluster=stack.cluster, service=name, **change(stack))


def drift_tags(of):
    def drift(stack, name, tags):
        stack.ecs.tag_resource(
            resourceArn=stack.describe(name)[of], tags=[{"key": key, "value": value} for key, value in tags.items()]
        )

    return drift


# path in the plan -> (how somebody drifts a service of its own, with what)
CASES = {
    **{f"task_definition.{field}": (drift_task_definition, change) for field, change in TASK_DEFINITION.items()},
    **{field: (drift_service, change) for field, change in SERVICE_FIELDS.items()},
    "tags.extra": (drift_tags("serviceArn"), {"extra": "yes"}),
    "tags.ManagedBy": (drift_tags("serviceArn"), {"ManagedBy": "hand"}),
    # a revision's tags need no new revision
    "task_definition.tags.extra": (drift_tags("taskDefinition"), {"extra": "yes"}),
}
NAMES = {path: f"drift-{index}" for index, path in enumerate(CASES)}


@pytest.fixture(scope="module")
def results():
    return {}


@pytest.fixture
def drifted(module, stack, results):
    """One service for each case, all of them deployed, drifted, checked, mended and checked again; made once."""
    if not results:
        args = stack.args(*(wanted(stack, name)["services"][0] for name in NAMES.values()))
        module("ecs_service", args)
        for path, (drift, change) in CASES.items():
            drift(stack, NAMES[path], change)
        for step, check in (("foretold", True), ("done", False), ("left", True)):
            results[step] = {}
            for change in module("ecs_service", args, check=check)["changes"]:
                results[step].setdefault(change["resource"], []).append(change)
    return results


@pytest.mark.parametrize("path", CASES)
def test_drift_is_seen_as_that_field_and_mended(stack, drifted, path):
    service = f"service {NAMES[path]}"
    field = path.strip()
    assert {change["path"] for change in drifted["foretold"][service]} == {field} | COMPANIONS.get(field, set())
    assert drifted["done"][service] == drifted["foretold"][service]
    assert service not in drifted["left"]
    revisions = {drift_task_definition: 3}.get(CASES[path][0], 1)
    assert stack.revisions(NAMES[path]) == revisions, "the wanted one, the drifted one, the wanted one again"


def test_every_option_has_a_case():
    """An option without a drift case above fails here."""
    from ansible_collections.nexus_learn.aws.plugins.modules.ecs_service import CONTAINER as CONTAINER_OPTIONS
    from ansible_collections.nexus_learn.aws.plugins.modules.ecs_service import SERVICE as SERVICE_OPTIONS
    from ansible_collections.nexus_learn.aws.plugins.modules.ecs_service import TASK_DEFINITION as TASK_OPTIONS

    elsewhere = {
        # test_ecs_service.py: needs a load balancer, a count, another family, another launch type
        "load_balancers",
        "desired_count",
        "enforce_desired_count",
        "family",
        "launch_type",
        # moves together with another field that has a case
        "memory",
        # identify the thing, or hold what has cases of its own
        "name",
        "task_definition",
        "containers",
        # Fargate takes one value only
        "network_mode",
    }
    covered = {
        field.strip().removeprefix("containers.main.").removeprefix("containers.side.").split(".")[0]
        for field in (*TASK_DEFINITION, *SERVICE_FIELDS)
    }
    assert {*CONTAINER_OPTIONS, *TASK_OPTIONS, *SERVICE_OPTIONS} - covered - elsewhere == set()
