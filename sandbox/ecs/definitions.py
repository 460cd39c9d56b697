"""Task definitions: what RegisterTaskDefinition refuses and which defaults it fills in. Nothing here does I/O.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html
"""

import copy
import re

from .errors import client

GB = 1024
FARGATE = {
    256: [512, 1 * GB, 2 * GB],
    512: [memory * GB for memory in range(1, 5)],
    1024: [memory * GB for memory in range(2, 9)],
    2048: [memory * GB for memory in range(4, 17)],
    4096: [memory * GB for memory in range(8, 31)],
    8192: [memory * GB for memory in range(16, 61, 4)],
    16384: [memory * GB for memory in range(32, 121, 8)],
}
"""CPU units -> the memory sizes (MiB) that Fargate offers with them."""

NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
KEPT = (
    "family", "taskRoleArn", "executionRoleArn", "networkMode", "volumes", "placementConstraints", "runtimePlatform",
    "requiresCompatibilities", "pidMode", "ipcMode", "proxyConfiguration", "inferenceAccelerators", "ephemeralStorage",
    "enableFaultInjection",
)  # fmt: skip
NOT_FARGATE = (
    "disableNetworking", "dnsSearchDomains", "dnsServers", "dockerSecurityOptions", "extraHosts", "links", "privileged",
)  # fmt: skip
"""Container fields that Fargate does not take; hostname is refused with awsvpc."""
LIMITS = {"interval": (5, 300, 30), "timeout": (2, 60, 5), "retries": (1, 10, 3), "startPeriod": (0, 300, None)}
"""healthCheck field -> lowest, highest, default."""


def normalise(request: dict) -> dict:
    """The task definition as DescribeTaskDefinition returns it, without ARN, revision, status and times."""
    definition = {key: copy.deepcopy(request[key]) for key in KEPT if request.get(key) is not None}
    fargate = "FARGATE" in definition.get("requiresCompatibilities", [])
    if not NAME.fullmatch(request.get("family") or ""):
        raise client("Family contains invalid characters.")
    if not request.get("containerDefinitions"):
        raise client("Container list cannot be empty.")
    for field, unit, words in (("cpu", 1024, r"\s*vCPU"), ("memory", 1024, r"\s*GB")):
        if request.get(field):
            definition[field] = _units(request[field], unit, words, field)
    if fargate:
        _check_fargate(definition)
    definition.setdefault("networkMode", "bridge")
    definition.setdefault("volumes", [])
    definition.setdefault("placementConstraints", [])
    definition["containerDefinitions"] = [
        _container(c, definition) for c in copy.deepcopy(request["containerDefinitions"])
    ]
    _check_containers(definition, fargate)
    definition["compatibilities"] = ["EC2", "FARGATE"] if definition["networkMode"] == "awsvpc" else ["EC2"]
    definition["requiresAttributes"] = [{"name": name} for name in sorted(_attributes(definition))]
    return definition


def _units(text: str, unit: int, words: str, field: str) -> str:
    if re.fullmatch(r"\d+", text):
        return str(int(text))
    match = re.fullmatch(rf"(\d+(?:\.\d+)?){words}", text, re.IGNORECASE)
    if not match:
        raise client(f"Invalid '{field}' setting for task.")
    return str(int(float(match.group(1)) * unit))


def _check_fargate(definition: dict) -> None:
    if definition.get("networkMode") != "awsvpc":
        raise client("Fargate only supports network mode 'awsvpc'.")
    for field in ("cpu", "memory"):
        if field not in definition:
            raise client(f"Fargate requires that '{field}' be defined at the task level.")
    cpu, memory = int(definition["cpu"]), int(definition["memory"])
    if memory not in FARGATE.get(cpu, []):
        raise client(
            f"No Fargate configuration exists for given values: {cpu} CPU, {memory} memory. "
            "See the Amazon ECS documentation for the valid values."
        )
    if definition.get("ipcMode") or definition.get("placementConstraints"):
        raise client("Fargate does not support ipcMode and placementConstraints.")
    if definition.get("pidMode", "task") != "task":
        raise client("Fargate only supports pidMode 'task'.")
    if not 21 <= (definition.get("ephemeralStorage") or {}).get("sizeInGiB", 21) <= 200:
        raise client("The ephemeral storage of a Fargate task must be between 21 and 200 GiB.")
    for volume in definition.get("volumes") or []:
        if volume.get("dockerVolumeConfiguration") or (volume.get("host") or {}).get("sourcePath"):
            raise client(f"Fargate does not support the configuration of volume {volume['name']}.")


