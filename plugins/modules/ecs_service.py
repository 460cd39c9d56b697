#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: ecs_service
short_description: Manage ECS services with their task definitions
version_added: 1.0.0
description:
  - Brings the services of a list, and the task definitions they run, to what is given, and follows the deployments
    that it starts, all at once, until ECS calls them completed.
  - A new task definition revision is registered only when what the service runs differs from what is wanted.
  - A deployment that fails, is rolled back or is overtaken fails the task, with stop reasons, exit codes and last log
    lines.
  - See U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateService.html) and
    U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html).
author: Nexus Learn platform team
options:
  cluster:
    description: Name of the cluster. It has to be there, except in check mode.
    type: str
    required: true
  services:
    description: The services.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the service.
          - With O(state=absent), a name that ends in V(*) stands for every service of the cluster whose name begins so
            and that is this stack's, which it is with V(Project), V(Environment) and V(Region) of O(tags).
        type: str
        required: true
      desired_count:
        description:
          - Number of tasks to start with. Sent when the service is created and never again, for a scaler owns it from
            then on, unless O(services[].enforce_desired_count) is set.
        type: int
      enforce_desired_count:
        description: Hold the service to O(services[].desired_count) on every run. For a service that nothing scales.
        type: bool
        default: false
      task_definition:
        description:
          - What a task of the service is. Compared as a whole with the revision that the service runs. What is left out
            has AWS's default, for a revision never inherits anything.
          - Required unless O(state=absent).
          - See U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html).
        type: dict
        suboptions:
          family:
            description: Name that all its revisions share.
            type: str
            required: true
          cpu:
            description:
              - CPU units of the task, 1024 to a vCPU. Fargate takes certain pairs with memory only, see
                U(https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html).
            type: str
            required: true
          memory:
            description: Memory of the task in MiB.
            type: str
            required: true
          execution_role_arn:
            description: Role with which ECS pulls the image, reads secrets and writes logs.
            type: str
          task_role_arn:
            description: Role of the containers' own calls to AWS.
            type: str
          network_mode:
            description: Network mode. Fargate takes V(awsvpc) only.
            type: str
            choices: [awsvpc, bridge, host, none]
            default: awsvpc
          requires_compatibilities:
            description: Launch types against which AWS checks the task definition.
            type: list
            elements: str
            choices: [EC2, FARGATE, EXTERNAL, MANAGED_INSTANCES]
            default: [FARGATE]
          cpu_architecture:
            description: Architecture of the image. AWS's default is V(X86_64).
            type: str
            choices: [X86_64, ARM64]
          operating_system_family:
            description: Operating system. AWS's default is V(LINUX).
            type: str
          ephemeral_storage_gib:
            description: Disk of a Fargate task in GiB, 21 to 200. AWS's default is 20, which cannot be given.
            type: int
          pid_mode:
            description:
              - Process namespace that the containers share, for a sidecar that watches the others. Fargate takes only
                V(task). Left out, each container has its own.
            type: str
            choices: [task, host]
          enable_fault_injection:
            description: Whether the containers may ask for faults to be injected. AWS's default is V(false).
            type: bool
          volumes:
            description: Volumes for O(services[].task_definition.containers[].mount_points).
            type: list
            elements: dict
            suboptions:
              name:
                description: Name of the volume. With a name alone it is an empty folder that lives as long as the task.
                type: str
                required: true
              configured_at_launch:
                description:
                  - Whether O(services[].volume_configurations) says what it is. AWS's default is V(false).
                type: bool
              efs_volume_configuration:
                description:
                  - An EFS file system, see
                    U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_EFSVolumeConfiguration.html).
                type: dict
                suboptions:
                  file_system_id:
                    description: Id of the file system.
                    type: str
                    required: true
                  root_directory:
                    description: Folder in it that is mounted. AWS's default is C(/).
                    type: str
                  transit_encryption:
                    description: Encryption between task and file system. AWS's default is V(DISABLED).
                    type: str
                    choices: [ENABLED, DISABLED]
                  transit_encryption_port:
                    description: Port for it. Left out, the EFS mount helper chooses.
                    type: int
                  authorization_config:
                    description: Access point and IAM.
                    type: dict
                    suboptions:
                      access_point_id:
                        description: Id of the access point.
                        type: str
                      iam:
                        description: Whether the task role is used. AWS's default is V(DISABLED).
                        type: str
                        choices: [ENABLED, DISABLED]
              s3files_volume_configuration:
                description:
                  - An S3 Files file system, see
                    U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_S3FilesVolumeConfiguration.html).
                type: dict
                suboptions:
                  file_system_arn:
                    description: ARN of the file system.
                    type: str
                    required: true
                  root_directory:
                    description: Folder in it that is mounted. AWS's default is C(/). Not with an access point.
                    type: str
                  transit_encryption_port:
                    description: Port of the encrypted traffic. Left out, the mount helper chooses.
                    type: int
                  access_point_arn:
                    description: ARN of the access point.
                    type: str
          containers:
            description:
              - The containers, see
                U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html).
            type: list
            elements: dict
            required: true
            suboptions:
              name:
                description: Name of the container.
                type: str
                required: true
              image:
                description: Image with tag or digest. Compared as text.
                type: str
                required: true
              essential:
                description: Whether its end ends the task. AWS's default is V(true).
                type: bool
              entry_point:
                description: Entry point, instead of the image's.
                type: list
                elements: str
              command:
                description: Command, instead of the image's.
                type: list
                elements: str
              repository_credentials:
                description: Log-in to a private registry other than ECR.
                type: dict
                suboptions:
                  credentials_parameter:
                    description: ARN of the secret with user name and password.
                    type: str
                    required: true
              environment:
                description: Environment variables by name.
                type: dict
              environment_files:
                description:
                  - ARNs of up to ten S3 objects, called C(*.env), with a C(VARIABLE=value) in each line. The first that
                    has a variable wins; what O(services[].task_definition.containers[].environment) has wins over all.
                  - See U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_EnvironmentFile.html).
                type: list
                elements: str
              secrets:
                description:
                  - Environment variables by name, whose value is the ARN of a secret or parameter that ECS reads when
                    the task starts; C(<secret arn>:<json key>:<stage>:<version>) for a part of a secret.
                type: dict
              secret_versions:
                description:
                  - Names of O(services[].task_definition.containers[].secrets) whose version is part of the task
                    definition, as the label C(secret-version/<name>), so that a new version of the secret is rolled
                    out. Without it, tasks go on with what they have read until they are replaced.
                  - Only of secrets in Secrets Manager; what is pinned to a version id has no label.
                type: list
                elements: str
              port_mappings:
                description: Ports of the container.
                type: list
                elements: dict
                suboptions:
                  container_port:
                    description: The port.
                    type: int
                    required: true
                  protocol:
                    description: Its protocol. AWS's default is V(tcp).
                    type: str
                    choices: [tcp, udp]
                  name:
                    description: Name for Service Connect.
                    type: str
                  app_protocol:
                    description: Protocol that Service Connect sees on it. Left out, it is plain TCP.
                    type: str
                    choices: [http, http2, grpc]
              restart_policy:
                description:
                  - Whether the container is started again in the same task when it ends, instead of a new task.
                  - See U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerRestartPolicy.html).
                type: dict
                suboptions:
                  enabled:
                    description: Whether it is.
                    type: bool
                    required: true
                  ignored_exit_codes:
                    description: Exit codes after which it is not, in any order.
                    type: list
                    elements: int
                  restart_attempt_period:
                    description:
                      - Seconds, 60 to 1800, that it must have run to be started again. AWS's default is 300.
                    type: int
              health_check:
                description:
                  - Command that tells whether the container is well. The Dockerfile's own is ignored by ECS. See
                    U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html).
                type: dict
                suboptions:
                  command:
                    description: The command, beginning with V(CMD) or V(CMD-SHELL).
                    type: list
                    elements: str
                    required: true
                  interval:
                    description: Seconds between two checks, 5 to 300. AWS's default is 30.
                    type: int
                  timeout:
                    description: Seconds that one may take, 2 to 60. AWS's default is 5.
                    type: int
                  retries:
                    description: Failures in a row that make the container unhealthy, 1 to 10. AWS's default is 3.
                    type: int
                  start_period:
                    description: Seconds after the start in which failures do not count, 0 to 300. AWS's default is 0.
                    type: int
              stop_timeout:
                description:
                  - Seconds from SIGTERM to SIGKILL, 2 to 120 on Fargate. AWS's default is 30.
                type: int
              start_timeout:
                description: Seconds that containers which depend on this one wait for it, 2 to 120 on Fargate.
                type: int
              depends_on:
                description:
                  - Containers that have to get somewhere first, see
                    U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDependency.html).
                type: list
                elements: dict
                suboptions:
                  container_name:
                    description: Name of the other container.
                    type: str
                    required: true
                  condition:
                    description: What it must have reached.
                    type: str
                    choices: [START, COMPLETE, SUCCESS, HEALTHY]
                    required: true
              log_configuration:
                description:
                  - Where its output goes, see
                    U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_LogConfiguration.html).
                type: dict
                suboptions:
                  log_driver:
                    description: Log driver. These are Fargate's.
                    type: str
                    choices: [awslogs, splunk, awsfirelens]
                    required: true
                  options:
                    description: Options of the driver by name, such as C(awslogs-group).
                    type: dict
                  secret_options:
                    description: Further options by name, whose value is the ARN of a secret or parameter.
                    type: dict
              firelens_configuration:
                description:
                  - Makes the container the log router for those with the log driver V(awsfirelens), see
                    U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_FirelensConfiguration.html).
                type: dict
                suboptions:
                  type:
                    description: Log router.
                    type: str
                    choices: [fluentd, fluentbit]
                    required: true
                  options:
                    description: Its options by name, such as C(enable-ecs-log-metadata).
                    type: dict
              linux_parameters:
                description:
                  - Settings of the Linux container, see
                    U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_LinuxParameters.html).
                type: dict
                suboptions:
                  init_process_enabled:
                    description: Run an init that reaps zombies and passes signals on. AWS's default is V(false).
                    type: bool
                  capabilities:
                    description: Linux capabilities beside Docker's default ones, in any order.
                    type: dict
                    suboptions:
                      add:
                        description: More of them. Fargate adds C(SYS_PTRACE) only.
                        type: list
                        elements: str
                      drop:
                        description: Fewer of them.
                        type: list
                        elements: str
                  tmpfs:
                    description: File systems in memory.
                    type: list
                    elements: dict
                    suboptions:
                      container_path:
                        description: Where it is mounted.
                        type: str
                        required: true
                      size:
                        description: Its size in MiB.
                        type: int
                        required: true
                      mount_options:
                        description: Options of the mount, such as V(noexec).
                        type: list
                        elements: str
              system_controls:
                description:
                  - Kernel parameters by name, such as C(net.ipv4.tcp_keepalive_time). They hold for the whole task.
                type: dict
              docker_labels:
                description: Labels of the container by name.
                type: dict
              version_consistency:
                description:
                  - Whether all tasks of a deployment run the image that the tag stood for when it began. AWS's default
                    is V(enabled).
                type: str
                choices: [enabled, disabled]
              interactive:
                description: Keep standard input open. AWS's default is V(false).
                type: bool
              pseudo_terminal:
                description: Give it a terminal. AWS's default is V(false).
                type: bool
              readonly_root_filesystem:
                description: Make the root file system read-only. AWS's default is V(false).
                type: bool
              mount_points:
                description: Volumes of the task that the container sees.
                type: list
                elements: dict
                suboptions:
                  source_volume:
                    description: Name of the volume.
                    type: str
                    required: true
                  container_path:
                    description: Where it is mounted.
                    type: str
                    required: true
                  read_only:
                    description: Whether it is read-only. AWS's default is V(false).
                    type: bool
              volumes_from:
                description: Other containers whose volumes the container sees too.
                type: list
                elements: dict
                suboptions:
                  source_container:
                    description: Name of the other container.
                    type: str
                    required: true
                  read_only:
                    description: Whether they are read-only. AWS's default is V(false).
                    type: bool
              user:
                description: User that runs the command, instead of the image's.
                type: str
              working_directory:
                description: Folder in which the command runs, instead of the image's.
                type: str
              ulimits:
                description:
                  - Limits, see U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Ulimit.html).
                type: list
                elements: dict
                suboptions:
                  name:
                    description: Name of the limit, such as V(nofile).
                    type: str
                    required: true
                  soft_limit:
                    description: Soft limit.
                    type: int
                    required: true
                  hard_limit:
                    description: Hard limit.
                    type: int
                    required: true
              cpu:
                description: CPU units of the task that are reserved for the container.
                type: int
              memory:
                description: Memory in MiB above which the container is killed.
                type: int
              memory_reservation:
                description: Memory in MiB that is reserved for the container.
                type: int
      launch_type:
        description:
          - Launch type. Excludes O(services[].capacity_provider_strategy). AWS cannot change it in place.
          - With neither, a new service gets the cluster's default strategy.
        type: str
        choices: [FARGATE, EC2, EXTERNAL]
      capacity_provider_strategy:
        description:
          - On which capacity tasks run. Enforced whole.
          - See U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CapacityProviderStrategyItem.html).
        type: list
        elements: dict
        suboptions:
          capacity_provider:
            description: Name of the capacity provider, such as V(FARGATE_SPOT).
            type: str
            required: true
          weight:
            description: Its share of the tasks, 0 to 1000, relative to the other weights. AWS's default is 0.
            type: int
          base:
            description: Number of tasks that run on it at least, in one entry only. AWS's default is 0.
            type: int
      platform_version:
        description: Fargate platform version. AWS's default is V(LATEST).
        type: str
      subnets:
        description: Subnets of the tasks, in any order.
        type: list
        elements: str
      security_groups:
        description: Security groups of the tasks, in any order.
        type: list
        elements: str
      assign_public_ip:
        description: Whether a task gets a public address. AWS's default is V(false).
        type: bool
      load_balancers:
        description: Target groups in which the tasks are registered, in any order. Enforced whole.
        type: list
        elements: dict
        suboptions:
          target_group_arn:
            description: ARN of the target group.
            type: str
            required: true
          container_name:
            description: Container that gets the traffic.
            type: str
            required: true
          container_port:
            description: Its port.
            type: int
            required: true
      service_registries:
        description:
          - Cloud Map service in which the tasks are registered, one at most. Enforced whole.
          - See U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceRegistry.html).
        type: list
        elements: dict
        suboptions:
          registry_arn:
            description: ARN of the Cloud Map service.
            type: str
            required: true
          port:
            description: Port of its SRV records.
            type: int
          container_name:
            description: Container of its SRV records, instead of the port.
            type: str
          container_port:
            description: Port of that container.
            type: int
      service_connect_configuration:
        description:
          - Names of this service for others of its namespace, and the way to theirs, through a proxy beside each task.
            Enforced whole, but for the namespace.
          - See U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceConnectConfiguration.html).
        type: dict
        suboptions:
          enabled:
            description: Whether the tasks get the proxy.
            type: bool
            required: true
          namespace:
            description: Name or ARN of the Cloud Map namespace. Left out, it is the cluster's default one.
            type: str
          services:
            description: What others can reach. A service that only reaches others has none.
            type: list
            elements: dict
            suboptions:
              port_name:
                description: Name of a port mapping of the task definition.
                type: str
                required: true
              discovery_name:
                description: Name of the Cloud Map service. AWS's default is the port's name.
                type: str
              client_aliases:
                description: Where others reach it, one at most.
                type: list
                elements: dict
                suboptions:
                  port:
                    description: Port that they use.
                    type: int
                    required: true
                  dns_name:
                    description: Name that they use. AWS's default is C(<discovery_name>.<namespace>).
                    type: str
              ingress_port_override:
                description: Port on which the proxy listens. AWS's default is the container's port.
                type: int
              timeout:
                description: Seconds after which the proxy gives up, 0 for never.
                type: dict
                suboptions:
                  idle_timeout_seconds:
                    description: On a connection without traffic. AWS's default is 300, and 3600 for plain TCP.
                    type: int
                  per_request_timeout_seconds:
                    description: On a request without an answer. Not for plain TCP.
                    type: int
              tls:
                description: Encryption between the proxies.
                type: dict
                suboptions:
                  issuer_certificate_authority:
                    description: Who signs the certificates.
                    type: dict
                    required: true
                    suboptions:
                      aws_pca_authority_arn:
                        description: ARN of the private certificate authority.
                        type: str
                        required: true
                  kms_key:
                    description: KMS key of the certificates' private keys.
                    type: str
                  role_arn:
                    description: Role with which ECS manages them.
                    type: str
          log_configuration:
            description: Where the proxy's output goes, as for a container.
            type: dict
            suboptions:
              log_driver:
                description: Log driver.
                type: str
                choices: [awslogs, splunk, awsfirelens]
                required: true
              options:
                description: Options of the driver by name.
                type: dict
              secret_options:
                description: Further options by name, whose value is the ARN of a secret or parameter.
                type: dict
          access_log_configuration:
            description: A line for each request in the proxy's output.
            type: dict
            suboptions:
              format:
                description: Form of the lines.
                type: str
                choices: [TEXT, JSON]
                required: true
              include_query_parameters:
                description: Whether they show what follows a C(?) in a URL. AWS's default is V(DISABLED).
                type: str
                choices: [ENABLED, DISABLED]
          log_level:
            description: How much the proxy writes. AWS's default is V(info).
            type: str
            choices: [debug, info]
      volume_configurations:
        description:
          - EBS volumes for those of the task definition that are V(configured_at_launch). Each task gets its own, which
            ends with the task. In a volume only what is given is enforced.
          - See U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceManagedEBSVolumeConfiguration.html).
        type: list
        elements: dict
        suboptions:
          name:
            description: Name of the volume in the task definition.
            type: str
            required: true
          managed_ebs_volume:
            description: The volume.
            type: dict
            required: true
            suboptions:
              role_arn:
                description: Role with which ECS makes and attaches it.
                type: str
                required: true
              size_in_gib:
                description: Its size. Required without a snapshot.
                type: int
              snapshot_id:
                description: Snapshot that it begins with.
                type: str
              volume_initialization_rate:
                description: MiB per second at which the snapshot is fetched.
                type: int
              volume_type:
                description: Its type.
                type: str
                choices: [gp2, gp3, io1, io2, st1, sc1]
              iops:
                description: Operations per second.
                type: int
              throughput:
                description: MiB per second, of V(gp3) only.
                type: int
              encrypted:
                description: Whether it is encrypted.
                type: bool
              kms_key_id:
                description: ARN of the KMS key for that.
                type: str
              filesystem_type:
                description: Its file system. AWS's default is V(xfs).
                type: str
                choices: [ext3, ext4, xfs]
              tags:
                description: Its tags.
                type: dict
              propagate_tags:
                description: Whose tags it gets, too. AWS's default is V(NONE).
                type: str
                choices: [SERVICE, TASK_DEFINITION, NONE]
      health_check_grace_period_seconds:
        description: Seconds after a task's start in which failing health checks do not stop it. AWS's default is 0.
        type: int
      minimum_healthy_percent:
        description:
          - Per cent of the desired tasks that keep running during a deployment. AWS's default is 100.
          - See U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html).
        type: int
      maximum_percent:
        description: Per cent of the desired tasks that run during a deployment at most. AWS's default is 200.
        type: int
      circuit_breaker:
        description:
          - What happens to a deployment that does not come up, see
            U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentCircuitBreaker.html).
        type: dict
        suboptions:
          enable:
            description: Whether it fails. Without this ECS tries for ever.
            type: bool
            required: true
          rollback:
            description: Whether ECS then goes back to the last deployment that completed.
            type: bool
            required: true
          threshold_configuration:
            description:
              - How many tasks may fail before, see
                U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ThresholdConfiguration.html). AWS's
                default is half of the desired tasks, but at least 3 and at most 200.
            type: dict
            suboptions:
              type:
                description:
                  - V(COUNT) is a number of tasks, the others are per cent of the desired ones; V(BOUNDED_PERCENT) keeps
                    between 3 and 200.
                type: str
                choices: [COUNT, BOUNDED_PERCENT, UNBOUNDED_PERCENT]
                required: true
              value:
                description: The number.
                type: int
                required: true
          reset_on_healthy_task:
            description: Whether a task that becomes healthy sets the count back to 0. AWS's default is V(true).
            type: bool
      deployment_alarms:
        description:
          - CloudWatch alarms that make a deployment fail. ECS heeds none of them in a deployment that begins while one
            is in ALARM.
          - See U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentAlarms.html).
        type: dict
        suboptions:
          alarm_names:
            description: Names of the alarms, in any order.
            type: list
            elements: str
            required: true
          enable:
            description: Whether they are heeded.
            type: bool
            required: true
          rollback:
            description: Whether ECS then goes back to the last deployment that completed.
            type: bool
            required: true
      early_success_criteria:
        description:
          - When a deployment counts as completed before all of its tasks are healthy, see
            U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentEarlySuccessCriteria.html).
        type: dict
        suboptions:
          enable:
            description: Whether it may.
            type: bool
            required: true
          healthy_percent:
            description:
              - Per cent of the desired tasks that must be healthy, at least O(services[].minimum_healthy_percent).
            type: int
          source_service_revision_cleanup:
            description: Whether the old tasks are stopped before, or V(DEFERRED) till afterwards.
            type: str
            choices: [BLOCKING, DEFERRED]
      enable_ecs_managed_tags:
        description:
          - Whether tasks get the tags C(aws:ecs:clusterName) and C(aws:ecs:serviceName). AWS's default is V(false).
        type: bool
      enable_execute_command:
        description: Allow C(aws ecs execute-command) in the tasks. AWS's default is V(false).
        type: bool
      propagate_tags:
        description: Whose tags the tasks get. AWS's default is V(NONE).
        type: str
        choices: [SERVICE, TASK_DEFINITION, NONE]
      run_task_before:
        description:
          - A command that runs in a task of its own, of the new task definition revision and with the service's network
            and capacity, before that revision is deployed, as the migration of a database does. Nothing is deployed
            when its exit code is not 0.
          - It runs once for each new revision; again when it failed, so it has to bear that. A run that was stopped
            meanwhile is taken up.
        type: dict
        suboptions:
          command:
            description: The command, word by word. It stands in the task's overrides, which are no place for secrets.
            type: list
            elements: str
            required: true
          container:
            description: Name of the container whose command it is. Left out, the first one of the task definition.
            type: str
          wait_timeout:
            description: Seconds to wait for its end.
            type: int
            default: 900
      availability_zone_rebalancing:
        description: Whether ECS moves tasks to even out zones. AWS's default for a new service is V(ENABLED).
        type: str
        choices: [ENABLED, DISABLED]
  keep:
    description: Names of services that a name with V(*) does not stand for.
    type: list
    elements: str
  tags:
    description: Tags of every service and task definition of the list, enforced whole. Left out, tags are not touched.
    type: dict
  wait:
    description:
      - Follow the deployments to their end. Without it nobody is told when one fails, unless
        M(nexus_learn.aws.ecs_rollout) follows RV(deployments) later, those of several tasks together.
      - O(state=absent) waits for the tasks to end in any case, unless O(force) is set.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait for all services together.
    type: int
    default: 900
  force:
    description: With O(state=absent), delete at once and let ECS stop the tasks, instead of draining to 0 first.
    type: bool
    default: false
  state:
    description:
      - Whether the services shall be there. V(absent) scales to 0, waits until the last task has ended and deletes the
        services. Task definition revisions stay as history.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - nexus_learn.aws.plan
