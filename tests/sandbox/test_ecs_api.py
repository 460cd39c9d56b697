"""The ECS API without running anything: clusters, task definitions, refusals, tags, pages."""

import pytest
from botocore.exceptions import ClientError
from ecs_stack import ROLE, eventually, stack_fixture  # noqa: F401 - used as `stack`


def refused(code: str, words: str = ""):
    return pytest.raises(ClientError, match=rf"\({code}\).*{words}")


def test_cluster_is_created_once_shows_what_is_asked_for_and_comes_back_after_deletion(stack):
    name = stack.name("life")
    tags = [{"key": "Project", "value": "p"}]
    strategy = [{"capacityProvider": "FARGATE", "weight": 1, "base": 1}]
    arguments = {
        "clusterName": name,
        "tags": tags,
        "settings": [{"name": "containerInsights", "value": "enabled"}],
        "capacityProviders": ["FARGATE"],
        "defaultCapacityProviderStrategy": strategy,
    }
    first = stack.ecs.create_cluster(**arguments)["cluster"]
    assert stack.ecs.create_cluster(**arguments)["cluster"]["clusterArn"] == first["clusterArn"]
    bare = stack.ecs.describe_clusters(clusters=[name])["clusters"][0]
    assert (bare["settings"], bare["tags"]) == ([], [])
    full = stack.ecs.describe_clusters(clusters=[first["clusterArn"]], include=["SETTINGS", "TAGS"])["clusters"][0]
    assert full["settings"] == [{"name": "containerInsights", "value": "enabled"}]
    assert full["tags"] == tags
    assert full["defaultCapacityProviderStrategy"] == strategy
    assert name in str(stack.ecs.list_clusters()["clusterArns"])

    stack.ecs.update_cluster_settings(cluster=name, settings=[{"name": "containerInsights", "value": "enhanced"}])
    changed = stack.ecs.put_cluster_capacity_providers(
        cluster=name, capacityProviders=["FARGATE", "FARGATE_SPOT"], defaultCapacityProviderStrategy=[]
    )["cluster"]
    assert changed["capacityProviders"] == ["FARGATE", "FARGATE_SPOT"]
    assert changed["settings"] == [{"name": "containerInsights", "value": "enhanced"}]

    assert stack.ecs.delete_cluster(cluster=name)["cluster"]["status"] == "INACTIVE"
    assert name not in str(stack.ecs.list_clusters()["clusterArns"])
    with refused("ClusterNotFoundException"):
        stack.ecs.list_services(cluster=name)
    assert stack.ecs.create_cluster(clusterName=name)["cluster"]["status"] == "ACTIVE"
    missing = stack.ecs.describe_clusters(clusters=["nobody"])
    assert missing["clusters"] == []
    assert missing["failures"][0]["reason"] == "MISSING"


def test_cluster_shows_its_configuration_when_asked_and_its_namespace_by_arn(stack):
    name = stack.name("configured")
    logs = {"cloudWatchLogGroupName": "/exec", "cloudWatchEncryptionEnabled": True}
    configuration = {
        "executeCommandConfiguration": {"kmsKeyId": "k", "logging": "OVERRIDE", "logConfiguration": logs},
        "managedStorageConfiguration": {"fargateEphemeralStorageKmsKeyId": "k"},
    }
    defaults = {"namespace": name}
    stack.ecs.create_cluster(clusterName=name, configuration=configuration, serviceConnectDefaults=defaults)
    (cluster,) = stack.ecs.describe_clusters(clusters=[name], include=["CONFIGURATIONS"])["clusters"]
    assert cluster["configuration"] == configuration
    (namespace,) = [
        item
        for item in stack.sandbox.client("servicediscovery").list_namespaces()["Namespaces"]
        if item["Name"] == name
    ]
    assert cluster["serviceConnectDefaults"] == {"namespace": namespace["Arn"]}
    assert namespace["Type"] == "HTTP"
    assert "configuration" not in stack.ecs.describe_clusters(clusters=[name])["clusters"][0]

    command = {"executeCommandConfiguration": {"logging": "NONE"}}
    cleared = stack.ecs.update_cluster(cluster=name, configuration=command, serviceConnectDefaults={"namespace": ""})
    assert cleared["cluster"]["configuration"] == command
    assert "serviceConnectDefaults" not in cleared["cluster"]
    for wrong in ({"logging": "OVERRIDE"}, {"logging": "DEFAULT", "logConfiguration": logs}):
        with refused("InvalidParameterException", "logConfiguration"):
            stack.ecs.update_cluster(cluster=name, configuration={"executeCommandConfiguration": wrong})
    with refused("NamespaceNotFoundException"):
        missing = namespace["Arn"] + "-none"
        stack.ecs.update_cluster(cluster=name, serviceConnectDefaults={"namespace": missing})