def _container(container: dict, definition: dict) -> dict:
    container.setdefault("cpu", 0)
    container.setdefault("essential", True)
    for key in ("portMappings", "environment", "mountPoints", "volumesFrom", "systemControls"):
        container.setdefault(key, [])
    for mapping in container["portMappings"]:
        mapping.setdefault("protocol", "tcp")
        if definition["networkMode"] in ("awsvpc", "host") and "containerPort" in mapping:
            if mapping.setdefault("hostPort", mapping["containerPort"]) not in (0, mapping["containerPort"]):
                raise client("When networkMode=awsvpc, the host ports and container ports in port mappings must match.")
            mapping["hostPort"] = mapping["containerPort"]
    check = container.get("healthCheck")
    if check:
        for field, (lowest, highest, default) in LIMITS.items():
            if default is not None:
                check.setdefault(field, default)
            if field in check and not lowest <= check[field] <= highest:
                raise client(f"The health check '{field}' must be between {lowest} and {highest}.")
        if not check.get("command") or check["command"][0] not in ("CMD", "CMD-SHELL", "NONE"):
            raise client("The health check command must start with CMD, CMD-SHELL or NONE.")
    return container


def _check_containers(definition: dict, fargate: bool) -> None:
    containers = definition["containerDefinitions"]
    for container in containers:
        for field in ("name", "image"):
            if not container.get(field):
                raise client(f"Container.{field} should not be null or empty.")
    names = [container["name"] for container in containers]
    for container in containers:
        if not NAME.fullmatch(container["name"]):
            raise client("Container.name contains invalid characters.")
        _check_environment(container, definition)
        for mapping in container["portMappings"]:
            if not 1 <= mapping.get("containerPort", 0) <= 65535:
                raise client(f"Invalid 'containerPort' setting for container '{container['name']}'.")
        for dependency in container.get("dependsOn", []):
            _check_dependency(container, dependency, {other["name"]: other for other in containers})
        if fargate:
            _check_fargate_container(container, definition)
        elif not (container.get("memory") or container.get("memoryReservation") or definition.get("memory")):
            raise client(
                f"Invalid setting for container '{container['name']}'. "
                "At least one of 'memory' or 'memoryReservation' must be specified."
            )
    if len(set(names)) != len(names):
        raise client("Container names must be unique within a task definition.")
    if not any(container["essential"] for container in containers):
        raise client("At least one container in a task definition must be essential.")
    _check_mounts(definition)
    _check_firelens(containers)
    _check_cycles({c["name"]: [d["containerName"] for d in c.get("dependsOn", [])] for c in containers})
    if definition.get("cpu") and sum(container["cpu"] for container in containers) > int(definition["cpu"]):
        raise client("Total cpu of containers cannot exceed the 'cpu' of the task.")
    reserved = sum(container.get("memoryReservation") or container.get("memory") or 0 for container in containers)
    if definition.get("memory") and reserved > int(definition["memory"]):
        raise client("Total memory of containers cannot exceed the 'memory' of the task.")


def _check_mounts(definition: dict) -> None:
    volumes = {volume.get("name") for volume in definition["volumes"]}
    names = {container["name"] for container in definition["containerDefinitions"]}
    for container in definition["containerDefinitions"]:
        for mount in container["mountPoints"]:
            if mount.get("sourceVolume") not in volumes:
                raise client(
                    f"Invalid 'mountPoints.sourceVolume' setting: Unknown volume '{mount.get('sourceVolume')}'."
                )
        for source in container["volumesFrom"]:
            if source.get("sourceContainer") not in names - {container["name"]}:
                raise client(f"Unknown container '{source.get('sourceContainer')}' in 'volumesFrom'.")


def _check_firelens(containers: list[dict]) -> None:
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/firelens-taskdef.html"""
    routers = [container for container in containers if container.get("firelensConfiguration")]
    senders = [c for c in containers if (c.get("logConfiguration") or {}).get("logDriver") == "awsfirelens"]
    if len(routers) > 1:
        raise client("A task definition can have one container with a firelensConfiguration only.")
    if bool(routers) != bool(senders):
        raise client(
            "When a firelensConfiguration object is specified, at least one container has to be configured with the "
            "awsfirelens log driver, and the other way round."
        )


def _check_dependency(container: dict, dependency: dict, containers: dict[str, dict]) -> None:
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDependency.html"""
    name, condition = dependency["containerName"], dependency["condition"]
    if name not in containers or name == container["name"]:
        raise client(f"Container {container['name']} depends on an unknown container {name}.")
    if condition not in ("START", "COMPLETE", "SUCCESS", "HEALTHY"):
        raise client(f"Invalid 'condition' setting for container '{container['name']}'.")
    if condition in ("COMPLETE", "SUCCESS") and containers[name]["essential"]:
        raise client("A dependency container with SUCCESS or COMPLETE condition cannot be an essential container")
    if condition == "HEALTHY" and (containers[name].get("healthCheck") or {}).get("command", ["NONE"]) == ["NONE"]:
        raise client(f"A dependency container with HEALTHY condition must have a health check; {name} has none.")