"""

EXAMPLES = r"""
- name: A worker that auto scaling owns
  nexus_learn.aws.ecs_service:
    cluster: nexus-learn-cluster
    services:
      - name: nexus-learn-celery-worker-service
        desired_count: 2
        launch_type: FARGATE
        subnets: [subnet-0a, subnet-0b]
        security_groups: [sg-0a]
        circuit_breaker: {enable: true, rollback: true}
        task_definition:
          family: nexus-learn-celery-worker
          cpu: 1024
          memory: 2048
          execution_role_arn: arn:aws:iam::123456789012:role/nexus-learn-execution
          containers:
            - name: worker
              image: nexus-learn-worker:latest
              command: [celery, -A, config.celery, worker, "--queues=langgraph,embeddings"]
              environment: {REDIS_PORT: 6379}
              secrets:
                CELERY_BROKER_URL: "arn:aws:secretsmanager:us-east-1:123456789012:secret:nexus-learn/redis-AbCdEf:url::"
              stop_timeout: 120
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}

- name: Drain and delete it
  nexus_learn.aws.ecs_service:
    cluster: nexus-learn-cluster
    services: [{name: nexus-learn-celery-worker-service}]
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}
    state: absent

- name: Drain and delete whatever of this stack is in the cluster, except the API
  nexus_learn.aws.ecs_service:
    cluster: nexus-learn-cluster
    services: [{name: "*"}]
    keep: [nexus-learn-backend-service]
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}
    state: absent
