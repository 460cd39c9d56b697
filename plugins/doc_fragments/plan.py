# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)


class ModuleDocFragment:
    """What all modules of this collection share."""

    DOCUMENTATION = r"""
options:
  adopt:
    description:
      - Resources that are taken over although their tags say that another stack, or nobody, owns them, each named as
        the refusal names it (V(ECS cluster nexus-learn-cluster)), or by a pattern (V(log group /ecs/nexus-learn/*)).
      - What is taken over is changed to what is asked for, its tags included. O(state=absent) does not delete it.
    type: list
    elements: str
    default: []
  lock:
    description:
      - The lock that is held while changes are made, so that two people do not run at once. One who finds it held is
        refused and told by whom. Left out, none is held. Check mode and a task that changes nothing do not look at it.
      - It belongs to the run of ansible-playbook when the callback P(nexus_learn.aws.run#callback) is enabled, which
        then writes the journal and releases it, and otherwise to the task.
      - It is an object in S3 that is written by conditional requests, see
        U(https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html).
    type: dict
    suboptions:
      bucket:
        description:
          - Name of the bucket. V({account_id}), V({region}) and V({partition}) in it stand for those of the
            credentials and of O(region).
        type: str
        required: true
      enabled:
        description: Whether to hold the lock.
        type: bool
        default: true
      lease:
        description:
          - Seconds without a sign of life after which others may take the lock over. A run gives one every minute, or
            thrice in a shorter lease.
        type: int
        default: 900
      run_id:
        description: The run that the lock belongs to. The collection sets it for tasks that run on another host.
        type: str
attributes:
  check_mode:
    description: Makes no write call and returns what a real run would, with predicted names and ARNs.
    support: full
  diff_mode:
    description: Returns before and after of every field that changes.
    support: full
notes:
  - Returns C(changes), one entry per changed field with C(resource), C(action) (create, update, replace or delete),
    C(path), C(before), C(after), C(impact) (in-place, disruptive or replacement) and C(note).
  - Returns C(resources), what the task manages, each named as in C(changes), and C(billed), what of it costs by the
    month, before and after. The callback P(nexus_learn.aws.plan#callback) sums all of them up at the end of a run.
  - A failure after the plan was made returns it as C(planned); how much of it was carried out is not known. A refusal
    returns C(refused=true), and nothing was touched.
  - An option that is left out is not touched; one that is given is enforced.
  - A resource whose tags V(Project), V(Environment) and V(Region) are not those of O(tags) is never touched, unless
    O(adopt) names it. To change one is refused; O(state=absent) leaves it alone and says so in a warning.
  - On a local connection the module runs inside ansible-playbook.
"""