def test_cluster_with_a_service_is_kept_and_so_are_the_providers_that_it_uses(stack):
    name = stack.name("busy")
    stack.ecs.create_cluster(clusterName=name, capacityProviders=["FARGATE_SPOT"])
    stack.ecs.create_service(
        cluster=name,
        serviceName="s",
        taskDefinition=stack.register(),
        desiredCount=0,
        capacityProviderStrategy=[{"capacityProvider": "FARGATE_SPOT", "weight": 1}],
        networkConfiguration=stack.network,
    )
    with refused("ClusterContainsServicesException", "while Services are active"):
        stack.ecs.delete_cluster(cluster=name)
    with refused("ResourceInUseException"):
        stack.ecs.put_cluster_capacity_providers(
            cluster=name, capacityProviders=["FARGATE"], defaultCapacityProviderStrategy=[]
        )
    stack.ecs.delete_service(cluster=name, service="s")
    eventually(lambda: stack.ecs.describe_clusters(clusters=[name])["clusters"][0]["activeServicesCount"] == 0)
    eventually(lambda: stack.ecs.describe_services(cluster=name, services=["s"])["services"][0]["status"] == "INACTIVE")
    stack.ecs.delete_cluster(cluster=name)


def test_task_definition_shows_the_defaults_of_aws(stack):
    arn = stack.register(
        {"name": "web", "image": "busybox", "portMappings": [{"containerPort": 8000}],
         "healthCheck": {"command": ["CMD", "true"]}},
        cpu="1 vCPU",
        memory="2 GB",
        tags=[{"key": "a", "value": "b"}],
    )  # fmt: skip
    answer = stack.ecs.describe_task_definition(taskDefinition=arn, include=["TAGS"])
    definition, container = answer["taskDefinition"], answer["taskDefinition"]["containerDefinitions"][0]
    assert (definition["cpu"], definition["memory"]) == ("1024", "2048")
    assert definition["compatibilities"] == ["EC2", "FARGATE"]
    assert (definition["status"], definition["revision"], definition["volumes"]) == ("ACTIVE", 1, [])
    assert definition["registeredAt"]
    assert definition["registeredBy"].endswith(":root")
    assert {"name": "ecs.capability.task-eni"} in definition["requiresAttributes"]
    assert container["essential"] is True
    assert container["portMappings"] == [{"containerPort": 8000, "hostPort": 8000, "protocol": "tcp"}]
    assert container["healthCheck"] == {"command": ["CMD", "true"], "interval": 30, "timeout": 5, "retries": 3}
    assert [container[key] for key in ("environment", "mountPoints", "volumesFrom")] == [[], [], []]
    assert answer["tags"] == [{"key": "a", "value": "b"}]
    assert stack.ecs.describe_task_definition(taskDefinition=arn)["tags"] == []


def test_revisions_are_counted_listed_deregistered_and_deleted(stack):
    family = stack.name("revisions")
    arns = [stack.register(family=family) for _ in range(3)]
    assert [arn.rpartition(":")[2] for arn in arns] == ["1", "2", "3"]
    assert stack.ecs.list_task_definitions(familyPrefix=family, sort="DESC")["taskDefinitionArns"] == arns[::-1]
    assert stack.ecs.list_task_definition_families(familyPrefix=family)["families"] == [family]
    with refused("ClientException", "Invalid revision number"):
        stack.ecs.deregister_task_definition(taskDefinition=family)
    stack.ecs.deregister_task_definition(taskDefinition=arns[2])
    latest = stack.ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]
    assert latest["taskDefinitionArn"] == arns[1]
    assert stack.ecs.list_task_definitions(familyPrefix=family, status="INACTIVE")["taskDefinitionArns"] == [arns[2]]
    with refused("ClientException", "TaskDefinition is inactive"):
        stack.create(arns[2])
    failures = stack.ecs.delete_task_definitions(taskDefinitions=[arns[0]])["failures"]
    assert "still in ACTIVE" in failures[0]["reason"]
    deleted = stack.ecs.delete_task_definitions(taskDefinitions=[arns[2]])["taskDefinitions"]
    assert deleted[0]["status"] == "DELETE_IN_PROGRESS"
    with refused("ClientException", "Unable to describe task definition"):
        stack.ecs.describe_task_definition(taskDefinition=arns[2])
    assert stack.register(family=family).endswith(":4")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cpu": "256", "memory": "4096"}, "No Fargate configuration exists for given values"),
        ({"cpu": "300"}, "No Fargate configuration exists for given values"),
        ({"networkMode": "bridge"}, "Fargate only supports network mode"),
        ({"containerDefinitions": []}, "Container list cannot be empty"),
        ({"ephemeralStorage": {"sizeInGiB": 20}}, "between 21 and 200"),
        ({"pidMode": "host"}, "pidMode"),
        ({"ipcMode": "task"}, "ipcMode"),
        ({"volumes": [{"name": "v", "dockerVolumeConfiguration": {"driver": "local"}}]}, "configuration of volume v"),
    ],
)
def test_task_definition_that_fargate_cannot_run_is_refused(stack, change, words):
    with refused("ClientException", words):
        stack.register(**change)