"""

RETURN = r"""
services:
  description: The services by name, as they are (in check mode, as they would be). Empty with O(state=absent).
  returned: success
  type: dict
  sample:
    nexus-learn-celery-worker-service:
      arn: arn:aws:ecs:us-east-1:123456789012:service/nexus-learn-cluster/nexus-learn-celery-worker-service
      cluster_arn: arn:aws:ecs:us-east-1:123456789012:cluster/nexus-learn-cluster
      status: ACTIVE
      desired_count: 2
      running_count: 2
      family: nexus-learn-celery-worker
      revision: 3
      task_definition_arn: arn:aws:ecs:us-east-1:123456789012:task-definition/nexus-learn-celery-worker:3
deployments:
  description:
    - The deployments that this task began, or found unfinished, by service, for M(nexus_learn.aws.ecs_rollout).
    - Empty when the task follows them itself (O(wait)), and in check mode but for unfinished ones.
  returned: success
  type: dict
  sample:
    nexus-learn-celery-worker-service:
      deployment: ecs-svc/0123456789012345678
      task_definition: arn:aws:ecs:us-east-1:123456789012:task-definition/nexus-learn-celery-worker:3
      since: "2026-11-25T10:12:00.000000+00:00"
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_service
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main

SWITCH = ["ENABLED", "DISABLED"]

