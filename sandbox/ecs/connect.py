"""Service Connect and service discovery: what ECS checks with Cloud Map, through the sandbox's own API.

No proxy runs and no task is registered: on one machine every task is reached at 127.0.0.1.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-connect.html
"""

from botocore.exceptions import ClientError

from . import errors


def namespace_arn(sandbox, region: str, namespace: str, *, create: bool = False) -> str:
    """ARN of the Cloud Map namespace with this name or ARN; with `create`, a new name makes an HTTP namespace."""
    cloud_map = sandbox.client("servicediscovery", region)
    for _ in range(2):
        for found in cloud_map.list_namespaces()["Namespaces"]:
            if namespace in (found["Name"], found["Arn"]):
                return found["Arn"]
        if not create or namespace.startswith("arn:"):
            break
        cloud_map.create_http_namespace(Name=namespace)
    raise errors.error("NamespaceNotFoundException", f"The namespace {namespace} was not found.")


def check_registries(sandbox, region: str, registries: list[dict]) -> None:
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceRegistry.html"""
    if len(registries) > 1:
        raise errors.invalid("serviceRegistries can have at most 1 element.")
    for registry in registries:
        arn = registry.get("registryArn") or ""
        try:
            sandbox.client("servicediscovery", region).get_service(Id=arn.rpartition("/")[2])
        except ClientError:
            raise errors.invalid(f"The service registry {arn} was not found.") from None
        if registry.get("port") and registry.get("containerName"):
            raise errors.invalid("Specify either a port, or containerName and containerPort, for a service registry.")
        if bool(registry.get("containerName")) != bool(registry.get("containerPort")):
            raise errors.invalid("containerName and containerPort of a service registry go together.")


def check_connect(sandbox, region: str, containers: list[dict], configuration: dict) -> None:
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceConnectConfiguration.html"""
    if not configuration.get("enabled"):
        return
    if not configuration.get("namespace"):
        raise errors.invalid("Service Connect needs a namespace: the cluster has no default one.")
    namespace_arn(sandbox, region, configuration["namespace"])
    if configuration.get("accessLogConfiguration") and not configuration.get("logConfiguration"):
        raise errors.invalid("accessLogConfiguration of Service Connect needs a logConfiguration.")
    ports = {mapping.get("name") for container in containers for mapping in container["portMappings"]} - {None}
    for service in configuration.get("services") or []:
        if service["portName"] not in ports:
            raise errors.invalid(f"No port mapping of the task definition has the name {service['portName']}.")
        if len(service.get("clientAliases") or []) > 1:
            raise errors.invalid("clientAliases can have at most 1 element.")
