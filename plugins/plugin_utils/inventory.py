# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory's variables and the roles' inputs that are made of them: evaluated and checked, all at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.nexus_learn.aws.plugins.module_utils import validation
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import known_regions

ROLES = Path(__file__).resolve().parents[2] / "roles"


def checked(
    templar: Any, loader: Any, task_vars: Mapping[str, Any], roles: Iterable[str]
) -> tuple[dict[str, Any], list[str]]:
    """The values of the variables, and what is wrong with them, a sentence each.

    ``roles`` are those whose inputs are checked too. Ansible would do it as it comes to each of them, after those
    before it have changed things.
    """
    wrong: list[str] = []
    values = _evaluated(templar, task_vars, validation.SPEC, wrong)
    wrong = wrong or validation.errors(values, known_regions())
    for role in roles if not wrong else ():
        specs = loader.load_from_file(str(ROLES / role / "meta/argument_specs.yml"), cache="all")
        spec = specs["argument_specs"]["main"]["options"]
        inputs = _evaluated(templar, task_vars, spec, wrong)
        wrong += [f"{role}: {message}." for message in ArgumentSpecValidator(spec).validate(inputs).error_messages]
        values |= inputs
    return values, wrong


def _evaluated(templar: Any, task_vars: Mapping, names: Iterable[str], wrong: list[str]) -> dict[str, Any]:
    values = {}
    for name in names:
        if name in task_vars:
            try:
                values[name] = templar.template(task_vars[name])
            except AnsibleError as error:
                wrong.append(f"{name} cannot be evaluated: {error}")
    return values