EFS = {
    "file_system_id": {"type": "str", "required": True},
    "root_directory": {"type": "str"},
    "transit_encryption": {"type": "str", "choices": SWITCH},
    "transit_encryption_port": {"type": "int"},
    "authorization_config": {
        "type": "dict",
        "options": {
            "access_point_id": {"type": "str"},
            "iam": {"type": "str", "choices": SWITCH},
        },
    },
}

S3_FILES = {
    "file_system_arn": {"type": "str", "required": True},
    "root_directory": {"type": "str"},
    "transit_encryption_port": {"type": "int"},
    "access_point_arn": {"type": "str"},
}

LOGS = {
    "log_driver": {"type": "str", "required": True, "choices": ["awslogs", "splunk", "awsfirelens"]},
    "options": {"type": "dict"},
    "secret_options": {"type": "dict", "no_log": False},  # ARNs, not values
}

LINUX = {
    "init_process_enabled": {"type": "bool"},
    "capabilities": {
        "type": "dict",
        "options": {"add": {"type": "list", "elements": "str"}, "drop": {"type": "list", "elements": "str"}},
    },
    "tmpfs": {
        "type": "list",
        "elements": "dict",
        "options": {
            "container_path": {"type": "str", "required": True},
            "size": {"type": "int", "required": True},
            "mount_options": {"type": "list", "elements": "str"},
        },
    },
}

