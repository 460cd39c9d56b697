# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)


class ModuleDocFragment:
    """What the modules for services that are deployed already share."""

    DOCUMENTATION = r"""
options:
  cluster:
    description: Name of the cluster.
    type: str
    required: true
  naming:
    description:
      - How services are called, with V(*) for the short name that is given here and used in messages; for example
        V(nexus-learn-*-service). V(*) takes whole names.
    type: str
    default: "*"
"""