def _check_cycles(waits_for: dict[str, list[str]]) -> None:
    while waits_for:
        ready = [name for name, others in waits_for.items() if not set(others) & set(waits_for)]
        if not ready:
            raise client(f"Containers have circular dependencies: {', '.join(sorted(waits_for))}.")
        for name in ready:
            del waits_for[name]


def _check_environment(container: dict, definition: dict) -> None:
    secrets = [secret["name"] for secret in container.get("secrets", [])]
    needs_role = secrets or (container.get("logConfiguration") or {}).get("secretOptions")
    if needs_role and not definition.get("executionRoleArn"):
        raise client("When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.")
    files = container.get("environmentFiles") or []
    if len(files) > 10:
        raise client("A container can have at most 10 environment files.")
    for file in files:
        if file.get("type") != "s3" or not file.get("value", "").endswith(".env"):
            raise client(f"The environment file {file.get('value')} must be an S3 object whose name ends in .env.")
    taken = [variable.get("name") for variable in container["environment"]]
    for name in secrets:
        if (taken + secrets).count(name) > 1:
            raise client(
                "The secret name must be unique and not shared with any new or existing environment variables set on "
                f"the container, such as '{name}'."
            )


def _check_fargate_container(container: dict, definition: dict) -> None:
    logs = container.get("logConfiguration") or {}
    if logs.get("logDriver") == "awslogs":
        if not definition.get("executionRoleArn"):
            raise client("Fargate requires task definition to have execution role ARN to support log driver awslogs.")
        for option in ("awslogs-group", "awslogs-region", "awslogs-stream-prefix"):
            if not (logs.get("options") or {}).get(option):
                raise client(f"Log driver awslogs requires options: {option}.")
    elif logs and logs.get("logDriver") not in ("splunk", "awsfirelens"):
        raise client(f"Fargate does not support log driver {logs.get('logDriver')}.")
    for field in NOT_FARGATE:
        if container.get(field):
            raise client(f"Fargate does not support {field} of a container.")
    if container.get("hostname"):
        raise client("The hostname of a container is not supported with network mode awsvpc.")
    linux = container.get("linuxParameters") or {}
    for field in ("devices", "sharedMemorySize", "maxSwap", "swappiness"):
        if linux.get(field) is not None:
            raise client(f"Fargate does not support linuxParameters.{field}.")
    if set((linux.get("capabilities") or {}).get("add") or []) - {"SYS_PTRACE"}:
        raise client("Fargate only supports adding the SYS_PTRACE kernel capability.")
    _check_restart_policy(container.get("restartPolicy") or {})
    if not 0 <= container.get("stopTimeout", 0) <= 120:
        raise client("The 'stopTimeout' of a container must be between 0 and 120 seconds on Fargate.")
    if not 2 <= container.get("startTimeout", 2) <= 120:
        raise client("The 'startTimeout' of a container must be between 2 and 120 seconds on Fargate.")


def _check_restart_policy(policy: dict) -> None:
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerRestartPolicy.html"""
    if not 60 <= policy.get("restartAttemptPeriod", 300) <= 1800:
        raise client("restartAttemptPeriod must be between 60 and 1800 seconds.")
    if len(policy.get("ignoredExitCodes") or []) > 50:
        raise client("A restart policy can ignore at most 50 exit codes.")


def _attributes(definition: dict) -> set[str]:
    """Capabilities that a host needs, as far as our task definitions can ask for them."""
    docker, ecs = "com.amazonaws.ecs.capability.docker-remote-api", "ecs.capability."
    found = {f"{docker}.1.18"}
    if definition["networkMode"] == "awsvpc":
        found.add(f"{ecs}task-eni")
    if definition.get("taskRoleArn"):
        found.add("com.amazonaws.ecs.capability.task-iam-role")
    for container in definition["containerDefinitions"]:
        if (container.get("logConfiguration") or {}).get("logDriver") == "awslogs":
            found |= {
                "com.amazonaws.ecs.capability.logging-driver.awslogs",
                f"{ecs}execution-role-awslogs",
                f"{docker}.1.19",
            }
        for secret in container.get("secrets", []):
            asm = ":secretsmanager:" in secret["valueFrom"]
            found.add(f"{ecs}secrets.asm.environment-variables" if asm else f"{ecs}secrets.ssm.environment-variables")
        if container.get("healthCheck"):
            found |= {f"{ecs}container-health-check", f"{docker}.1.24"}
        if container.get("dependsOn"):
            found.add(f"{ecs}container-ordering")
    return found