def test_task_definition_with_bad_containers_is_refused(stack):
    main = stack.container()
    no_prefix = {"awslogs-group": "g", "awslogs-region": "r"}
    secret = {"name": "A", "valueFrom": "a"}
    with refused("ClientException", "log driver awslogs"):
        stack.ecs.register_task_definition(
            family="norole", cpu="256", memory="512", networkMode="awsvpc", requiresCompatibilities=["FARGATE"],
            containerDefinitions=[main],
        )  # fmt: skip
    bad = {
        "names must be unique": [main, main],
        "must be essential": [{**main, "essential": False}],
        "unknown container": [{**main, "dependsOn": [{"containerName": "x", "condition": "START"}]}],
        "circular": [
            {**main, "dependsOn": [{"containerName": "b", "condition": "START"}]},
            {**main, "name": "b", "dependsOn": [{"containerName": "main", "condition": "START"}]},
        ],
        "must be unique and not shared": [
            {**main, "environment": [{"name": "A", "value": "1"}], "secrets": [{"name": "A", "valueFrom": "a"}]}
        ],
        "host ports and container ports": [{**main, "portMappings": [{"containerPort": 80, "hostPort": 81}]}],
        "Invalid 'condition' setting for container 'main'": [
            {**main, "dependsOn": [{"containerName": "b", "condition": "FOO"}]}, {**main, "name": "b"},
        ],
        "SUCCESS or COMPLETE condition cannot be an essential container": [
            {**main, "dependsOn": [{"containerName": "b", "condition": "COMPLETE"}]}, {**main, "name": "b"},
        ],
        "HEALTHY condition must have a health check": [
            {**main, "dependsOn": [{"containerName": "b", "condition": "HEALTHY"}]},
            {**main, "name": "b", "healthCheck": {"command": ["NONE"]}},
        ],
        "Invalid 'containerPort' setting for container 'main'": [{**main, "portMappings": [{}]}],
        "Invalid 'containerPort' setting": [{**main, "portMappings": [{"containerPort": 70000}]}],
        "stopTimeout": [{**main, "stopTimeout": 121}],
        "'interval' must be between 5 and 300": [{**main, "healthCheck": {"command": ["CMD", "true"], "interval": 1}}],
        "cannot exceed the 'memory'": [{**main, "memory": 1024}],
        "restartAttemptPeriod must be": [{**main, "restartPolicy": {"enabled": True, "restartAttemptPeriod": 30}}],
        "name ends in .env": [{**main, "environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::b/env"}]}],
        "at most 10 environment files": [
            {**main, "environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::b/a.env"}] * 11}
        ],
        "Unknown volume 'none'": [{**main, "mountPoints": [{"sourceVolume": "none", "containerPath": "/x"}]}],
        "Unknown container 'none'": [{**main, "volumesFrom": [{"sourceContainer": "none"}]}],
        "awsfirelens log driver": [{**main, "firelensConfiguration": {"type": "fluentbit"}}],
        "does not support extraHosts": [{**main, "extraHosts": [{"hostname": "a", "ipAddress": "1.2.3.4"}]}],
        "hostname": [{**main, "hostname": "a"}],
        "linuxParameters.maxSwap": [{**main, "linuxParameters": {"maxSwap": 1}}],
        "SYS_PTRACE": [{**main, "linuxParameters": {"capabilities": {"add": ["NET_ADMIN"]}}}],
        "awslogs-stream-prefix": [
            {**main, "logConfiguration": {"logDriver": "awslogs", "options": no_prefix}}
        ],
    }  # fmt: skip
    for words, containers in bad.items():
        with refused("ClientException", words):
            stack.register(*containers)
    with refused("ClientException", "executionRoleArn"):
        stack.ecs.register_task_definition(
            family="norole", containerDefinitions=[{"name": "a", "image": "b", "memory": 64, "secrets": [secret]}]
        )  # fmt: skip


