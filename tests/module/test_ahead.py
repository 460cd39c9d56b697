"""Questions asked ahead: the answers are those of this run, none is asked twice, and no file can break a run."""

from __future__ import annotations

import json

import botocore.exceptions
import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws
from ansible_collections.nexus_learn.aws.plugins.plugin_utils import ahead as module_of_ahead
from ansible_collections.nexus_learn.aws.plugins.plugin_utils.ahead import Ahead

DOCUMENT = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}


@pytest.fixture(scope="module")
def there(sandbox) -> None:
    """60 log groups, which are two pages; a role with a policy, which botocore decodes; two things without a policy."""
    for number in range(60):
        sandbox.client("logs").create_log_group(logGroupName=f"/ahead/{number:02}")
    iam = sandbox.client("iam")
    iam.create_role(RoleName="ahead", AssumeRolePolicyDocument=json.dumps(DOCUMENT))
    iam.put_role_policy(RoleName="ahead", PolicyName="p", PolicyDocument=json.dumps(DOCUMENT))
    sandbox.client("s3").create_bucket(Bucket="ahead")
    sandbox.client("ecr").create_repository(repositoryName="ahead")


@pytest.fixture
def run(sandbox, there, module, monkeypatch, tmp_path):
    """run() -> (answers, operations that went over the wire in this run)."""

    def once(file=tmp_path / "questions.json", between=lambda: None):
        aws = Aws({"region": "us-east-1"})
        ahead = Ahead(aws, file)
        sent = asked_ahead(aws, ahead)
        between()
        answers = questions(aws)
        ahead.keep()
        return answers, sorted(name.rpartition(".")[2] for name in sent)

    return once


def asked_ahead(aws: Aws, ahead: Ahead) -> list[str]:
    """The requests that are sent, of now and of later, once all that is asked ahead has an answer."""
    sent: list[str] = []
    prepare = aws.prepare

    def watch(client):
        prepare(client)
        client.meta.events.register("before-send", lambda request, event_name, **_: sent.append(event_name))

    aws.prepare = watch
    ahead.start()
    ahead._pool.shutdown(wait=True)
    return sent


def questions(aws: Aws) -> dict:
    s3, ecr = aws.client("s3"), aws.client("ecr")
    found = aws.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix="/ahead/")
    answers = {
        "groups": [group["logGroupName"] for group in found],
        "policy": aws.client("iam").get_role_policy(RoleName="ahead", PolicyName="p")["PolicyDocument"],
        "role": aws.client("iam").get_role(RoleName="ahead")["Role"]["AssumeRolePolicyDocument"],
    }
    with pytest.raises(s3.exceptions.ClientError, match="NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket="ahead")
    with pytest.raises(ecr.exceptions.RepositoryPolicyNotFoundException):
        ecr.get_repository_policy(repositoryName="ahead")
    return answers


def test_the_second_run_has_all_answers_with_not_a_call_more(run):
    answers, sent = run()
    assert len(answers["groups"]) == 60
    assert answers["policy"] == answers["role"] == DOCUMENT
    assert sent == ["DescribeLogGroups"] * 2 + ["GetBucketPolicy", "GetRepositoryPolicy", "GetRole", "GetRolePolicy"]
    for _ in range(2):
        assert run() == (answers, sent)


def test_what_was_asked_ahead_is_not_sent_again(run, sandbox):
    run()
    iam = sandbox.client("iam")
    try:
        answers, _ = run(between=lambda: iam.delete_role_policy(RoleName="ahead", PolicyName="p"))
        assert answers["policy"] == DOCUMENT
    finally:
        iam.put_role_policy(RoleName="ahead", PolicyName="p", PolicyDocument=json.dumps(DOCUMENT))


def test_an_answer_that_has_lain_too_long_is_asked_for_again(run, sandbox, monkeypatch):
    """Somebody else may have changed things while a step of the plan waited for an end of theirs."""
    run()
    monkeypatch.setattr(module_of_ahead, "GOOD_FOR", 0)
    iam = sandbox.client("iam")
    other = {**DOCUMENT, "Statement": [{**DOCUMENT["Statement"][0], "Action": "s3:PutObject"}]}
    try:
        put = {"RoleName": "ahead", "PolicyName": "p", "PolicyDocument": json.dumps(other)}
        answers, _ = run(between=lambda: iam.put_role_policy(**put))
        assert answers["policy"] == other
    finally:
        iam.put_role_policy(RoleName="ahead", PolicyName="p", PolicyDocument=json.dumps(DOCUMENT))


def test_where_nobody_answers_it_is_not_tried_twice_over(run, tmp_path, monkeypatch):
    run()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    aws = Aws({"region": "us-east-1", "aws_config": {"retries": {"total_max_attempts": 1}}})
    ahead = Ahead(aws, tmp_path / "questions.json")
    sent = asked_ahead(aws, ahead)
    count = len(sent)
    with pytest.raises(botocore.exceptions.EndpointConnectionError):
        aws.client("iam").get_role(RoleName="ahead")
    assert len(sent) == count > 0


def test_an_answer_is_used_once(sandbox, run, tmp_path):
    run()
    aws = Aws({"region": "us-east-1"})
    Ahead(aws, tmp_path / "questions.json").start()
    iam = aws.client("iam")
    assert iam.get_role(RoleName="ahead")["Role"].get("Description", "") == ""
    sandbox.client("iam").update_role(RoleName="ahead", Description="new")
    try:
        assert iam.get_role(RoleName="ahead")["Role"]["Description"] == "new"
    finally:
        sandbox.client("iam").update_role(RoleName="ahead", Description="")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[1]",
        '[{"service": "iam"}]',
        '[{"service": "iam", "operation": 5, "params": {}, "pages": false}]',
        '[{"service": "nothing", "operation": "GetNothing", "params": {}, "pages": false}]',
        '[{"service": "iam", "operation": "GetRole", "params": {"RoleName": 3}, "pages": false}]',
        '[{"service": "iam", "operation": "GetRole", "params": {"RoleName": "gone"}, "pages": true}]',
        '[{"service": "iam", "operation": "DeleteRole", "params": {"RoleName": "ahead"}, "pages": false}]',
    ],
)
def test_whatever_the_file_holds_the_answers_are_right(run, tmp_path, content):
    (tmp_path / "questions.json").write_text(content)
    answers, sent = run()
    assert answers["policy"] == DOCUMENT
    assert "DeleteRole" not in sent
    assert {one["operation"] for one in json.loads((tmp_path / "questions.json").read_text())} == {
        "DescribeLogGroups",
        "GetBucketPolicy",
        "GetRepositoryPolicy",
        "GetRole",
        "GetRolePolicy",
    }


def test_a_file_that_cannot_be_written_is_done_without(run, tmp_path):
    (tmp_path / "folder").write_text("")
    assert len(run(tmp_path / "folder" / "questions.json")[0]["groups"]) == 60