CONTAINER = {
    "name": {"type": "str", "required": True},
    "image": {"type": "str", "required": True},
    "essential": {"type": "bool"},
    "entry_point": {"type": "list", "elements": "str"},
    "command": {"type": "list", "elements": "str"},
    "repository_credentials": {
        "type": "dict",
        "options": {"credentials_parameter": {"type": "str", "required": True}},
    },
    "environment": {"type": "dict"},
    "environment_files": {"type": "list", "elements": "str"},
    "secrets": {"type": "dict", "no_log": False},  # ARNs, not values
    "secret_versions": {"type": "list", "elements": "str", "no_log": False},
    "port_mappings": {
        "type": "list",
        "elements": "dict",
        "options": {
            "container_port": {"type": "int", "required": True},
            "protocol": {"type": "str", "choices": ["tcp", "udp"]},
            "name": {"type": "str"},
            "app_protocol": {"type": "str", "choices": ["http", "http2", "grpc"]},
        },
    },
    "restart_policy": {
        "type": "dict",
        "options": {
            "enabled": {"type": "bool", "required": True},
            "ignored_exit_codes": {"type": "list", "elements": "int"},
            "restart_attempt_period": {"type": "int"},
        },
    },
    "health_check": {
        "type": "dict",
        "options": {
            "command": {"type": "list", "elements": "str", "required": True},
            "interval": {"type": "int"},
            "timeout": {"type": "int"},
            "retries": {"type": "int"},
            "start_period": {"type": "int"},
        },
    },
    "stop_timeout": {"type": "int"},
    "start_timeout": {"type": "int"},
    "depends_on": {
        "type": "list",
        "elements": "dict",
        "options": {
            "container_name": {"type": "str", "required": True},
            "condition": {"type": "str", "required": True, "choices": ["START", "COMPLETE", "SUCCESS", "HEALTHY"]},
        },
    },
    "log_configuration": {"type": "dict", "options": LOGS},
    "firelens_configuration": {
        "type": "dict",
        "options": {
            "type": {"type": "str", "required": True, "choices": ["fluentd", "fluentbit"]},
            "options": {"type": "dict"},
        },
    },
    "linux_parameters": {"type": "dict", "options": LINUX},
    "system_controls": {"type": "dict"},
    "docker_labels": {"type": "dict"},
    "version_consistency": {"type": "str", "choices": ["enabled", "disabled"]},
    "interactive": {"type": "bool"},
    "pseudo_terminal": {"type": "bool"},
    "readonly_root_filesystem": {"type": "bool"},
    "mount_points": {
        "type": "list",
        "elements": "dict",
        "options": {
            "source_volume": {"type": "str", "required": True},
            "container_path": {"type": "str", "required": True},
            "read_only": {"type": "bool"},
        },
    },
    "volumes_from": {
        "type": "list",
        "elements": "dict",
        "options": {
            "source_container": {"type": "str", "required": True},
            "read_only": {"type": "bool"},
        },
    },
    "user": {"type": "str"},
    "working_directory": {"type": "str"},
    "ulimits": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "soft_limit": {"type": "int", "required": True},
            "hard_limit": {"type": "int", "required": True},
        },
    },
    "cpu": {"type": "int"},
    "memory": {"type": "int"},
    "memory_reservation": {"type": "int"},
}