def failing(**more):
    return {"deploymentCircuitBreaker": {"enable": True, "rollback": True, **more}}


def test_service_shows_connect_and_volumes_in_its_deployment_and_is_held_to_its_port_names(stack):
    name = stack.name("connect")
    cloud_map = stack.sandbox.client("servicediscovery")
    cloud_map.create_http_namespace(Name=name)
    volume = {"name": "disk", "configuredAtLaunch": True}
    definition = stack.register(
        stack.container(portMappings=[{"containerPort": 8000, "name": "web"}]), volumes=[volume]
    )
    connect = {"enabled": True, "namespace": name, "services": [{"portName": "web", "clientAliases": [{"port": 80}]}]}
    disk = {"name": "disk", "managedEBSVolume": {"roleArn": ROLE, "sizeInGiB": 20}}
    created = {"serviceConnectConfiguration": connect, "volumeConfigurations": [disk]}
    service = stack.service(stack.create(definition, 0, **created))
    assert {key: service["deployments"][0][key] for key in created} == created
    assert not set(created) & set(service), "the service itself does not show them"

    def update(**more):
        return stack.update(service["serviceName"], **more)["deployments"][0]

    assert update(serviceConnectConfiguration=connect)["id"] == service["deployments"][0]["id"]
    assert "serviceConnectConfiguration" not in update(serviceConnectConfiguration={"enabled": False})
    with refused("InvalidParameterException", "name other"):
        update(serviceConnectConfiguration={**connect, "services": [{"portName": "other"}]})
    with refused("InvalidParameterException", "configured at launch: disk"):
        update(volumeConfigurations=[])
    with refused("InvalidParameterException", "sizeInGiB or a snapshotId"):
        update(volumeConfigurations=[{"name": "disk", "managedEBSVolume": {"roleArn": ROLE}}])


