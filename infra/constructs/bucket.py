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
        "CKV_AWS_145": "S3's own key; with a customer key a reader would need rights to the key too",
        "CKV_AWS_18": "CloudTrail's data events say more than an access log",
    },
)


_SSE_S3 = S3BucketServerSideEncryptionConfigurationRuleA(
    apply_server_side_encryption_by_default=(
        S3BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultA(sse_algorithm="AES256")
    )
)


class PrivateBucket(Construct):
    """A bucket that is private, versioned, encrypted, owner-enforced and takes TLS only.

    Its policy is one resource, so it is set once, by `restrict`.

    Arguments:
        provider: of another Region, if it stands there.
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
        """Set the bucket's policy: the statements, and that everything else must come over TLS."""
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
            # S3 refuses two changes to a bucket's access at once.
            depends_on=[self._public_access_block],
        )
