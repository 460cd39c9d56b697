# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The base of this collection's action plugins: run the module of the same name inside the controller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import enter, full_spec
from ansible_collections.nexus_learn.aws.plugins.module_utils.lock import lend


class AggregateAction(ActionBase):
    """On a local connection the engine runs in this process: no module to ship, no SDK to import again.

    A forked module that imports boto3 costs about 0.65 s; a task that is delegated to another host still gets one.
    """

    TRANSFERS_FILES = False
    aggregate: ClassVar[Any]
    spec: ClassVar[dict[str, Any]]

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        if self._connection.transport not in ("local", "ansible.builtin.local"):
            args = dict(self._task.args) if self._task.check_mode else lend(self._task.args)
            return {**result, **self._execute_module(module_args=args, task_vars=task_vars)}
        outcome = self.here(self._task.args, check_mode=self._task.check_mode)
        if not self._task.diff:
            outcome.pop("diff", None)
        return {**result, **outcome}

    @classmethod
    def here(cls, args: Mapping[str, Any], *, check_mode: bool, aws: Aws | None = None) -> dict[str, Any]:
        """The module's result, of a run in this process. ``aws`` is shared by those that run one after another."""
        params, wrong = cls.valid(args)
        if wrong:
            return {"failed": True, "msg": "; ".join(wrong)}
        show = Display().display
        return enter(
            cls.aggregate,
            params,
            check_mode=check_mode,
            say=lambda line: show(f"    {line}"),
            aws=aws,
        )

    @classmethod
    def valid(cls, args: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The arguments with their types and defaults, and what is wrong with them."""
        validation = ArgumentSpecValidator(**full_spec(cls.spec)).validate(_plain(args))
        return validation.validated_parameters, validation.error_messages


def _plain(value: Any) -> Any:
    """Without Ansible's notes of where each value is from: the validation copies values, and those take much longer."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value
