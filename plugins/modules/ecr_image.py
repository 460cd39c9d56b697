#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: ecr_image
short_description: Build an image and push it to ECR
version_added: 1.0.0
description:
  - Builds a folder with docker, podman or buildah, has it scanned by trivy or grype where one of them is installed, and
    pushes it to a repository of ECR. Its tag is the hash of the files that git would take of the folder, so that the
    same content is built and pushed once. Other files of the folder are not part of the build.
  - The credentials of the registry are in a temporary file for as long as the push takes, and nowhere else.
author: Nexus Learn platform team
options:
  repository_name:
    description: Name of the repository in ECR. It must be there.
    type: str
    required: true
  repository_uri:
    description: Where the repository will be, in a check in which it is foreseen and not there yet.
    type: str
  context:
    description: The folder to build, with a C(Dockerfile) in it.
    type: path
    required: true
  cpu_architecture:
    description: What to build it for. The tag of an V(ARM64) image ends with C(-arm64).
    type: str
    choices: [X86_64, ARM64]
    default: X86_64
  builder:
    description: V(auto) takes the first that can work of docker, podman and buildah.
    type: str
    choices: [auto, docker, podman, buildah]
    default: auto
  build_options:
    description:
      - More options of the builder's C(build), for example V(--build-arg) and its value. They make another tag.
    type: list
    elements: str
    default: []
  scan_severity:
    description:
      - What the scan finds of this severity, or of a higher one, fails if it has a fix. V(none) scans nothing.
    type: str
    choices: [none, LOW, MEDIUM, HIGH, CRITICAL]
    default: HIGH
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - nexus_learn.aws.plan
"""

EXAMPLES = r"""
- name: Build the application with what is there, from a mirror's base image
  nexus_learn.aws.ecr_image:
    repository_name: nexus-learn-worker
    context: worker
    build_options: [--build-arg, "BASE=public.ecr.aws/docker/library/python:3.13-slim"]
"""

RETURN = r"""
repository_uri:
  description: The repository, as task definitions name it.
  returned: success
  type: str
  sample: 123456789012.dkr.ecr.us-east-1.amazonaws.com/nexus-learn-worker
image_tag:
  description: The tag that the content makes.
  returned: success
  type: str
  sample: 3f1c2b7a9d0e4f56
image_digest:
  description: Digest of the image that has it; null in check mode before it is pushed.
  returned: success
  type: str
scanner:
  description: What scans images here before they are pushed; null if nothing does.
  returned: success
  type: str
  sample: trivy
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import ecr_image
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main

SPEC = {
    "argument_spec": {
        "repository_name": {"type": "str", "required": True},
        "repository_uri": {"type": "str"},
        "context": {"type": "path", "required": True},
        "cpu_architecture": {"type": "str", "choices": list(ecr_image.PLATFORMS), "default": "X86_64"},
        "builder": {"type": "str", "choices": ["auto", *ecr_image.BUILDERS], "default": "auto"},
        "build_options": {"type": "list", "elements": "str", "default": []},
        "scan_severity": {"type": "str", "choices": ["none", *ecr_image.SEVERITIES], "default": "HIGH"},
    }
}


def main():
    module_main(ecr_image, SPEC)


if __name__ == "__main__":
    main()