TASK_DEFINITION = {
    "family": {"type": "str", "required": True},
    "cpu": {"type": "str", "required": True},
    "memory": {"type": "str", "required": True},
    "execution_role_arn": {"type": "str"},
    "task_role_arn": {"type": "str"},
    "network_mode": {"type": "str", "choices": ["awsvpc", "bridge", "host", "none"], "default": "awsvpc"},
    "requires_compatibilities": {
        "type": "list",
        "elements": "str",
        "choices": ["EC2", "FARGATE", "EXTERNAL", "MANAGED_INSTANCES"],
        "default": ["FARGATE"],
    },
    "cpu_architecture": {"type": "str", "choices": ["X86_64", "ARM64"]},
    "operating_system_family": {"type": "str"},
    "ephemeral_storage_gib": {"type": "int"},
    "pid_mode": {"type": "str", "choices": ["task", "host"]},
    "enable_fault_injection": {"type": "bool"},
    "volumes": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "configured_at_launch": {"type": "bool"},
            "efs_volume_configuration": {"type": "dict", "options": EFS},
            "s3files_volume_configuration": {"type": "dict", "options": S3_FILES},
        },
    },
    "containers": {"type": "list", "elements": "dict", "required": True, "options": CONTAINER},
}

SERVICE_CONNECT = {
    "enabled": {"type": "bool", "required": True},
    "namespace": {"type": "str"},
    "services": {
        "type": "list",
        "elements": "dict",
        "options": {
            "port_name": {"type": "str", "required": True},
            "discovery_name": {"type": "str"},
            "client_aliases": {
                "type": "list",
                "elements": "dict",
                "options": {"port": {"type": "int", "required": True}, "dns_name": {"type": "str"}},
            },
            "ingress_port_override": {"type": "int"},
            "timeout": {
                "type": "dict",
                "options": {
                    "idle_timeout_seconds": {"type": "int"},
                    "per_request_timeout_seconds": {"type": "int"},
                },
            },
            "tls": {
                "type": "dict",
                "options": {
                    "issuer_certificate_authority": {
                        "type": "dict",
                        "required": True,
                        "options": {"aws_pca_authority_arn": {"type": "str", "required": True}},
                    },
                    "kms_key": {"type": "str", "no_log": False},  # the key's ARN
                    "role_arn": {"type": "str"},
                },
            },
        },
    },
    "log_configuration": {"type": "dict", "options": LOGS},
    "access_log_configuration": {
        "type": "dict",
        "options": {
            "format": {"type": "str", "required": True, "choices": ["TEXT", "JSON"]},
            "include_query_parameters": {"type": "str", "choices": SWITCH},
        },
    },
    "log_level": {"type": "str", "choices": ["debug", "info"]},
}

