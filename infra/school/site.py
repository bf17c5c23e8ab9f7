"""The website: a private bucket behind CloudFront. The API has the same domain name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from cdktf import AssetType, TerraformAsset
from cdktf_cdktf_provider_aws.cloudfront_distribution import (
    CloudfrontDistribution,
    CloudfrontDistributionCustomErrorResponse,
    CloudfrontDistributionDefaultCacheBehavior,
    CloudfrontDistributionDefaultCacheBehaviorFunctionAssociation,
    CloudfrontDistributionOrderedCacheBehavior,
    CloudfrontDistributionOrigin,
    CloudfrontDistributionOriginCustomHeader,
    CloudfrontDistributionOriginCustomOriginConfig,
    CloudfrontDistributionRestrictions,
    CloudfrontDistributionRestrictionsGeoRestriction,
    CloudfrontDistributionViewerCertificate,
)
from cdktf_cdktf_provider_aws.cloudfront_function import CloudfrontFunction
from cdktf_cdktf_provider_aws.cloudfront_origin_access_control import CloudfrontOriginAccessControl
from cdktf_cdktf_provider_aws.cloudfront_response_headers_policy import (
    CloudfrontResponseHeadersPolicy,
    CloudfrontResponseHeadersPolicyCustomHeadersConfig,
    CloudfrontResponseHeadersPolicyCustomHeadersConfigItems,
    CloudfrontResponseHeadersPolicyRemoveHeadersConfig,
    CloudfrontResponseHeadersPolicyRemoveHeadersConfigItems,
    CloudfrontResponseHeadersPolicySecurityHeadersConfig,
    CloudfrontResponseHeadersPolicySecurityHeadersConfigContentSecurityPolicy,
    CloudfrontResponseHeadersPolicySecurityHeadersConfigContentTypeOptions,
    CloudfrontResponseHeadersPolicySecurityHeadersConfigFrameOptions,
    CloudfrontResponseHeadersPolicySecurityHeadersConfigReferrerPolicy,
    CloudfrontResponseHeadersPolicySecurityHeadersConfigStrictTransportSecurity,
)
from cdktf_cdktf_provider_aws.s3_object import S3Object
from constructs import Construct

from infra.constructs import policy
from infra.constructs.accepted import accept
from infra.constructs.bucket import PrivateBucket
from infra.platform import Aws
from infra.school.api import Api
from infra.settings import Settings

accept(
    "aws_cloudfront_distribution",
    {
        "CKV2_AWS_42": "without a domain name, only CloudFront's certificate works; [site] domain_name sets a name",
        "CKV_AWS_174": "the minimum version can be set only with a custom certificate, and then it is TLS 1.2",
        "CKV2_AWS_47": "the backend does not use Java",
        "CKV_AWS_68": "the API throttles and requires CloudFront's key; a web ACL costs extra",
        "CKV_AWS_310": "the origins are in one Region; a failover would need a second table",
        "CKV_AWS_374": "access is not restricted by country",
        "CKV_AWS_86": "the API's access log has every request for records; the other files are public",
    },
)
accept(
    "aws_cloudfront_response_headers_policy",
    {"CKV_AWS_259": "it sets Strict-Transport-Security; only a domain's owner can request preloading"},
)
accept(
    "aws_s3_bucket",
    {
        "CKV_AWS_144": "an apply recreates the site",
        "CKV2_AWS_61": "it has five files, which Terraform replaces",
        "CKV2_AWS_62": "no process depends on the arrival of a site's file",
    },
    path="site/*",
)


SITE = Path(__file__).resolve().parents[2] / "site"
API_PATHS = ("/students", "/backup")
# Everything is loaded from the distribution's own domain. The pages have no inline scripts or styles.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_S3_HEADERS = ("x-amz-server-side-encryption", "x-amz-tagging-count", "x-amz-version-id")
_CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# AWS's managed policies (CloudFront Developer Guide, "Use managed cache policies" and "… origin request policies").
_CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"
_CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
_ALL_VIEWER_EXCEPT_HOST_HEADER = "b689b0a8-53d0-40ab-baf2-68738e2966ac"
_MISSING_PAGE = Path(__file__).with_name("missing_page.js")
# Maximum bytes of a function's code and characters of its name (CloudFront Developer Guide, "Quotas on CloudFront
# Functions"; API reference, CreateFunction).
_LARGEST_FUNCTION, _LONGEST_NAME = 10_240, 64
# Errors that CloudFront caches for 10 seconds by default (Developer Guide, "How CloudFront caches HTTP 4xx and 5xx
# status codes from your origin").
_CACHED_ERRORS = (400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504)
_TWO_YEARS = 2 * 365 * 24 * 3600


class Site(Construct):
    """The site's files, and the distribution that serves them and the API."""

    def __init__(self, scope: Construct, id_: str, *, platform: Aws, api: Api) -> None:
        super().__init__(scope, id_)
        settings = platform.settings
        site = settings.site
        self._bucket = PrivateBucket(self, "bucket", name=site.bucket_name, force_destroy=settings.force_destroy)
        self._upload()
        access = CloudfrontOriginAccessControl(
            self,
            "access",
            name=site.bucket_name,
            origin_access_control_origin_type="s3",
            signing_behavior="always",
            signing_protocol="sigv4",
        )
        common: dict[str, Any] = {
            "cached_methods": ["GET", "HEAD"],
            "viewer_protocol_policy": "redirect-to-https",
            "response_headers_policy_id": self._headers(site.bucket_name).id,
            "compress": True,
        }
        self._distribution = CloudfrontDistribution(
            self,
            "distribution",
            enabled=True,
            comment=site.distribution_name,
            tags={"Name": site.distribution_name},
            default_root_object="index.html",
            http_version="http2and3",
            is_ipv6_enabled=True,
            price_class=site.price_class,
            aliases=[site.domain_name] if site.domain_name else None,
            viewer_certificate=_certificate(settings),
            restrictions=CloudfrontDistributionRestrictions(
                geo_restriction=CloudfrontDistributionRestrictionsGeoRestriction(restriction_type="none")
            ),
            origin=[
                CloudfrontDistributionOrigin(
                    origin_id="site",
                    domain_name=self._bucket.bucket.bucket_regional_domain_name,
                    origin_access_control_id=access.id,
                ),
                CloudfrontDistributionOrigin(
                    origin_id="api",
                    domain_name=api.origin.domain_name,
                    origin_path=api.origin.path,
                    # CloudFront sends the key to API Gateway. The browser never receives it.
                    custom_header=[CloudfrontDistributionOriginCustomHeader(name="x-api-key", value=api.key_value)],
                    custom_origin_config=CloudfrontDistributionOriginCustomOriginConfig(
                        http_port=api.origin.http_port,
                        https_port=443,
                        origin_protocol_policy=api.origin.protocol_policy,
                        origin_ssl_protocols=["TLSv1.2"],
                    ),
                ),
            ],
            default_cache_behavior=CloudfrontDistributionDefaultCacheBehavior(
                target_origin_id="site",
                function_association=[
                    CloudfrontDistributionDefaultCacheBehaviorFunctionAssociation(
                        event_type="viewer-request", function_arn=self._missing_page(site.bucket_name).arn
                    )
                ],
                allowed_methods=["GET", "HEAD"],
                cache_policy_id=_CACHING_OPTIMIZED,
                **common,
            ),
            ordered_cache_behavior=[
                CloudfrontDistributionOrderedCacheBehavior(
                    path_pattern=path,
                    target_origin_id="api",
                    allowed_methods=["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"],
                    cache_policy_id=_CACHING_DISABLED,
                    origin_request_policy_id=_ALL_VIEWER_EXCEPT_HOST_HEADER,
                    **common,
                )
                for path in API_PATHS
            ],
            # Otherwise CloudFront caches an error and returns it to all users for 10 seconds.
            custom_error_response=[
                CloudfrontDistributionCustomErrorResponse(error_code=status, error_caching_min_ttl=0)
                for status in _CACHED_ERRORS
            ],
        )
        self._restrict_bucket()
        self.url = platform.site_url(self._distribution)

    def _upload(self) -> None:
        for path in _files():
            if path.suffix not in _CONTENT_TYPES:
                raise ValueError(f"{path}: the content type of {path.suffix!r} is unknown; add it to _CONTENT_TYPES")
            asset = TerraformAsset(
                self,
                f"{path.name}-asset",
                path=str(path),
                type=AssetType.FILE,
                asset_hash=hashlib.sha256(path.read_bytes()).hexdigest(),
            )
            S3Object(
                self,
                path.name,
                bucket=self._bucket.name,
                key=path.name,
                source=asset.path,
                source_hash=hashlib.sha256(path.read_bytes()).hexdigest(),
                content_type=_CONTENT_TYPES[path.suffix],
                # File names do not change between versions, so browsers must revalidate.
                cache_control="no-cache",
                depends_on=[self._bucket.versioning],
            )

    def _missing_page(self, name: str) -> CloudfrontFunction:
        """Return the function that answers requests for missing pages with `error.html`."""
        headers = {
            "cache-control": "no-cache",
            "content-security-policy": CONTENT_SECURITY_POLICY,
            "content-type": _CONTENT_TYPES[".html"],
            "referrer-policy": "no-referrer",
            "strict-transport-security": f"max-age={_TWO_YEARS}; includeSubDomains",
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            **{header.lower(): value for header, value in _HEADERS.items()},
        }
        code = Template(_MISSING_PAGE.read_text("utf-8")).substitute(
            FILES=json.dumps([f"/{quote(path.name)}" for path in _files()]),
            HEADERS=json.dumps({header: {"value": value} for header, value in headers.items()}),
            PAGE=json.dumps((SITE / "error.html").read_text("utf-8")),
        )
        if len(code.encode()) > _LARGEST_FUNCTION:
            raise ValueError(
                f"{_MISSING_PAGE.name} with error.html has {len(code.encode()):,} bytes, but CloudFront accepts "
                f"{_LARGEST_FUNCTION:,}; make error.html shorter"
            )
        return CloudfrontFunction(
            self,
            "missing-page",
            name=f"{name.replace('.', '-')[: _LONGEST_NAME - 13]}-missing-page",
            comment="Answers what the site does not have.",
            runtime="cloudfront-js-2.0",
            code=code.replace("${", "$${").replace("%{", "%%{"),
            publish=True,
        )

    def _headers(self, name: str) -> CloudfrontResponseHeadersPolicy:
        return CloudfrontResponseHeadersPolicy(
            self,
            "headers",
            name=name.replace(".", "-"),
            custom_headers_config=CloudfrontResponseHeadersPolicyCustomHeadersConfig(
                items=[
                    CloudfrontResponseHeadersPolicyCustomHeadersConfigItems(header=header, value=value, override=True)
                    for header, value in _HEADERS.items()
                ]
            ),
            # These headers reveal details of the bucket.
            remove_headers_config=CloudfrontResponseHeadersPolicyRemoveHeadersConfig(
                items=[CloudfrontResponseHeadersPolicyRemoveHeadersConfigItems(header=header) for header in _S3_HEADERS]
            ),
            security_headers_config=CloudfrontResponseHeadersPolicySecurityHeadersConfig(
                content_security_policy=CloudfrontResponseHeadersPolicySecurityHeadersConfigContentSecurityPolicy(
                    content_security_policy=CONTENT_SECURITY_POLICY, override=True
                ),
                content_type_options=CloudfrontResponseHeadersPolicySecurityHeadersConfigContentTypeOptions(
                    override=True
                ),
                frame_options=CloudfrontResponseHeadersPolicySecurityHeadersConfigFrameOptions(
                    frame_option="DENY", override=True
                ),
                referrer_policy=CloudfrontResponseHeadersPolicySecurityHeadersConfigReferrerPolicy(
                    referrer_policy="no-referrer", override=True
                ),
                strict_transport_security=CloudfrontResponseHeadersPolicySecurityHeadersConfigStrictTransportSecurity(
                    access_control_max_age_sec=_TWO_YEARS,
                    include_subdomains=True,
                    override=True,
                ),
            ),
        )

    def _restrict_bucket(self) -> None:
        only_this_distribution = {"StringEquals": {"AWS:SourceArn": self._distribution.arn}}
        cloudfront = {"Service": ["cloudfront.amazonaws.com"]}
        self._bucket.restrict(
            [
                policy.Statement(
                    "CloudFrontReads",
                    ["s3:GetObject"],
                    [f"{self._bucket.arn}/*"],
                    principals=cloudfront,
                    conditions=only_this_distribution,
                ),
                # Without this, S3 answers 403 for a missing object, which looks like a denied access.
                policy.Statement(
                    "CloudFrontSeesWhatIsMissing",
                    ["s3:ListBucket"],
                    [self._bucket.arn],
                    principals=cloudfront,
                    conditions=only_this_distribution,
                ),
            ]
        )


def _files() -> list[Path]:
    return sorted(SITE.glob("[!.]*"))


def _certificate(settings: Settings) -> CloudfrontDistributionViewerCertificate:
    if not settings.site.domain_name:
        return CloudfrontDistributionViewerCertificate(cloudfront_default_certificate=True)
    return CloudfrontDistributionViewerCertificate(
        acm_certificate_arn=settings.site.certificate_arn,
        minimum_protocol_version="TLSv1.2_2021",
        ssl_support_method="sni-only",
    )
