"""A private bucket."""

from __future__ import annotations

from collections.abc import Sequence

from cdktf import TerraformProvider
from cdktf_cdktf_provider_aws.s3_bucket import S3Bucket
from cdktf_cdktf_provider_aws.s3_bucket_ownership_controls import (
    S3BucketOwnershipControls,
    S3BucketOwnershipControlsRule,
)
from cdktf_cdktf_provider_aws.s3_bucket_policy import S3BucketPolicy
from cdktf_cdktf_provider_aws.s3_bucket_public_access_block import S3BucketPublicAccessBlock
from cdktf_cdktf_provider_aws.s3_bucket_server_side_encryption_configuration import (
    S3BucketServerSideEncryptionConfigurationA,
    S3BucketServerSideEncryptionConfigurationRuleA,
    S3BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultA,
)
from cdktf_cdktf_provider_aws.s3_bucket_versioning import (
    S3BucketVersioningA,
    S3BucketVersioningVersioningConfiguration,
)
from constructs import Construct

from infra.constructs import policy
from infra.constructs.accepted import accept

accept(
    "aws_s3_bucket",
    {
        "CKV_AWS_145": "encrypted with S3's own key; a customer managed key would require permissions for each reader",
        "CKV_AWS_18": "CloudTrail's data events have more details than an access log",
    },
)


_SSE_S3 = S3BucketServerSideEncryptionConfigurationRuleA(
    apply_server_side_encryption_by_default=(
        S3BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultA(sse_algorithm="AES256")
    )
)


class PrivateBucket(Construct):
    """A bucket that is private, versioned and encrypted, without ACLs, and accessible only over TLS.

    A bucket has only one policy, so call `restrict` exactly once.

    Arguments:
        provider: of the bucket's Region, if it is not the stack's.
    """

    def __init__(
        self, scope: Construct, id_: str, *, name: str, force_destroy: bool, provider: TerraformProvider | None = None
    ) -> None:
        super().__init__(scope, id_)
        self._provider = provider
        self.bucket = S3Bucket(self, "bucket", bucket=name, force_destroy=force_destroy, provider=provider)
        self.id = self.bucket.id
        self.name = self.bucket.bucket
        self.arn = self.bucket.arn
        self.versioning = S3BucketVersioningA(
            self,
            "versioning",
            bucket=self.id,
            versioning_configuration=S3BucketVersioningVersioningConfiguration(status="Enabled"),
            provider=provider,
        )
        S3BucketOwnershipControls(
            self,
            "ownership",
            bucket=self.id,
            rule=S3BucketOwnershipControlsRule(object_ownership="BucketOwnerEnforced"),
            provider=provider,
        )
        S3BucketServerSideEncryptionConfigurationA(
            self,
            "encryption",
            bucket=self.id,
            rule=[_SSE_S3],
            provider=provider,
        )
        self._public_access_block = S3BucketPublicAccessBlock(
            self,
            "public-access-block",
            bucket=self.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            provider=provider,
        )

    def restrict(self, statements: Sequence[policy.Statement]) -> S3BucketPolicy:
        """Set the bucket's policy: the given statements, and a denial of requests without TLS."""
        tls_only = policy.Statement(
            "TlsOnly",
            ["s3:*"],
            [self.arn, f"{self.arn}/*"],
            effect="Deny",
            principals="*",
            conditions={"Bool": {"aws:SecureTransport": "false"}},
        )
        return S3BucketPolicy(
            self,
            "policy",
            bucket=self.id,
            policy=policy.document(*statements, tls_only),
            provider=self._provider,
            # S3 refuses concurrent changes to a bucket's access settings.
            depends_on=[self._public_access_block],
        )