def test_service_goes_back_to_its_launch_type(stack):
    name = stack.create(stack.register(), 0)
    assert "launchType" not in stack.update(
        name, capacityProviderStrategy=[{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    )
    assert stack.update(name, capacityProviderStrategy=[])["launchType"] == "FARGATE"


def test_service_that_cannot_work_is_refused_in_the_words_of_aws(stack):
    definition = stack.register(stack.container(portMappings=[{"containerPort": 8000}]))
    balancer = {"targetGroupArn": "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/no/0123456789abcdef",
                "containerName": "main", "containerPort": 8000}  # fmt: skip
    bad_group = {"subnets": stack.subnets, "securityGroups": ["sg-0123456789abcdef0"]}
    bad = "InvalidParameterException"
    cases = [
        ({"networkConfiguration": {}}, "InvalidParameterException", "Network Configuration must be provided"),
        ({"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-0123456789abcdef0"]}}},
         "InvalidParameterException", "InvalidSubnetID.NotFound"),
        ({"networkConfiguration": {"awsvpcConfiguration": bad_group}},
         "InvalidParameterException", "InvalidGroup.NotFound"),
        ({"taskDefinition": "nobody:7"}, "ClientException", "TaskDefinition not found"),
        ({"cluster": "nobody"}, "ClusterNotFoundException", "Cluster not found"),
        ({"loadBalancers": [balancer]}, "InvalidParameterException", "does not exist"),
        ({"loadBalancers": [{**balancer, "containerName": "other"}]}, bad, "container other does not exist"),
        ({"loadBalancers": [{**balancer, "containerPort": 1}]}, bad, "container port 1 defined"),
        ({"launchType": "EC2"}, "InvalidParameterException", "does not support launch_type EC2"),
        ({"enableExecuteCommand": True}, "InvalidParameterException", "valid taskRoleArn"),
        ({"deploymentConfiguration": {"minimumHealthyPercent": 100, "maximumPercent": 100}},
         "InvalidParameterException", "cannot be 100"),
        ({"schedulingStrategy": "DAEMON"}, "InvalidParameterException", "daemon"),
        ({"serviceName": "no.dots"}, "InvalidParameterException", "invalid characters"),
        ({"healthCheckGracePeriodSeconds": 30}, "InvalidParameterException", "only valid for services configured"),
        ({"availabilityZoneRebalancing": "ENABLED", "deploymentConfiguration": {
            "minimumHealthyPercent": 0, "maximumPercent": 100}}, "InvalidParameterException", "rebalancing requires"),
        ({"serviceRegistries": [{"registryArn": "arn:none"}]}, bad, "registry arn:none was not found"),
        ({"serviceConnectConfiguration": {"enabled": True}}, bad, "needs a namespace"),
        ({"serviceConnectConfiguration": {"enabled": True, "namespace": "nobody"}}, "NamespaceNotFoundException", ""),
        ({"volumeConfigurations": [{"name": "v"}]}, bad, "configured at launch: there is none"),
        ({"deploymentConfiguration": failing(thresholdConfiguration={"type": "COUNT", "value": 0})}, bad, "threshold"),
        ({"deploymentConfiguration": failing(thresholdConfiguration={"type": "BOUNDED_PERCENT", "value": 101})},
         bad, "at most 100"),
        ({"deploymentConfiguration": {"alarms": {"alarmNames": [], "enable": True, "rollback": True}}},
         bad, "alarmNames cannot be empty"),
        ({"deploymentConfiguration": {"earlySuccessCriteria": {"enable": True, "healthyPercent": 50,
            "sourceServiceRevisionCleanup": "DEFERRED"}}}, bad, "minimumHealthyPercent to 100"),
        ({"deploymentConfiguration": {"strategy": "BLUE_GREEN"}}, "UnsupportedFeatureException", "ROLLING only"),
    ]  # fmt: skip
    for change, code, words in cases:
        with refused(code, words):
            stack.create(definition, **change)
    with refused("InvalidParameterException", "not associated"):
        stack.create(definition, capacityProviderStrategy=[{"capacityProvider": "mine", "weight": 1}])
    with refused("ServiceNotFoundException"):
        stack.update("nobody", desiredCount=1)
    with refused("InvalidParameterException", "invalid characters"):
        stack.ecs.create_cluster(clusterName="no dots, no spaces")
    with refused("InvalidParameterException", "between 1 and 10"):
        stack.run(definition, count=0)


