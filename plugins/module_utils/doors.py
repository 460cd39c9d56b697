# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two doors to one engine: ``module_main`` for an ordinary module, ``enter`` for the action plugin of the same name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

try:
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    BotoCoreError = ClientError = ()

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.amazon.aws.plugins.module_utils.botocore import HAS_BOTO3
from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleBotocoreError
from ansible_collections.amazon.aws.plugins.module_utils.modules import aws_argument_spec
from ansible_collections.nexus_learn.aws.plugins.module_utils import aws as aws_module
from ansible_collections.nexus_learn.aws.plugins.module_utils import engine
from ansible_collections.nexus_learn.aws.plugins.module_utils import lock as lock_module

# What every module of this collection takes; documented in doc_fragments/plan.py.
COMMON = {"adopt": {"type": "list", "elements": "str", "default": []}, "lock": lock_module.OPTION}


def full_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A module's own SPEC (arguments of AnsibleModule) with the common and amazon.aws's connection options added."""
    return {**spec, "argument_spec": {**aws_argument_spec(), **COMMON, **spec["argument_spec"]}}


def enter(
    aggregate: Any, params: Mapping[str, Any], *, check_mode: bool, say: engine.Say, aws: aws_module.Aws | None = None
) -> dict[str, Any]:
    """Run the aggregate; every expected failure becomes ``failed`` and a ``msg`` that a person can act on.

    ``aws``, where one process runs several aggregates of one account and region, spares them clients of their own.
    """
    if not HAS_BOTO3:
        return {"failed": True, "msg": missing_required_lib("boto3 and botocore")}
    try:
        # Plain types: templated values carry Ansible's tags, which botocore has no business with.
        params = json.loads(json.dumps(params))
        lock = lock_module.Lock(params) if (params.get("lock") or {}).get("enabled") else None
        result = engine.run(aggregate, aws or aws_module.Aws(params), params, check_mode=check_mode, say=say, lock=lock)
        return json.loads(json.dumps(result, default=str))
    except engine.Refused as error:
        return {"failed": True, "msg": str(error), "refused": True, **_planned(error)}
    except engine.Failed as error:
        undone = {} if error.undone is None else {"undone": error.undone}
        return {"failed": True, "msg": str(error), **_planned(error), **undone}
    except (BotoCoreError, ClientError) as error:
        message = aws_module.explain(error)
        return {"failed": True, "msg": message, "error_code": aws_module.error_code(error), **_planned(error)}
    except AnsibleBotocoreError as error:
        return {"failed": True, "msg": str(error)}


def _planned(error: Exception) -> dict[str, Any]:
    """What was to be changed when it failed, if it came that far; how much of it was, nobody knows but AWS."""
    planned = getattr(error, "planned", None)
    return {} if planned is None else {"planned": json.loads(json.dumps(planned, default=str))}


def module_main(aggregate: Any, spec: Mapping[str, Any]) -> None:
    """``main()`` of a module: a task that is delegated to another host enters here."""
    module = AnsibleModule(supports_check_mode=True, **full_spec(spec))
    result = enter(aggregate, module.params, check_mode=module.check_mode, say=module.debug)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)
