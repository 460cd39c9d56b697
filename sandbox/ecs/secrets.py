"""Values for `secrets` and `environmentFiles` of a container, from the sandbox's own Secrets Manager, SSM and S3.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
"""

import json

from botocore.exceptions import ClientError

from .errors import StartFailure

PREFIX = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "
ASM = PREFIX + "unable to retrieve secret from asm: service call has been retried 1 time(s): "
SSM = PREFIX + "unable to retrieve secrets from ssm: service call has been retried 1 time(s): "


class Secrets:
    """Resolves `valueFrom` for one task; every secret is fetched once.

    client(service, region) makes the calls: on Fargate the agent makes them as the task's execution role.
    """

    def __init__(self, client, region: str):
        self.client, self.region = client, region
        self._fetched: dict[tuple, str] = {}

    def value(self, value_from: str) -> str:
        """The value behind a secret's ARN[:json-key:version-stage:version-id], a parameter's ARN or its name.

        Raises StartFailure with the words of ECS when there is no such secret, version or key.
        """
        parts = value_from.split(":")
        if len(parts) > 6 and parts[2] == "secretsmanager":
            key, stage, version = ([*parts[7:], "", "", ""])[:3]
            text = self._secret(":".join(parts[:7]), parts[3], stage, version)
            return self._json_key(text, key) if key else text
        if len(parts) > 5 and parts[2] == "ssm":
            name = parts[5].removeprefix("parameter")
            return self._parameter(name if "/" in name[1:] else name.lstrip("/"), parts[3])
        return self._parameter(value_from, self.region)

    def _secret(self, arn: str, region: str, stage: str, version: str) -> str:
        wanted = (arn, stage, version)
        if wanted not in self._fetched:
            extra = {k: v for k, v in (("VersionStage", stage), ("VersionId", version)) if v}
            try:
                answer = self.client("secretsmanager", region).get_secret_value(SecretId=arn, **extra)
            except ClientError as error:
                code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
                raise StartFailure(
                    f"{ASM}failed to fetch secret {arn} from secrets manager: {code}: {message}"
                ) from None
            self._fetched[wanted] = answer.get("SecretString") or answer["SecretBinary"].decode()
        return self._fetched[wanted]

    def _json_key(self, text: str, key: str) -> str:
        try:
            values = json.loads(text)
        except ValueError:
            raise StartFailure(f"{ASM}the secret's value is not JSON, so it has no key {key}") from None
        if not isinstance(values, dict) or key not in values:
            raise StartFailure(f"{ASM}retrieved secret from Secrets Manager did not contain json key {key}")
        return values[key] if isinstance(values[key], str) else json.dumps(values[key])

    def _parameter(self, name: str, region: str) -> str:
        try:
            answer = self.client("ssm", region).get_parameter(Name=name, WithDecryption=True)
        except ClientError as error:
            if error.response["Error"]["Code"] == "AccessDeniedException":
                raise StartFailure(f"{SSM}AccessDeniedException: {error.response['Error']['Message']}") from None
            raise StartFailure(f"{SSM}invalid ssm parameters: {name}") from None
        return answer["Parameter"]["Value"]


class EnvironmentFiles:
    """Reads environment files for one task; every file is fetched once."""

    def __init__(self, client, region: str):
        self.client, self.region = client, region
        self._fetched: dict[str, str] = {}

    def variables(self, files: list[dict]) -> dict[str, str]:
        """The variables of all files; the first file that has one wins. Raises StartFailure for a missing file."""
        found: dict[str, str] = {}
        for file in files:
            for line in self._text(file["value"]).splitlines():
                name, equals, value = line.partition("=")
                if equals and not line.startswith("#"):
                    found.setdefault(name.strip(), value)
        return found

    def _text(self, arn: str) -> str:
        if arn not in self._fetched:
            bucket, _, key = arn.rpartition(":")[2].partition("/")
            try:
                answer = self.client("s3", self.region).get_object(Bucket=bucket, Key=key)
            except ClientError as error:
                code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
                raise StartFailure(
                    f"ResourceInitializationError: failed to download env files: file download command: {arn}: "
                    f"{code}: {message}"
                ) from None
            self._fetched[arn] = answer["Body"].read().decode()
        return self._fetched[arn]
