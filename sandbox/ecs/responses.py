"""The ECS API: one method for each operation, in moto's place.

Not here yet, so that the server answers UnknownOperationException: ExecuteCommand, and everything about container
instances and task sets.
"""

import base64
import copy
import time
from typing import TYPE_CHECKING

from moto.core.responses import ActionResult, BaseResponse

from . import definitions, errors, protection, services
from .connect import namespace_arn
from .model import Cluster, Deployment, Service, Task, TaskDefinition, merge_tags, utcnow
from .tasks import choose_provider, new_task

if TYPE_CHECKING:
    from . import Ecs

PROVIDERS = ("FARGATE", "FARGATE_SPOT")
SETTINGS = (
    "containerInsights",
    "serviceLongArnFormat",
    "taskLongArnFormat",
    "containerInstanceLongArnFormat",
    "awsvpcTrunking",
    "fargateFIPSMode",
    "fargateTaskRetirementWaitPeriod",
    "guardDutyActivate",
    "tagResourceAuthorization",
    "defaultLogDriverMode",
)
BRIEF = (
    "serviceDeploymentArn",
    "serviceArn",
    "clusterArn",
    "startedAt",
    "createdAt",
    "finishedAt",
    "status",
    "statusReason",
)
"""What ListServiceDeployments shows of DescribeServiceDeployments."""


