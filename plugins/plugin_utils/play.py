# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a play is going to do after one of its tasks, as far as that can be told without doing it."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from ansible.playbook import Playbook
from ansible.playbook.block import Block
from ansible.playbook.task import Task

# They touch nothing outside the play.
_HARMLESS = {"ansible.builtin.debug", "ansible.builtin.meta"}
_COLLECTION = "nexus_learn.aws."
_PLAN = f"{_COLLECTION}plan"


class Unforeseeable(Exception):
    """A task of the play is of a kind whose effect cannot be told in advance; the text says which."""


def first_play(playbook: str, task: Task, task_vars: Mapping[str, Any], loader: Any) -> tuple[Task, dict[str, Any]]:
    """The task of another playbook's first play that plans it, and the variables that it would have there.

    Loaded within a run of ``task``'s play: inventory, extra variables and options are the same.
    """
    manager = task.get_variable_manager()
    here = loader.get_basedir()
    try:
        play = Playbook.load(playbook, variable_manager=manager, loader=loader).get_plays()[0]
    finally:
        loader.set_basedir(here)
    first = next(one for block in play.compile() for one in _tasks(block) if one.resolved_action == _PLAN)
    host = manager._inventory.get_host(task_vars["inventory_hostname"])
    return first, {**task_vars, **manager.get_vars(play=play, host=host, task=first)}


def following(
    task: Task, task_vars: Mapping[str, Any], templar: Any
) -> Generator[tuple[Task, Any], dict[str, Any], Any]:
    """The tasks after ``task`` that call modules of this collection and that tags and conditions select.

    Each comes with a templar that knows its variables. The result of one has to be sent back: it is a variable for
    those that follow, under the name that the task registers. Returns a templar that knows all of them.
    """
    play = task.play
    known = dict(task_vars)
    tasks = [one for block in play.compile() for one in _tasks(block)]
    place = next(number for number, one in enumerate(tasks) if one._uuid == task._uuid)
    for one in tasks[place + 1 :]:
        selected = one.evaluate_tags(play.only_tags, play.skip_tags, all_vars=task_vars)
        if not selected or one.resolved_action in _HARMLESS:
            continue
        variables = {**known, **one.get_vars(), "ansible_search_path": one.get_search_path()}
        own = templar.copy_with_new_env(available_variables=variables)
        if not all(own.evaluate_conditional(condition) for condition in one.when):
            continue
        if one.resolved_action == "ansible.builtin.assert":
            # one that will fail has its say when the play comes to it
            if all(own.evaluate_conditional(condition) for condition in _listed(one.args["that"])):
                continue
            raise Unforeseeable(one.get_name())
        if not (one.resolved_action or "").startswith(_COLLECTION) or one.loop or one.delegate_to or one.until:
            raise Unforeseeable(one.get_name())
        result = yield one, own
        # ansible-core 2.21 has a mapping of names there
        for name in [one.register] if isinstance(one.register, str) else one.register or []:
            known[name] = result
    return templar.copy_with_new_env(available_variables=known)


def _listed(value: Any) -> list:
    return value if isinstance(value, list) else [value]


def _tasks(block: Block) -> Iterator[Task]:
    """What runs when nothing fails."""
    for one in [*block.block, *block.always]:
        if isinstance(one, Block):
            yield from _tasks(one)
        else:
            yield one