EBS = {
    "role_arn": {"type": "str", "required": True},
    "size_in_gib": {"type": "int"},
    "snapshot_id": {"type": "str"},
    "volume_initialization_rate": {"type": "int"},
    "volume_type": {"type": "str", "choices": ["gp2", "gp3", "io1", "io2", "st1", "sc1"]},
    "iops": {"type": "int"},
    "throughput": {"type": "int"},
    "encrypted": {"type": "bool"},
    "kms_key_id": {"type": "str"},
    "filesystem_type": {"type": "str", "choices": ["ext3", "ext4", "xfs"]},
    "tags": {"type": "dict"},
    "propagate_tags": {"type": "str", "choices": ["SERVICE", "TASK_DEFINITION", "NONE"]},
}

SERVICE = {
    "name": {"type": "str", "required": True},
    "desired_count": {"type": "int"},
    "enforce_desired_count": {"type": "bool", "default": False},
    "task_definition": {"type": "dict", "options": TASK_DEFINITION},
    "launch_type": {"type": "str", "choices": ["FARGATE", "EC2", "EXTERNAL"]},
    "capacity_provider_strategy": {
        "type": "list",
        "elements": "dict",
        "options": {
            "capacity_provider": {"type": "str", "required": True},
            "weight": {"type": "int"},
            "base": {"type": "int"},
        },
    },
    "platform_version": {"type": "str"},
    "subnets": {"type": "list", "elements": "str"},
    "security_groups": {"type": "list", "elements": "str"},
    "assign_public_ip": {"type": "bool"},
    "load_balancers": {
        "type": "list",
        "elements": "dict",
        "options": {
            "target_group_arn": {"type": "str", "required": True},
            "container_name": {"type": "str", "required": True},
            "container_port": {"type": "int", "required": True},
        },
    },
    "service_registries": {
        "type": "list",
        "elements": "dict",
        "options": {
            "registry_arn": {"type": "str", "required": True},
            "port": {"type": "int"},
            "container_name": {"type": "str"},
            "container_port": {"type": "int"},
        },
    },
    "service_connect_configuration": {"type": "dict", "options": SERVICE_CONNECT},
    "volume_configurations": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "managed_ebs_volume": {"type": "dict", "required": True, "options": EBS},
        },
    },
    "health_check_grace_period_seconds": {"type": "int"},
    "minimum_healthy_percent": {"type": "int"},
    "maximum_percent": {"type": "int"},
    "circuit_breaker": {
        "type": "dict",
        "options": {
            "enable": {"type": "bool", "required": True},
            "rollback": {"type": "bool", "required": True},
            "threshold_configuration": {
                "type": "dict",
                "options": {
                    "type": {
                        "type": "str",
                        "required": True,
                        "choices": ["COUNT", "BOUNDED_PERCENT", "UNBOUNDED_PERCENT"],
                    },
                    "value": {"type": "int", "required": True},
                },
            },
            "reset_on_healthy_task": {"type": "bool"},
        },
    },
    "deployment_alarms": {
        "type": "dict",
        "options": {
            "alarm_names": {"type": "list", "elements": "str", "required": True},
            "enable": {"type": "bool", "required": True},
            "rollback": {"type": "bool", "required": True},
        },
    },
    "early_success_criteria": {
        "type": "dict",
        "options": {
            "enable": {"type": "bool", "required": True},
            "healthy_percent": {"type": "int"},
            "source_service_revision_cleanup": {"type": "str", "choices": ["BLOCKING", "DEFERRED"]},
        },
    },
    "enable_ecs_managed_tags": {"type": "bool"},
    "enable_execute_command": {"type": "bool"},
    "propagate_tags": {"type": "str", "choices": ["SERVICE", "TASK_DEFINITION", "NONE"]},
    "run_task_before": {
        "type": "dict",
        "options": {
            "command": {"type": "list", "elements": "str", "required": True},
            "container": {"type": "str"},
            "wait_timeout": {"type": "int", "default": 900},
        },
    },
    "availability_zone_rebalancing": {"type": "str", "choices": SWITCH},
}

SPEC = {
    "argument_spec": {
        "cluster": {"type": "str", "required": True},
        "services": {"type": "list", "elements": "dict", "required": True, "options": SERVICE},
        "keep": {"type": "list", "elements": "str"},
        "tags": {"type": "dict"},
        "wait": {"type": "bool", "default": True},
        "wait_timeout": {"type": "int", "default": 900},
        "force": {"type": "bool", "default": False},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
}


def main():
    module_main(ecs_service, SPEC)


if __name__ == "__main__":
    main()