class EcsResponse(BaseResponse):
    ecs: "Ecs"

    def __init__(self):
        super().__init__(service_name="ecs")
        self.automated_parameter_parsing = True

    def call_action(self):
        """One request at a time: what it reads and what it changes belong together."""
        with self.ecs.store.lock:
            try:
                return super().call_action()
            finally:
                self.ecs.store.changed.set()

    # ---- clusters ----

    def create_cluster(self):
        name = self.params.get("clusterName") or "default"
        if not definitions.NAME.fullmatch(name):
            raise errors.invalid("Cluster name contains invalid characters.")
        clusters = self.store.clusters[self.region]
        existing = clusters.get(name)
        if existing and existing.status == "ACTIVE":
            return _answer(cluster=existing.describe(["SETTINGS", "TAGS", "CONFIGURATIONS"]))
        # As the first cluster of an account is made, so is ECS's role, and AWS does not wait until it can be assumed:
        # https://github.com/aws-samples/run-selenium-tests-at-scale-using-ecs-fargate/issues/2
        self.store.linked = self.store.linked or time.monotonic()
        if self.ecs.sandbox.young(self.store.linked):
            raise errors.invalid(
                "Unable to assume the service linked role. Please verify that the ECS service linked role exists."
            )
        cluster = Cluster(
            name=name,
            arn=self.store.arn(self.region, "cluster", name),
            region=self.region,
            settings=_settings([], self.params.get("settings")),
            configuration=_configuration(self.params.get("configuration")),
            service_connect=self._service_connect_defaults(),
            tags=merge_tags([], self.params.get("tags") or []),
        )
        self._set_providers(cluster)
        clusters[name] = cluster
        return _answer(cluster=cluster.describe(["SETTINGS", "TAGS", "CONFIGURATIONS"]))

    def describe_clusters(self):
        names = self.params.get("clusters") or ["default"]
        _limit(names, 100, "Clusters")
        found, failures = [], []
        for name in names:
            cluster = self.store.clusters[self.region].get(name.rpartition("/")[2])
            if cluster:
                include = self.params.get("include") or []
                view = cluster.describe(include)
                if "ATTACHMENTS" in include:
                    attaching = self.ecs.sandbox.young(cluster.attached)
                    view["attachmentsStatus"] = "UPDATE_IN_PROGRESS" if attaching else "UPDATE_COMPLETE"
                found.append(view)
            else:
                failures.append(self._missing("cluster", name))
        return _answer(clusters=found, failures=failures)

    def list_clusters(self):
        arns = [cluster.arn for cluster in self.store.clusters[self.region].values() if cluster.status == "ACTIVE"]
        return self._page("clusterArns", arns, 100)

    def update_cluster(self):
        cluster = self._cluster()
        if self.params.get("settings") is not None:
            cluster.settings = _settings(cluster.settings, self.params["settings"])
        if self.params.get("configuration") is not None:
            cluster.configuration = _configuration(self.params["configuration"])
        if self.params.get("serviceConnectDefaults") is not None:
            cluster.service_connect = self._service_connect_defaults()
        return _answer(cluster=cluster.describe(["SETTINGS", "TAGS", "CONFIGURATIONS"]))

    def update_cluster_settings(self):
        cluster = self._cluster()
        cluster.settings = _settings(cluster.settings, self.params["settings"])
        return _answer(cluster=cluster.describe(["SETTINGS"]))

    def put_cluster_capacity_providers(self):
        cluster = self._cluster()
        used = {
            item["capacityProvider"]
            for service in cluster.active_services()
            for item in service.primary.spec.get("capacityProviderStrategy") or []
        }
        if used - set(self.params["capacityProviders"]):
            raise errors.error(
                "ResourceInUseException", "The specified capacity provider is in use and cannot be removed."
            )
        if self.ecs.sandbox.young(cluster.attached):
            raise errors.error("UpdateInProgressException", "There is already an update in progress for this cluster.")
        self._set_providers(cluster)
        return _answer(cluster=cluster.describe(["SETTINGS"]))

    def delete_cluster(self):
        cluster = self._cluster()
        if cluster.active_services():
            raise errors.error(
                "ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active."
            )
        if any(task.status != "STOPPED" for task in cluster.tasks.values()):
            raise errors.error("ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active.")
        cluster.status = "INACTIVE"
        return _answer(cluster=cluster.describe(["SETTINGS"]))

    def describe_capacity_providers(self):
        names = [name.rpartition("/")[2] for name in self.params.get("capacityProviders") or PROVIDERS]
        found = [
            {"capacityProviderArn": self.store.arn(self.region, "capacity-provider", name), "name": name,
             "status": "ACTIVE", "tags": []}
            for name in names if name in PROVIDERS
        ]  # fmt: skip
        failures = [self._missing("capacity-provider", name) for name in names if name not in PROVIDERS]
        return _answer(capacityProviders=found, failures=failures)

    def list_container_instances(self):
        self._cluster()
        return _answer(containerInstanceArns=[])

    def list_account_settings(self):
        own = self.store.account_settings[self.region]
        name = self.params.get("name")
        defaults = {
            "containerInsights": "disabled",
            "awsvpcTrunking": "disabled",
            "fargateTaskRetirementWaitPeriod": "7",
        }
        shown = {n: own.get(n, defaults.get(n, "enabled")) for n in SETTINGS if name in (None, n)}
        return _answer(settings=[self._setting(n, value) for n, value in shown.items()])

    def put_account_setting(self):
        name, value = self.params["name"], self.params["value"]
        if name not in SETTINGS:
            raise errors.invalid(f"unknown should be one of [{','.join(SETTINGS)}]")
        self.store.account_settings[self.region][name] = value
        return _answer(setting=self._setting(name, value))

    put_account_setting_default = put_account_setting

    # ---- task definitions ----

    def register_task_definition(self):
        body = definitions.normalise(self.params)
        revisions = self.store.definitions[self.region][body["family"]]
        number = revisions[-1].revision + 1 if revisions else 1
        arn = self.store.arn(self.region, "task-definition", f"{body['family']}:{number}")
        tags = merge_tags([], self.params.get("tags") or [])
        definition = TaskDefinition(arn, number, body, self._root(), tags)
        revisions.append(definition)
        return _answer(taskDefinition=definition.describe(), tags=definition.tags)

    def describe_task_definition(self):
        definition = self._definition("Unable to describe task definition.")
        tags = definition.tags if "TAGS" in (self.params.get("include") or []) else []
        return _answer(taskDefinition=definition.describe(), tags=tags)

    def list_task_definitions(self):
        prefix, status = self.params.get("familyPrefix"), self.params.get("status") or "ACTIVE"
        families = self.store.definitions[self.region]
        arns = [
            definition.arn
            for family in sorted(families) if prefix in (None, "", family)
            for definition in families[family] if definition.status == status
        ]  # fmt: skip
        return self._page("taskDefinitionArns", arns[::-1] if self.params.get("sort") == "DESC" else arns, 100)

    def list_task_definition_families(self):
        prefix, status = self.params.get("familyPrefix") or "", self.params.get("status") or "ACTIVE"
        families = []
        for family, revisions in sorted(self.store.definitions[self.region].items()):
            active = any(revision.status == "ACTIVE" for revision in revisions)
            inactive = not active and any(revision.status == "INACTIVE" for revision in revisions)
            if (
                family.startswith(prefix)
                and {"ACTIVE": active, "INACTIVE": inactive, "ALL": active or inactive}[status]
            ):
                families.append(family)
        return self._page("families", families, 100)

    def deregister_task_definition(self):
        if ":" not in self.params["taskDefinition"].rpartition("/")[2]:
            raise errors.client("Invalid revision number. Number: null")
        definition = self._definition("Unable to describe task definition.")
        if definition.status == "ACTIVE":
            definition.status, definition.deregistered_at = "INACTIVE", utcnow()
        return _answer(taskDefinition=definition.describe())

    def delete_task_definitions(self):
        _limit(self.params["taskDefinitions"], 10, "Task definitions")
        deleted, failures = [], []
        for name in self.params["taskDefinitions"]:
            definition = self.store.revision(self.region, name)
            if not definition or definition.status == "ACTIVE":
                reason = "The specified task definition is still in ACTIVE status. Please deregister it and try again."
                failures.append(
                    {"arn": name, "reason": reason if definition else "The specified task definition does not exist."}
                )
                continue
            definition.status, definition.delete_requested_at = "DELETE_IN_PROGRESS", utcnow()
            deleted.append(definition.describe())
            if not self._in_use(definition):
                definition.status = "DELETED"
        return _answer(taskDefinitions=deleted, failures=failures)

    # ---- services ----

    def create_service(self):
        request = {key: value for key, value in self.params.items() if key not in ("cluster", "clientToken")}
        service = services.create(self.store, self.ecs.sandbox, self._cluster(), request, self._root())
        service.seen = time.monotonic(), None
        return _answer(service=service.describe(["TAGS"]))

    def update_service(self):
        service = self.store.service(self._cluster(), self.params["service"])
        before = copy.deepcopy(service.describe(["TAGS"]))
        services.update(self.store, self.ecs.sandbox, service, self.params)
        service.seen = time.monotonic(), before
        return _answer(service=service.describe(["TAGS"]))

    def delete_service(self):
        service = self.store.service(self._cluster(), self.params["service"])
        return _answer(service=services.delete(service, bool(self.params.get("force"))).describe(["TAGS"]))

    def describe_services(self):
        cluster, names = self._cluster(), self.params.get("services") or []
        if not names:
            raise errors.invalid("Services cannot be empty.")
        _limit(names, 10, "Services")
        found, failures = [], []
        for name in names:
            service = cluster.services.get(name.rpartition("/")[2])
            since, before = service.seen if service else (0.0, None)
            if service and not self.ecs.sandbox.young(since):
                found.append(service.describe(self.params.get("include") or []))
            elif before:
                found.append(before)
            else:
                failures.append(self._missing("service", name, f"{cluster.name}/"))
        return _answer(services=found, failures=failures)

    def list_services(self):
        wanted = {key: self.params.get(key) for key in ("launchType", "schedulingStrategy")}
        arns = []
        for service in self._cluster().services.values():
            strategy = service.primary.spec.get("capacityProviderStrategy")
            launch_type = "FARGATE" if strategy else service.primary.spec.get("launchType")
            if service.status == "ACTIVE" and wanted["launchType"] in (None, launch_type):
                arns.append(service.arn)
        if wanted["schedulingStrategy"] == "DAEMON":
            arns = []
        return self._page("serviceArns", arns, 10)

    def list_service_deployments(self):
        service = self.store.service(self._cluster(), self.params["service"])
        statuses = self.params.get("status")
        briefs = []
        for view in (self._service_deployment(service, d) for d in service.history):
            if not statuses or view["status"] in statuses:
                brief = {key: value for key, value in view.items() if key in BRIEF}
                briefs.append(brief | {"targetServiceRevisionArn": view["targetServiceRevision"]["arn"]})
        return self._page("serviceDeployments", briefs, 20)

    def describe_service_deployments(self):
        known = self._deployments()
        arns = self.params["serviceDeploymentArns"]
        found = [self._service_deployment(*known[arn]) for arn in arns if arn in known]
        failures = [{"arn": arn, "reason": "MISSING"} for arn in arns if arn not in known]
        return _answer(serviceDeployments=found, failures=failures)

    def stop_service_deployment(self):
        arn = self.params["serviceDeploymentArn"]
        if arn not in self._deployments():
            raise errors.error("ServiceDeploymentNotFoundException", "Service deployment not found.")
        services.stop_deployment(*self._deployments()[arn], self.params.get("stopType") or "ROLLBACK")
        return _answer(serviceDeploymentArn=arn)

    def describe_service_revisions(self):
        known = {
            service.child_arn("service-revision", deployment): (service, deployment)
            for service in self._region_services() for deployment in [*service.deployments, *service.history]
        }  # fmt: skip
        found = []
        for service, deployment in (known[arn] for arn in self.params["serviceRevisionArns"] if arn in known):
            found.append(
                {
                    **{k: v for k, v in deployment.spec.items() if v},
                    "serviceRevisionArn": service.child_arn("service-revision", deployment),
                    "serviceArn": service.arn,
                    "clusterArn": service.cluster.arn,
                    "taskDefinition": deployment.definition.arn,
                    "containerImages": [
                        {"containerName": c["name"], "image": c["image"]} for c in deployment.definition.containers
                    ],
                    "createdAt": deployment.created_at,
                }
            )
        failures = [{"arn": arn, "reason": "MISSING"} for arn in self.params["serviceRevisionArns"] if arn not in known]
        return _answer(serviceRevisions=found, failures=failures)

    # ---- tasks ----

    def run_task(self):
        cluster, count = self._cluster(), self.params.get("count", 1)
        token = self.params.get("clientToken")
        if token in cluster.answered:
            return _answer(tasks=[task.describe(["TAGS"]) for task in cluster.answered[token]], failures=[])
        if not 1 <= count <= 10:
            raise errors.invalid("count must be between 1 and 10.")
        definition = self.store.usable_revision(self.region, self.params.get("taskDefinition"))
        spec = services.placement(cluster, self.params, definition)
        network = self.params.get("networkConfiguration")
        services.check_network(self.ecs.sandbox, cluster, definition, network)
        if spec.get("launchType") == "EC2":
            raise errors.invalid("No Container Instances were found in your cluster.")
        if reason := services.unassumable(self.ecs.sandbox, definition):
            raise errors.client(reason)
        overrides = copy.deepcopy(self.params.get("overrides") or {})
        names = [container["name"] for container in definition.containers]
        for override in overrides.get("containerOverrides") or []:
            if override.get("name") not in names:
                raise errors.invalid(
                    f"Override for container named {override.get('name')} is not a container in the TaskDefinition."
                )
        tags = list(self.params.get("tags") or [])
        if self.params.get("propagateTags") == "TASK_DEFINITION":
            tags = merge_tags(definition.tags, tags)
        if self.params.get("enableECSManagedTags"):
            tags = merge_tags(tags, [{"key": "aws:ecs:clusterName", "value": cluster.name}])
        tasks: list[Task] = []
        for _ in range(count):
            provider = choose_provider(
                spec.get("capacityProviderStrategy") or [], [t.spec["capacityProviderName"] for t in tasks]
            )
            task = new_task(
                cluster,
                definition,
                {**spec, "networkConfiguration": network, "capacityProviderName": provider,
                 "enableExecuteCommand": self.params.get("enableExecuteCommand")},
                group=self.params.get("group") or f"family:{definition.family}",
                tags=tags,
                started_by=self.params.get("startedBy"),
                overrides=overrides,
            )  # fmt: skip
            cluster.tasks[task.id] = self.store.live[task.id] = task
            tasks.append(task)
        if token:
            cluster.answered[token] = tasks
        return _answer(tasks=[task.describe(["TAGS"]) for task in tasks], failures=[])

    def stop_task(self):
        task = self._cluster().tasks.get(self.params["task"].rpartition("/")[2])
        if not task:
            raise errors.invalid("The referenced task was not found.")
        self.ecs.stop_task(task, "UserInitiated", self.params.get("reason") or "Task stopped by user")
        return _answer(task=task.describe(["TAGS"]))

    def list_tasks(self):
        cluster, params = self._cluster(), self.params
        status = params.get("desiredStatus") or "RUNNING"
        others = ("containerInstance", "desiredStatus", "family", "launchType", "serviceName")
        if params.get("startedBy") and any(params.get(other) for other in others):
            raise errors.invalid("cannot specify startedBy with other arguments")
        if params.get("serviceName"):
            self.store.service(cluster, params["serviceName"])
        arns = [
            task.arn
            for task in cluster.tasks.values()
            if task.desired_status == status
            and params.get("family") in (None, task.definition.family)
            and params.get("startedBy") in (None, task.started_by)
            and params.get("launchType") in (None, "FARGATE")
            and (
                not params.get("serviceName")
                or (task.service and task.service.name == params["serviceName"].rpartition("/")[2])
            )
            and not params.get("containerInstance")
        ]
        return self._page("taskArns", arns, 100)

    def describe_tasks(self):
        cluster, names = self._cluster(), self.params.get("tasks") or []
        if not names:
            raise errors.invalid("Tasks cannot be empty.")
        _limit(names, 100, "Tasks")
        found, failures = [], []
        for name in names:
            task = cluster.tasks.get(name.rpartition("/")[2])
            if task:
                found.append(task.describe(self.params.get("include") or []))
            else:
                failures.append(self._missing("task", name, f"{cluster.name}/"))
        return _answer(tasks=found, failures=failures)

    def update_task_protection(self):
        _limit(self.params["tasks"], 10, "Tasks")
        return _answer(
            **protection.update(
                self.ecs.sandbox,
                self._cluster(),
                self.params["tasks"],
                self.params["protectionEnabled"],
                self.params.get("expiresInMinutes"),
            )
        )

    def get_task_protection(self):
        names = self.params.get("tasks") or []
        _limit(names, 100, "Tasks")
        return _answer(**protection.get(self._cluster(), names))

    # ---- tags ----

    def tag_resource(self):
        thing = self.store.tagged(self.region, self.params["resourceArn"])
        thing.tags = merge_tags(thing.tags, self.params["tags"])
        if len(thing.tags) > 50:
            raise errors.invalid("A resource can have at most 50 tags.")
        return _answer()

    def untag_resource(self):
        thing = self.store.tagged(self.region, self.params["resourceArn"])
        thing.tags = [tag for tag in thing.tags if tag["key"] not in self.params["tagKeys"]]
        return _answer()

    def list_tags_for_resource(self):
        return _answer(tags=self.store.tagged(self.region, self.params["resourceArn"]).tags)

    # ---- helpers ----

    @property
    def store(self):
        return self.ecs.store

    def _cluster(self) -> Cluster:
        return self.store.cluster(self.region, self.params.get("cluster"))

    def _root(self) -> str:
        return f"arn:aws:iam::{self.store.account_id}:root"

    def _region_services(self) -> list[Service]:
        return [
            service for cluster in self.store.clusters[self.region].values() for service in cluster.services.values()
        ]

    def _deployments(self) -> dict[str, tuple[Service, Deployment]]:
        return {
            service.child_arn("service-deployment", deployment): (service, deployment)
            for service in self._region_services() for deployment in service.history
        }  # fmt: skip

    def _definition(self, problem: str) -> TaskDefinition:
        found = self.store.revision(self.region, self.params["taskDefinition"])
        if not found:
            raise errors.client(problem)
        return found

    def _in_use(self, definition: TaskDefinition) -> bool:
        services_use = any(
            d.definition is definition for s in self.store.services() for d in s.deployments if s.status != "INACTIVE"
        )
        return services_use or any(task.definition is definition for task in self.store.live.values())

    def _missing(self, kind: str, name: str, prefix: str = "") -> dict:
        arn = name if name.startswith("arn:") else self.store.arn(self.region, kind, prefix + name)
        return {"arn": arn, "reason": "MISSING"}

    def _setting(self, name: str, value: str) -> dict:
        return {"name": name, "value": value, "principalArn": self._root(), "type": "user"}

    def _service_connect_defaults(self) -> dict | None:
        """The namespace by its ARN; a name that Cloud Map does not know yet makes an HTTP namespace."""
        name = (self.params.get("serviceConnectDefaults") or {}).get("namespace")
        return {"namespace": namespace_arn(self.ecs.sandbox, self.region, name, create=True)} if name else None

    def _set_providers(self, cluster: Cluster) -> None:
        providers = self.params.get("capacityProviders") or []
        strategy = self.params.get("defaultCapacityProviderStrategy") or []
        for name in [*providers, *(item["capacityProvider"] for item in strategy)]:
            if name not in PROVIDERS:
                raise errors.invalid(
                    f"The specified capacity provider '{name}' was not found. Specify a valid name and try again."
                )
            if name not in providers:
                raise errors.invalid(
                    "The specified default capacity provider strategy contains a capacity provider that is not "
                    "associated with the cluster."
                )
        cluster.attached = time.monotonic()
        cluster.providers = list(providers)
        cluster.strategy = [{"weight": 0, "base": 0, **item} for item in strategy]

    def _service_deployment(self, service: Service, deployment) -> dict:
        tasks = service.tasks()
        rollback = next((d for d in service.deployments if d.rolled_back is deployment), None)
        settings = service.settings["deploymentConfiguration"]
        enabled = settings["deploymentCircuitBreaker"]["enable"]
        tripped = deployment.rollout == "FAILED"
        by_breaker = tripped and "circuit breaker" in deployment.reason
        breaker = "DISABLED" if not enabled else "TRIGGERED" if by_breaker else "MONITORING"
        if enabled and deployment.service_status == "SUCCESSFUL":
            breaker = "MONITORING_COMPLETE"

        def summary(revision) -> dict:
            statuses = [task.status for task in tasks if task.deployment is revision]
            return {
                "arn": service.child_arn("service-revision", revision),
                "requestedTaskCount": revision.requested,
                "runningTaskCount": statuses.count("RUNNING"),
                "pendingTaskCount": sum(statuses.count(status) for status in ("PROVISIONING", "PENDING", "ACTIVATING")),
            }

        view = {
            "serviceDeploymentArn": service.child_arn("service-deployment", deployment),
            "serviceArn": service.arn,
            "clusterArn": service.cluster.arn,
            "createdAt": deployment.created_at,
            "startedAt": deployment.created_at,
            "updatedAt": deployment.updated_at,
            "status": deployment.service_status,
            "sourceServiceRevisions": [summary(revision) for revision in deployment.sources],
            "targetServiceRevision": summary(deployment),
            "deploymentConfiguration": settings,
            "deploymentCircuitBreaker": {
                "status": breaker, "failureCount": deployment.failed_tasks, "threshold": deployment.threshold,
            },
        }  # fmt: skip
        if deployment.finished_at:
            view["finishedAt"] = deployment.finished_at
        if tripped:
            view["statusReason"] = deployment.reason
        if rollback:
            view["rollback"] = {
                "reason": (
                    "Service deployment rolled back because the circuit breaker threshold was exceeded."
                    if by_breaker
                    else deployment.reason
                ),
                "startedAt": rollback.created_at,
                "serviceRevisionArn": service.child_arn("service-revision", rollback),
            }
        return view

    def _page(self, key: str, items: list, default: int) -> ActionResult:
        size = self.params.get("maxResults") or default
        if not 1 <= size <= 100:
            raise errors.invalid("maxResults must be between 1 and 100.")
        start = 0
        if self.params.get("nextToken"):
            try:
                start = int(base64.b64decode(self.params["nextToken"], validate=True))
            except ValueError:
                raise errors.invalid("Invalid token.") from None
        more = {"nextToken": base64.b64encode(str(start + size).encode()).decode()} if start + size < len(items) else {}
        return _answer(**{key: items[start : start + size], **more})


def _answer(**result) -> ActionResult:
    return ActionResult(result)


def _limit(names: list, most: int, what: str) -> None:
    if len(names) > most:
        raise errors.invalid(f"{what} cannot have more than {most} elements.")


def _configuration(given: dict | None) -> dict | None:
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ExecuteCommandConfiguration.html"""
    command = (given or {}).get("executeCommandConfiguration") or {}
    if command.get("logging") not in (None, "NONE", "DEFAULT", "OVERRIDE"):
        raise errors.invalid("Invalid logging value: it must be one of NONE, DEFAULT, OVERRIDE.")
    if (command.get("logging") == "OVERRIDE") != bool(command.get("logConfiguration")):
        raise errors.invalid("A logConfiguration must be provided when, and only when, logging is set to OVERRIDE.")
    return given


def _settings(before: list[dict], given: list[dict] | None) -> list[dict]:
    values = {"containerInsights": "disabled", **{item["name"]: item["value"] for item in before + list(given or [])}}
    if values["containerInsights"] not in ("enabled", "disabled", "enhanced"):
        raise errors.invalid("Invalid cluster setting value: it must be one of enabled, disabled, enhanced.")
    return [{"name": name, "value": value} for name, value in values.items()]