def test_service_echoes_its_settings_and_update_merges_them(stack):
    definition = stack.register(taskRoleArn=ROLE)
    settings = {
        "capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0}],
        "deploymentConfiguration": {
            "deploymentCircuitBreaker": {"enable": True, "rollback": True},
            "maximumPercent": 150,
            "minimumHealthyPercent": 50,
        },
        "enableExecuteCommand": True,
        "propagateTags": "SERVICE",
        "enableECSManagedTags": True,
        "platformVersion": "1.4.0",
        "availabilityZoneRebalancing": "DISABLED",
        "tags": [{"key": "Project", "value": "p"}],
    }
    name = stack.create(definition, 0, **settings)
    service = stack.service(name)
    assert "launchType" not in service
    for key in settings:
        if key != "deploymentConfiguration":
            assert service[key] == settings[key], key
    assert service["deploymentConfiguration"].items() >= settings["deploymentConfiguration"].items()

    before = service["deployments"][0]["id"]
    service = stack.update(name, deploymentConfiguration={"maximumPercent": 200}, enableExecuteCommand=False)
    assert service["deploymentConfiguration"]["minimumHealthyPercent"] == 50
    assert service["deploymentConfiguration"]["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}
    assert service["enableExecuteCommand"] is False
    assert [d["id"] for d in service["deployments"]] == [before]  # none of this makes a deployment
    assert stack.update(name, forceNewDeployment=True)["deployments"][0]["id"] != before
    with refused("InvalidParameterException", "not idempotent"):
        stack.create(definition, 3, serviceName=name)


def test_update_that_changes_nothing_makes_no_deployment(stack):
    """Lists that are empty and defaults that are spelled out mean what leaving them out means."""
    vpc = {"subnets": stack.subnets}
    percents = {"minimumHealthyPercent": 0, "maximumPercent": 100}
    name = stack.create(
        stack.register(), 0, networkConfiguration={"awsvpcConfiguration": vpc}, deploymentConfiguration=percents,
        serviceRegistries=[],
    )  # fmt: skip
    before = stack.service(name)
    assert before["networkConfiguration"]["awsvpcConfiguration"]["assignPublicIp"] == "DISABLED"
    assert before["availabilityZoneRebalancing"] == "DISABLED"  # not possible with 100 percent
    spelled_out = {**vpc, "securityGroups": [], "assignPublicIp": "DISABLED"}
    for change in (
        {"serviceRegistries": []},
        {"loadBalancers": []},
        {"networkConfiguration": {"awsvpcConfiguration": vpc}},
        {"networkConfiguration": {"awsvpcConfiguration": spelled_out}},
        {"platformVersion": "LATEST"},
    ):
        assert [d["id"] for d in stack.update(name, **change)["deployments"]] == [before["deployments"][0]["id"]]
    spelled_out["assignPublicIp"] = "ENABLED"
    changed = stack.update(name, networkConfiguration={"awsvpcConfiguration": spelled_out})
    assert changed["deployments"][0]["id"] != before["deployments"][0]["id"]


def test_service_is_deleted_only_when_scaled_to_zero_or_forced(stack):
    definition = stack.register()
    name = stack.create(definition)
    stack.completed(name)
    with refused("InvalidParameterException", "scaled above 0"):
        stack.ecs.delete_service(cluster=stack.cluster, service=name)
    assert stack.ecs.delete_service(cluster=stack.cluster, service=name, force=True)["service"]["status"] == "DRAINING"
    with refused("ServiceNotActiveException"):
        stack.update(name, desiredCount=1)
    eventually(lambda: stack.service(name)["status"] == "INACTIVE")
    assert name not in str(stack.ecs.list_services(cluster=stack.cluster)["serviceArns"])
    stack.create(definition, 0, serviceName=name)
    assert stack.service(name)["status"] == "ACTIVE"


def test_everything_takes_tags(stack):
    definition = stack.register()
    service = stack.service(stack.create(definition, 0))["serviceArn"]
    task = stack.run(definition)
    cluster = stack.ecs.describe_clusters(clusters=[stack.cluster])["clusters"][0]["clusterArn"]
    for arn in (definition, service, task, cluster):
        stack.ecs.tag_resource(resourceArn=arn, tags=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}])
        stack.ecs.tag_resource(resourceArn=arn, tags=[{"key": "a", "value": "3"}])
        stack.ecs.untag_resource(resourceArn=arn, tagKeys=["b"])
        assert stack.ecs.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "a", "value": "3"}], arn
    with refused("ResourceNotFoundException"):
        stack.ecs.list_tags_for_resource(resourceArn=service + "x")


def test_lists_have_the_pages_of_aws_and_describe_has_its_limits(stack):
    name = stack.name("pages")
    stack.ecs.create_cluster(clusterName=name)
    definition = stack.register()
    for number in range(12):
        stack.ecs.create_service(cluster=name, serviceName=f"s{number}", taskDefinition=definition, desiredCount=0,
                                 launchType="FARGATE", networkConfiguration=stack.network)  # fmt: skip
    first = stack.ecs.list_services(cluster=name)
    assert len(first["serviceArns"]) == 10
    rest = stack.ecs.list_services(cluster=name, nextToken=first["nextToken"])
    assert len(rest["serviceArns"]) == 2
    assert "nextToken" not in rest
    assert len({*first["serviceArns"], *rest["serviceArns"]}) == 12
    with refused("InvalidParameterException", "more than 10"):
        stack.ecs.describe_services(cluster=name, services=[f"s{n}" for n in range(11)])
    with refused("InvalidParameterException", "more than 100"):
        stack.ecs.describe_tasks(cluster=name, tasks=[str(n) for n in range(101)])
    with refused("InvalidParameterException", "maxResults"):
        stack.ecs.list_tasks(cluster=name, maxResults=101)
    answer = stack.ecs.describe_services(cluster=name, services=["s1", "nobody"])
    assert [service["serviceName"] for service in answer["services"]] == ["s1"]
    assert answer["failures"][0]["reason"] == "MISSING"


def test_capacity_providers_and_what_is_not_there_yet(stack):
    found = stack.ecs.describe_capacity_providers()["capacityProviders"]
    assert {provider["name"] for provider in found} == {"FARGATE", "FARGATE_SPOT"}
    with refused("InvalidParameterException"):
        stack.ecs.create_cluster(clusterName=stack.name("x"), capacityProviders=["mine"])
    with pytest.raises(ClientError, match=r"does not implement ExecuteCommand"):
        stack.ecs.execute_command(cluster=stack.cluster, task="x", command="sh", interactive=True)
