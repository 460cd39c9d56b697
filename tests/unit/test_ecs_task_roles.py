"""What the roles make of an image's and a secret's name for the policies of the tasks' roles."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.nexus_learn.aws.plugins.module_utils import engine

ROLES = Path(engine.__file__).parents[2] / "roles"
LOADER = DataLoader()
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nexus-learn/model-AbCdEf"


def evaluated(value, **variables):
    return Templar(loader=LOADER, variables=variables).template(value)


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/team/worker:1",
            [["123456789012", "us-east-1", "team/worker"]],
        ),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/w@sha256:0", [["123456789012", "cn-north-1", "w"]]),
        ("nexus-learn-worker:latest", []),
        ("docker.io/library/redis:7", []),
    ],
)
def test_an_image_of_ecr_is_told_from_others(image, found):
    values = LOADER.load_from_file(str(ROLES / "ecs_task_roles/vars/main.yml"), trusted_as_template=True)
    ecr = evaluated(values["ecs_task_roles__ecr"], ecs_task_roles_image=image)
    assert [list(one) for one in ecr] == found


@pytest.mark.parametrize("role", ["ecs_backend", "ecs_celery_worker", "ecs_celery_beat"])
def test_a_secret_s_key_and_version_are_no_part_of_its_arn(role):
    (task,) = LOADER.load_from_file(str(ROLES / role / "tasks/iam.yml"), trusted_as_template=True)
    arns = evaluated(
        task["vars"]["ecs_task_roles_secret_arns"],
        elasticache__output={"secret_arn": "arn:of:redis"},
        **{f"{role}_secrets": {"A": SECRET, "B": f"{SECRET}:key::", "C": f"{SECRET}:key:AWSPREVIOUS:"}},
    )
    assert list(arns) == ["arn:of:redis", SECRET]
