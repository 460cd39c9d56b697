"""Tasks under IAM enforcement: what their code may do, and what ECS may do to start them."""

import pytest
from ecs_stack import Stack, eventually
from iam_account import ACCOUNT, Account, Caller, allow, outcome

TASKS = {"Service": "ecs-tasks.amazonaws.com"}
SECRET = "import boto3; print(boto3.client('secretsmanager').get_secret_value(SecretId='{}')['SecretString'])"


@pytest.fixture(scope="module")
def account(start_sandbox) -> Account:
    account = Account(start_sandbox(60.0, "--enforce-iam"))
    account.secrets = {
        name: account.root("secretsmanager").create_secret(Name=name, SecretString=f"value of {name}")["ARN"]
        for name in ("mine", "theirs")
    }
    return account


@pytest.fixture(scope="module")
def stack(account) -> Stack:
    return Stack(account.sandbox)


def writes(stack, *more) -> list[dict]:
    """Statements of an execution role that may write the stack's logs."""
    on = f"arn:aws:logs:*:{ACCOUNT}:log-group:{stack.log_group}:*"
    return [allow("logs:CreateLogStream", "logs:PutLogEvents", on=on), *more]


def ended(stack, definition: str) -> dict:
    """The task once it has stopped."""
    task = stack.ecs.run_task(
        cluster=stack.cluster, taskDefinition=definition, launchType="FARGATE", networkConfiguration=stack.network
    )["tasks"][0]["taskArn"]

    def stopped():
        found = stack.ecs.describe_tasks(cluster=stack.cluster, tasks=[task])["tasks"][0]
        return found if found["lastStatus"] == "STOPPED" else None

    return eventually(stopped, 60)


def printed(stack, task: dict) -> str:
    name = f"t/main/{task['taskArn'].rpartition('/')[2]}"
    events = stack.logs.get_log_events(logGroupName=stack.log_group, logStreamName=name)["events"]
    return "\n".join(event["message"] for event in events)


def python(stack, code: str) -> dict:
    return stack.container(image="nexus-learn-worker:latest", command=["python", "-c", code])


def test_the_code_may_do_what_its_task_role_grants_and_nothing_else(account, stack):
    role = account.role(allow("secretsmanager:GetSecretValue", on=account.secrets["mine"]), trusts=TASKS)
    starts = account.role(*writes(stack), trusts=TASKS)
    code = f"{SECRET.format('mine')}\n{SECRET.format('theirs')}"
    definition = stack.register(python(stack, code), taskRoleArn=role, executionRoleArn=starts)
    task = ended(stack, definition)
    output = printed(stack, task)
    assert task["containers"][0]["exitCode"] == 1
    assert "value of mine" in output
    assert "AccessDeniedException" in output
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.rpartition('/')[2]}/{task['taskArn'].rpartition('/')[2]}"
    assert f"User: {session} is not authorized to perform: secretsmanager:GetSecretValue" in output
    assert account.secrets["theirs"] in output


def test_the_code_has_no_credentials_without_a_task_role(account, stack):
    starts = account.role(*writes(stack), trusts=TASKS)
    task = ended(stack, stack.register(python(stack, SECRET.format("mine")), executionRoleArn=starts))
    assert "NoCredentialsError" in printed(stack, task)


def test_credentials_end_with_their_task(account, stack):
    role = account.role(allow("iam:ListUsers"), trusts=TASKS)
    starts = account.role(*writes(stack), trusts=TASKS)
    code = (
        "import boto3; one = boto3.Session().get_credentials().get_frozen_credentials(); "
        "boto3.client('iam').list_users(); print(one.access_key, one.secret_key, one.token)"
    )
    task = ended(stack, stack.register(python(stack, code), taskRoleArn=role, executionRoleArn=starts))
    keys = printed(stack, task).split()
    assert len(keys) == 3
    caller = Caller(account.sandbox.endpoint, *keys)
    eventually(lambda: outcome(lambda: caller("iam").list_users()) == "InvalidClientTokenId")


PROTECT = """import os, urllib.error, urllib.request
address = os.environ["ECS_AGENT_URI"] + "/task-protection/v1/state"
try:
    print(urllib.request.urlopen(urllib.request.Request(address, b'{"ProtectionEnabled": true}', method="PUT")).read())
except urllib.error.HTTPError as error:
    print(error.code, error.read())
"""


@pytest.mark.parametrize("cluster", ["own", "other"])
def test_the_agent_protects_a_task_as_its_task_role(account, stack, cluster):
    name = stack.cluster if cluster == "own" else "other"
    tasks = f"arn:aws:ecs:*:{ACCOUNT}:task/{name}/*"
    role = account.role(allow("ecs:UpdateTaskProtection", on=tasks), trusts=TASKS)
    starts = account.role(*writes(stack), trusts=TASKS)
    task = ended(stack, stack.register(python(stack, PROTECT), taskRoleArn=role, executionRoleArn=starts))
    output = printed(stack, task)
    if cluster == "own":
        assert '"TASK_NOT_VALID"' in output  # ECS's own answer to a task that belongs to no service
    else:
        assert output.startswith("400 ")
        assert '"Code": "AccessDeniedException"' in output
        assert f"not authorized to perform: ecs:UpdateTaskProtection on resource: {task['taskArn']} because" in output


def secret_of(stack, arn: str) -> dict:
    return stack.container("echo $TOKEN", secrets=[{"name": "TOKEN", "valueFrom": arn}])


def test_a_task_starts_when_its_execution_role_may_read_the_secret(account, stack):
    reads = allow("secretsmanager:GetSecretValue", on=account.secrets["mine"])
    starts = account.role(*writes(stack, reads), trusts=TASKS)
    task = ended(stack, stack.register(secret_of(stack, account.secrets["mine"]), executionRoleArn=starts))
    assert printed(stack, task) == "value of mine"


@pytest.mark.parametrize("missing", ["secret", "logs", "trust", "other account"])
def test_a_task_whose_execution_role_lacks_something_stops_and_says_why(account, stack, missing):
    reads = allow("secretsmanager:GetSecretValue", on=account.secrets["theirs" if missing == "secret" else "mine"])
    starts = account.role(
        *([reads] if missing == "logs" else writes(stack, reads)),
        trusts={"Service": "lambda.amazonaws.com"} if missing == "trust" else TASKS,
        conditions={"StringEquals": {"aws:SourceAccount": "1" * 12}} if missing == "other account" else None,
    )
    task = ended(stack, stack.register(secret_of(stack, account.secrets["mine"]), executionRoleArn=starts))
    assert task["stopCode"] == "TaskFailedToStart"
    reason = task["stoppedReason"]
    if missing == "secret":
        assert reason.startswith("ResourceInitializationError: unable to pull secrets or registry auth")
        assert "AccessDeniedException: User: " in reason
        assert (
            f"secretsmanager:GetSecretValue on resource: {account.secrets['mine']} because no identity-based" in reason
        )
    elif missing == "logs":
        assert reason.startswith("ResourceInitializationError: failed to validate logger args")
        assert "is not authorized to perform: logs:CreateLogStream" in reason
    else:
        assert reason.startswith(f"ECS was unable to assume the role '{starts}'")
