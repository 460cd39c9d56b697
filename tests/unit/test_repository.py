"""The house rules that a person would forget: parity of defaults, specs and documentation, and what never goes in."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.nexus_learn.aws.plugins.doc_fragments import service as service_fragment
from ansible_collections.nexus_learn.aws.plugins.doc_fragments.plan import ModuleDocFragment
from ansible_collections.nexus_learn.aws.plugins.module_utils import doors, validation, verify_tasks

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.parent.parent for path in ROOT.glob("roles/*/meta/argument_specs.yml"))
# controller-side only, documented and without a module of their own
ACTIONS = ("plan", "validate", "verify")
MODULES = sorted(path.stem for path in ROOT.glob("plugins/modules/*.py") if path.stem not in ACTIONS)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_and_argument_specs_name_the_same_variables(role):
    spec = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text())
    assert sorted(spec) == sorted(defaults)
    assert all(name.startswith(f"{role.name}_") for name in spec)


def test_a_default_that_stands_outside_its_role_is_the_same_there():
    """What other roles or the inventory's checks need to know of a role's input that nobody has set."""
    defaults = {}
    for role in ROLES:
        defaults |= yaml.safe_load((role / "defaults/main.yml").read_text())
    stack = (ROOT / "playbooks/vars/stack.yml").read_text()
    copies = [(name, ast.literal_eval(value)) for name, value in re.findall(r"(\w+) \| default\((\d+|'')\)", stack)]
    copies += [(name, option["default"]) for name, option in validation.SPEC.items() if "default" in option]
    copies = [(name, value) for name, value in copies if name in defaults]
    assert {"elasticache_port", "ecs_backend_port", "elasticache_snapshot_window"} <= {name for name, _ in copies}
    assert copies == [(name, defaults[name]) for name, _ in copies]


def test_what_is_verified_of_a_shutdown_is_what_the_worker_does():
    settings, lifecycle = ((ROOT / f"worker/config/{name}.py").read_text() for name in ("settings", "lifecycle"))
    limits = {name: float(value) for name, value in re.findall(r'_number\("(\w+_TIME_LIMIT)", (\d+)\)', settings)}
    assert limits == verify_tasks.TIME_LIMITS
    assert f"VISIBILITY_TIMEOUT = {verify_tasks.VISIBILITY} * max(TIME_LIMIT.values())" in settings
    assert f"settings.STOP_TIMEOUT - {verify_tasks.HAND_BACK}," in lifecycle


def test_every_role_has_argument_specs():
    assert [role.name for role in ROLES] == sorted(path.name for path in ROOT.glob("roles/*"))


def test_role_readmes_are_up_to_date():
    result = subprocess.run(
        [sys.executable, ROOT / "scripts/role_readmes.py", "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout


def options_of(document: dict) -> dict:
    """Documented options in the form of an argument spec."""
    spec = {}
    for name, option in (document or {}).items():
        entry = {key: option[key] for key in ("type", "elements", "choices", "default", "required") if key in option}
        if "suboptions" in option:
            entry["options"] = options_of(option["suboptions"])
        spec[name] = entry
    return spec


def options_in(spec: dict) -> dict:
    keys = ("type", "elements", "choices", "default", "required")
    result = {}
    for name, option in spec.items():
        entry = {"type": "str", **{key: option[key] for key in keys if key in option}}
        if "options" in option:
            entry["options"] = options_in(option["options"])
        result[name] = entry
    return result


@pytest.mark.parametrize("name", MODULES)
def test_a_module_does_what_its_documentation_says(name):
    module = importlib.import_module(f"ansible_collections.nexus_learn.aws.plugins.modules.{name}")
    document = yaml.safe_load(module.DOCUMENTATION)
    documented = options_of(document["options"])
    if "nexus_learn.aws.service" in document["extends_documentation_fragment"]:
        documented |= options_of(yaml.safe_load(service_fragment.ModuleDocFragment.DOCUMENTATION)["options"])
    assert documented == json.loads(json.dumps(options_in(module.SPEC["argument_spec"])))


def test_what_all_modules_take_is_documented():
    assert options_of(yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]) == options_in(doors.COMMON)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_both_doors_and_its_place_in_the_action_group(name):
    action = importlib.import_module(f"ansible_collections.nexus_learn.aws.plugins.action.{name}")
    module = importlib.import_module(f"ansible_collections.nexus_learn.aws.plugins.modules.{name}")
    assert action.ActionModule.spec is module.SPEC
    assert name in yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["action_groups"]["own"]
    reads = module.SPEC["argument_spec"].get("state", {}).get("choices") == ["gathered"]
    for function in ("describe", "output") if reads else ("describe", "plan", "apply", "wait", "output", "resources"):
        assert callable(getattr(action.ActionModule.aggregate, function))


# They hold or tell what happened, or do once what they are asked for: nothing of theirs can drift.
VERBS = {
    "ecr_image",
    "ecs_service_count",
    "ecs_service_deployment",
    "ecs_service_status",
    "ecs_task_logs",
    "ecs_task_run",
}
TELL = {"deployment_lock", "deployment_journal", "diagnose", "ecs_rollout", "stack_leftovers"}


@pytest.mark.parametrize("name", sorted(set(MODULES) - VERBS - TELL))
def test_a_module_has_a_drift_case_for_each_option_and_is_tried_in_pairs(name):
    assert "every_option_drifts(MODULE" in (ROOT / f"tests/module/test_drift_{name}.py").read_text()
    assert "pair(" in (ROOT / f"tests/module/test_pairs_{name}.py").read_text()


def test_documentation_renders():
    result = subprocess.run(
        ["ansible-doc", "-t", "module", "-j", *(f"nexus_learn.aws.{name}" for name in MODULES)],
        capture_output=True,
        text=True,
        check=True,
    )
    rendered = json.loads(result.stdout)
    assert sorted(rendered) == [f"nexus_learn.aws.{name}" for name in MODULES]
    for document in rendered.values():
        assert document["examples"]
        assert document["return"]


def test_locks_hold_no_address_and_pin_everything():
    for lock in (ROOT / "requirements/dev.txt", ROOT / "requirements/redis.txt", ROOT / "worker/requirements.txt"):
        lines = [line for line in lock.read_text().splitlines() if line and not line.lstrip().startswith("#")]
        assert lines
        for line in lines:
            assert re.match(r"[A-Za-z0-9_.\[\],-]+==[^ ]+( ; .*)?$", line), line


def test_the_worker_lock_is_part_of_the_development_lock():
    pins = [
        dict(re.findall(r"^([a-z0-9_.-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))
        for lock in ("worker/requirements.txt", "requirements/dev.txt")
    ]
    assert {name: pins[1][name] for name in pins[0] if name in pins[1]} == {
        name: version for name, version in pins[0].items() if name in pins[1]
    }


def test_the_deployer_s_policies_stay_out_of_git_and_the_collection():
    """playbooks/deployer_policy.yml writes them to deployer/; they name the account."""
    assert "/deployer/" in (ROOT / ".gitignore").read_text().splitlines()
    assert "deployer" in yaml.safe_load((ROOT / "galaxy.yml").read_text())["build_ignore"]


def test_no_two_files_of_tests_have_one_name():
    """The folders of tests are no packages: pytest takes the second of them for the first."""
    names = [path.name for path in ROOT.glob("tests/*/test_*.py")]
    assert sorted(names) == sorted(set(names))


# They ask, or are an administrator's, or break something: nobody shall run them by a slip of the hand.
BY_NAME_ONLY = {"destroy", "unlock", "deployer_policy"}


@pytest.mark.parametrize("name", sorted({path.stem for path in ROOT.glob("playbooks/*.yml")} - BY_NAME_ONLY))
def test_a_playbook_is_a_target_of_make_that_says_what_it_does_and_takes_arguments(name):
    rules = re.findall(r"^([a-z-]+):[^\n]*?## (\S[^\n]*)\n\t@([^\n]*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [
        (target, help_) for target, help_, recipe in rules
        if re.search(rf"ansible-playbook .*playbooks/{name}\.yml", recipe) and recipe.endswith(" $(ARGS)")
    ]  # fmt: skip


def test_the_recipe_for_ci_names_what_there_is():
    """Playbooks, targets of make, folders, and for each playbook variables that it or vars/stack.yml knows."""
    recipe = (ROOT / "docs/ci.md").read_text()
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"(?:run: |^|`)make ([a-z-]+)", recipe, re.MULTILINE)
    assert {"test", "install"} <= set(named) <= set(targets)
    paths = re.findall(r"(?<![\w/.])((?:playbooks|inventories|policies|worker|docs)/[\w./-]*\w)", recipe)
    assert len(set(paths)) > 6
    assert [path for path in paths if not (ROOT / path).exists()] == []
    commands = re.findall(r"ansible-playbook (playbooks/\w+\.yml) (.*)", recipe)
    given = [(playbook, name) for playbook, rest in commands for name in re.findall(r"-e (\w+)=", rest)]
    given += [("playbooks/image.yml", name) for name in re.findall(r"`-e (?:'\{\")?(image_\w+)", recipe)]
    assert {"image_file", "image_tag", "account_id", "image_builder", "image_build_options"} <= {
        one for _, one in given
    }
    stack = (ROOT / "playbooks/vars/stack.yml").read_text()
    assert [(playbook, name) for playbook, name in given if name not in (ROOT / playbook).read_text() + stack] == []
    (workflow,) = re.findall(r"```yaml\n(.*?)```", recipe, re.DOTALL)
    assert sorted(yaml.safe_load(workflow)["jobs"]) == ["dev", "prod", "test"]
    (argument,) = set(re.findall(r"--build-arg\", \"(\w+)=", recipe))
    assert f"ARG {argument}=" in (ROOT / "worker/Dockerfile").read_text()
