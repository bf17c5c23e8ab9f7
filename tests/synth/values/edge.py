"""The API and the site: who may call what, how often, and what browsers are told."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from infra.settings import Settings
from ops.console import ROOT
from tests.constants import constant
from tests.synth.values.names import Names
from tests.synth.values.view import View, check, differs

CONTENT_SECURITY_POLICY = constant("infra.school.site", "CONTENT_SECURITY_POLICY")
# CloudFront Developer Guide, "Use managed cache policies" and "Use managed origin request policies".
_OPTIMIZED, _DISABLED = "658327ea-f89d-4fab-a63d-7e88639e58f6", "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
_ALL_BUT_HOST = "b689b0a8-53d0-40ab-baf2-68738e2966ac"
# "Allowed HTTP methods": with POST, CloudFront takes all or none.
_EVERY_METHOD = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]
_TWO_YEARS = 63_072_000
_PREFLIGHT = ("Headers", "Methods", "Origin", "Max-Age")
_ERRORS = {
    "BAD_REQUEST_BODY": "400",
    "DEFAULT_4XX": None,
    "DEFAULT_5XX": None,
    "INTEGRATION_TIMEOUT": "504",
    "MISSING_AUTHENTICATION_TOKEN": "403",
}
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_LOGGED = {
    "requestId": "$context.requestId",
    "time": "$context.requestTime",
    "method": "$context.httpMethod",
    "path": "$context.resourcePath",
    "status": "$context.status",
    "error": "$context.error.message",
    "validation": "$context.error.validationErrorString",
    "bytes": "$context.responseLength",
    "milliseconds": "$context.responseLatency",
    "functionMilliseconds": "$context.integrationLatency",
    "keyId": "$context.identity.apiKeyId",
    "sourceIp": "$context.identity.sourceIp",
}


def _api(s: Settings) -> str:
    return f"arn:aws_api_gateway_rest_api:{s.region}:{s.api.name}"


def routes(s: Settings) -> dict[tuple[str, str], str]:
    """Return the function behind each path and method."""
    return {
        ("students", "GET"): s.functions.get_name,
        ("students", "POST"): s.functions.insert_name,
        ("backup", "POST"): s.backups.function_name,
    }


def _methods(view: View) -> dict[str, tuple[str, str]]:
    """Return the path and method of each method by its address; two that are the same are one too many."""
    paths = {
        f"arn:aws_api_gateway_resource:{view.settings.region}:{each['path_part']}#id": each["path_part"]
        for each in view.all("aws_api_gateway_resource").values()
    }
    return {
        name: (paths[each["resource_id"]], each["http_method"])
        for name, each in view.all("aws_api_gateway_method").items()
    }


@check
def every_method_needs_the_key_but_the_preflight(view: View) -> Iterator[str]:
    s = view.settings
    [rest] = view.all("aws_api_gateway_rest_api").values()
    yield from differs("the API", rest, {"name": s.api.name, "endpoint_configuration": {"types": ["REGIONAL"]}})
    parts = [each["path_part"] for each in view.all("aws_api_gateway_resource").values()]
    yield from differs("the paths", sorted(parts), ["backup", "students"])
    for each in view.all("aws_api_gateway_resource").values():
        wanted = {"parent_id": f"{_api(s)}#root_resource_id", "rest_api_id": f"{_api(s)}#id"}
        yield from differs(f"/{each['path_part']}", each, wanted | {"path_part": each["path_part"]})
    methods, found = _methods(view), view.all("aws_api_gateway_method")
    wanted_methods = [*routes(s), ("students", "OPTIONS"), ("backup", "OPTIONS")]
    yield from differs("the methods", sorted(methods.values()), sorted(wanted_methods))
    for name, (path, method) in methods.items():
        form: dict[str, Any] = {
            "authorization": "NONE",
            "http_method": method,
            "rest_api_id": f"{_api(s)}#id",
            "resource_id": found[name]["resource_id"],
        }
        if method != "OPTIONS":
            form["api_key_required"] = True
        if (path, method) == ("students", "POST"):
            form["request_models"] = {"application/json": "Student"}
            form["request_validator_id"] = f"arn:aws_api_gateway_request_validator:{s.region}:body#id"
        yield from differs(f"{method} /{path}", found[name], form)
    [model], [validator] = (view.all(f"aws_api_gateway_{kind}").values() for kind in ("model", "request_validator"))
    schema = {"type": "object", "minProperties": 1, "maxProperties": 200, "title": "Student"}
    draft = {"$schema": "http://json-schema.org/draft-04/schema#"}
    yield from differs("what a record is", json.loads(model["schema"]), schema | draft)
    of_model = {"name": "Student", "content_type": "application/json", "rest_api_id": f"{_api(s)}#id"}
    yield from differs("the model", {k: v for k, v in model.items() if k != "schema"}, of_model)
    form = {"name": "body", "rest_api_id": f"{_api(s)}#id", "validate_request_body": True}
    yield from differs("the validator", validator, form)


@check
def every_method_calls_its_function(view: View) -> Iterator[str]:
    s, n, of = view.settings, Names(view.settings), routes(view.settings)
    wanted = []
    for path, method in _methods(view).values():
        form: dict[str, Any] = {
            "http_method": method,
            "resource_id": f"arn:aws_api_gateway_resource:{s.region}:{path}#id",
            "rest_api_id": f"{_api(s)}#id",
        }
        if method == "OPTIONS":
            form |= {"type": "MOCK", "request_templates": {"application/json": '{"statusCode": 204}'}}
            form |= {"integration_http_method": "POST"} if s.emulated else {}
        else:
            # API Gateway invokes Lambda by POST for every method.
            form |= {"type": "AWS_PROXY", "integration_http_method": "POST"}
            form["uri"] = f"{n.function(of[(path, method)])}#invoke_arn"
        wanted.append(form)
    found = list(view.all("aws_api_gateway_integration").values())
    yield from differs("the integrations", _sorted(found), _sorted(wanted))


def _sorted(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(values, key=lambda each: json.dumps(each, sort_keys=True))


@check
def scripts_of_the_site_alone_may_read_the_api(view: View) -> Iterator[str]:
    s, origin = view.settings, f"'{Names(view.settings).site_url}'"
    allowed = {"students": "'GET,POST'", "backup": "'POST'"}
    of = "method.response.header."
    wanted, declared = [], []
    for path, methods in allowed.items():
        at = {"http_method": "OPTIONS", "rest_api_id": f"{_api(s)}#id", "status_code": "204"}
        at["resource_id"] = f"arn:aws_api_gateway_resource:{s.region}:{path}#id"
        values = ("'Content-Type'", methods, origin, "'600'")
        headers = {
            f"{of}Access-Control-Allow-{name}" if name != "Max-Age" else f"{of}Access-Control-Max-Age": value
            for name, value in zip(_PREFLIGHT, values, strict=True)
        }
        headers[f"{of}Vary"] = "'Origin'"
        wanted.append(at | {"response_parameters": headers})
        declared.append(at | {"response_parameters": dict.fromkeys(headers, False)})
    for kind, forms in (("integration_response", wanted), ("method_response", declared)):
        found = list(view.all(f"aws_api_gateway_{kind}").values())
        for one, form in zip(_by_resource(found), _by_resource(forms), strict=True):
            yield from differs(kind, one, form)
    errors = view.by("aws_api_gateway_gateway_response", "response_type")
    yield from differs("the errors", sorted(errors), sorted(_ERRORS))
    for kind, status in _ERRORS.items():
        error = errors[kind]
        header = {"gatewayresponse.header.Access-Control-Allow-Origin": origin}
        yield from differs(f"{kind}'s headers", error["response_parameters"], header)
        yield from differs(f"{kind}'s status", error.get("status_code"), status)
        yield from differs(f"{kind}'s API", error["rest_api_id"], f"{_api(s)}#id")
        [(media, template)] = error["response_templates"].items()
        yield from differs(f"{kind}'s type", media, "application/json")
        message = json.loads(template.replace("$context.error.messageString", '"what is wrong"'))
        yield from differs(f"{kind}'s fields", sorted(message), ["message"])
        yield from differs(f"{kind} says API Gateway's text", "$context" in template, kind == "DEFAULT_4XX")


def _by_resource(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(values, key=lambda each: str(each["resource_id"]))


@check
def the_key_has_its_limits(view: View) -> Iterator[str]:
    s = view.settings
    [key], [plan] = view.all("aws_api_gateway_api_key").values(), view.all("aws_api_gateway_usage_plan").values()
    [joined] = view.all("aws_api_gateway_usage_plan_key").values()
    made = {"value": "<uuid()>"} if s.emulated else {}
    yield from differs("the key", key, {"name": s.api.key_name} | made)
    form = {
        "name": s.api.usage_plan_name,
        "api_stages": [{"api_id": f"{_api(s)}#id", "stage": s.api.stage}],
        "quota_settings": {"limit": s.api.quota_per_day, "period": "DAY"},
        "throttle_settings": {"burst_limit": s.api.burst_limit, "rate_limit": s.api.rate_limit},
    }
    yield from differs("the usage plan", plan, form)
    of_plan = {
        "key_id": f"arn:aws_api_gateway_api_key:{s.region}:{s.api.key_name}#id",
        "key_type": "API_KEY",
        "usage_plan_id": f"arn:aws_api_gateway_usage_plan:{s.region}:{s.api.usage_plan_name}#id",
    }
    yield from differs("the plan's key", joined, of_plan)
    [settings] = view.all("aws_api_gateway_method_settings").values()
    form = {
        "method_path": "*/*",
        "rest_api_id": f"{_api(s)}#id",
        "stage_name": s.api.stage,
        "settings": {
            "metrics_enabled": True,
            "throttling_burst_limit": s.api.burst_limit,
            "throttling_rate_limit": s.api.rate_limit,
        },
    }
    yield from differs("the stage's limits", settings, form)


@check
def the_stage_logs_every_request_and_no_record(view: View) -> Iterator[str]:
    s, n = view.settings, Names(view.settings)
    [stage] = view.all("aws_api_gateway_stage").values()
    log = stage["access_log_settings"]
    yield from differs("the log's fields", json.loads(log["format"]), _LOGGED)
    yield from differs("the log", log["destination_arn"], n.log_group(f"/aws/apigateway/{s.api.name}"))
    rest = {name: value for name, value in stage.items() if name not in ("access_log_settings", "deployment_id")}
    yield from differs("the stage", rest, {"rest_api_id": f"{_api(s)}#id", "stage_name": s.api.stage})
    [deployment] = view.all("aws_api_gateway_deployment").values()
    yield from differs("the deployment", deployment, {"rest_api_id": f"{_api(s)}#id"})
    if not stage["deployment_id"].startswith("arn:aws_api_gateway_deployment:"):
        yield "the stage has no deployment"
    for account in view.all("aws_api_gateway_account").values():
        yield from differs("who writes", account, {"cloudwatch_role_arn": n.role(f"{s.api.name}-api-log")})


@check
def the_site_is_https_only_and_hands_the_api_through(view: View) -> Iterator[str]:
    s = view.settings
    headers = f"arn:aws_cloudfront_response_headers_policy:{s.region}:{s.site.bucket_name}#id"
    [found] = view.all("aws_cloudfront_distribution").values()
    given = {name: value for name, value in found.items() if name not in ("ordered_cache_behavior", "origin")}
    common = {
        "cached_methods": ["GET", "HEAD"],
        "compress": True,
        "response_headers_policy_id": headers,
        "viewer_protocol_policy": "redirect-to-https",
    }
    function = f"arn:aws_cloudfront_function:{s.region}:{s.site.bucket_name}-missing-page"
    site = {
        "allowed_methods": ["GET", "HEAD"],
        "cache_policy_id": _OPTIMIZED,
        "function_association": [{"event_type": "viewer-request", "function_arn": function}],
        "target_origin_id": "site",
    }
    api = {
        "allowed_methods": _EVERY_METHOD,
        # An answer holds records, so nothing of it is cached.
        "cache_policy_id": _DISABLED,
        "origin_request_policy_id": _ALL_BUT_HOST,
        "target_origin_id": "api",
    }
    own = s.site.domain_name is not None
    form = {
        "enabled": True,
        "is_ipv6_enabled": True,
        "http_version": "http2and3",
        "price_class": s.site.price_class,
        "default_root_object": "index.html",
        "default_cache_behavior": common | site,
        "restrictions": {"geo_restriction": {"restriction_type": "none"}},
    }
    # CloudFront keeps an error for 10 seconds for everybody, unless it is told not to (Developer Guide, "How CloudFront
    # caches HTTP 4xx and 5xx status codes from your origin").
    errors = {each["error_code"]: each for each in given.pop("custom_error_response", [])}
    kept = {status: {"error_code": status, "error_caching_min_ttl": 0} for status in _CACHED_ERRORS}
    yield from differs("the errors", errors, kept)
    certificate = given.pop("viewer_certificate")
    if not own:
        yield from differs("the certificate", certificate, {"cloudfront_default_certificate": True})
    yield from differs("the distribution", given, form)
    paths = {each["path_pattern"]: each for each in found["ordered_cache_behavior"]}
    yield from differs("the API's paths", sorted(paths), ["/backup", "/students"])
    for path, behavior in paths.items():
        yield from differs(path, behavior, common | api | {"path_pattern": path})


@check
def what_the_site_does_not_have_is_its_error_page(view: View) -> Iterator[str]:
    s = view.settings
    [made] = view.all("aws_cloudfront_function").values()
    code = made["code"]
    form = {"name": f"{s.site.bucket_name}-missing-page", "publish": True, "runtime": "cloudfront-js-2.0", "code": code}
    yield from differs("the function", made, form)
    yield from differs("the function's answers", _answers(code), _ANSWERS)


@lru_cache(maxsize=64)
def _answers(code: str) -> str:
    """Return what the function answers, from the Node that the project brings along."""
    asked = json.dumps([{"request": {"uri": uri}} for uri in ("/", "/index.html", "/scripts.js", "/nothing.html")])
    told = "answer => answer.uri || [answer.statusCode, answer.headers, answer.body]"
    program = f"{code}\nconsole.log(JSON.stringify({asked}.map(handler).map({told})))"
    done = subprocess.run(
        [Path(sys.executable).parent / "node", "--eval", program], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or done.stderr.strip()


_PAGE = (ROOT / "site" / "error.html").read_text("utf-8")
_PAGE_HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "content-type": "text/html; charset=utf-8",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=63072000; includeSubDomains",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_ANSWERS = json.dumps(
    [
        "/",
        "/index.html",
        "/scripts.js",
        [
            404,
            {name: {"value": value} for name, value in _PAGE_HEADERS.items()},
            {"encoding": "text", "data": _PAGE},
        ],
    ],
    separators=(",", ":"),
    ensure_ascii=False,
)
_CACHED_ERRORS = (400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504)


@check
def cloudfront_reaches_its_origins_and_adds_the_key(view: View) -> Iterator[str]:
    s = view.settings
    [found] = view.all("aws_cloudfront_distribution").values()
    origins = {each["origin_id"]: each for each in found["origin"]}
    domain, path = f"{_api(s)}#id.execute-api.{s.region}.amazonaws.com", f"/{s.api.stage}"
    secure: dict[str, Any] = {
        "http_port": 80,
        "https_port": 443,
        "origin_protocol_policy": "https-only",
        "origin_ssl_protocols": ["TLSv1.2"],
    }
    if s.emulated:
        domain, path = "localhost", f"/_aws/execute-api/{_api(s)}#id/{s.api.stage}"
        secure |= {"http_port": "<var.emulator_port>", "origin_protocol_policy": "http-only"}
    key = f"arn:aws_api_gateway_api_key:{s.region}:{s.api.key_name}#value" if not s.emulated else "<uuid()>"
    access = f"arn:aws_cloudfront_origin_access_control:{s.region}:{s.site.bucket_name}#id"
    wanted = {
        "site": {
            "origin_id": "site",
            "domain_name": f"arn:aws:s3:::{s.site.bucket_name}#bucket_regional_domain_name",
            "origin_access_control_id": access,
        },
        "api": {
            "origin_id": "api",
            "domain_name": domain,
            "origin_path": path,
            "custom_header": [{"name": "x-api-key", "value": key}],
            "custom_origin_config": secure,
        },
    }
    yield from differs("the origins", origins, wanted)
    yield from differs("the number of origins", len(found["origin"]), 2)
    [control] = view.all("aws_cloudfront_origin_access_control").values()
    form = {
        "name": s.site.bucket_name,
        "origin_access_control_origin_type": "s3",
        "signing_behavior": "always",
        "signing_protocol": "sigv4",
    }
    yield from differs("the access to the bucket", control, form)


@check
def browsers_are_told_to_be_strict(view: View) -> Iterator[str]:
    [policy] = view.all("aws_cloudfront_response_headers_policy").values()
    security = dict(policy["security_headers_config"])
    content = security.pop("content_security_policy")
    directives = dict(each.strip().split(" ", 1) for each in content["content_security_policy"].split(";"))
    none, own = "'none'", "'self'"
    wanted = {"default-src": none, "base-uri": none, "frame-ancestors": none}
    wanted |= dict.fromkeys(("script-src", "style-src", "img-src", "connect-src", "form-action"), own)
    yield from differs("the content security policy", directives, wanted)
    yield from differs("it overrides", content["override"], True)
    form = {
        "content_type_options": {"override": True},
        "frame_options": {"override": True, "frame_option": "DENY"},
        "referrer_policy": {"override": True, "referrer_policy": "no-referrer"},
        "strict_transport_security": {
            "override": True,
            "access_control_max_age_sec": _TWO_YEARS,
            "include_subdomains": True,
        },
    }
    yield from differs("the security headers", security, form)
    custom = {each["header"]: each for each in policy["custom_headers_config"]["items"]}
    values = {
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }
    forms = {name: {"header": name, "override": True, "value": value} for name, value in values.items()}
    yield from differs("further headers", custom, forms)
    hidden = sorted(each["header"] for each in policy["remove_headers_config"]["items"])
    yield from differs(
        "headers of S3 that are hidden",
        hidden,
        [f"x-amz-{name}" for name in ("server-side-encryption", "tagging-count", "version-id")],
    )
    yield from differs("the policy's name", policy["name"], view.settings.site.bucket_name)


@check
def the_site_has_every_file_of_its_folder(view: View) -> Iterator[str]:
    found = view.by("aws_s3_object", "key")
    files = {path.name: path for path in (ROOT / "site").iterdir() if path.is_file()}
    yield from differs("the files", sorted(found), sorted(files))
    for name, path in files.items():
        given = dict(found[name])
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        source = given.pop("source").split("/")
        yield from differs(f"{name}'s source", [source[0], *source[2:]], ["assets", digest, name])
        form = {
            "bucket": view.settings.site.bucket_name,
            "key": name,
            "content_type": _TYPES[path.suffix[1:]],
            # Browsers ask each time, so a deploy is seen at once.
            "cache_control": "no-cache",
        }
        yield from differs(name, given, form)


@check
def everything_is_in_its_region(view: View) -> Iterator[str]:
    """Copies are in the Region that the settings name, all the rest is in the environment's own."""
    s = view.settings
    abroad = {copy.region for rule in s.vault.rules for copy in rule.copies}
    abroad |= {plan.options.replicate_to for plan in s.backed_up_tables if plan.options.replicate_to}
    abroad |= {s.snapshots.destination_region} - {None}
    copies = {"aws_backup_vault", "aws_kms_key", "aws_kms_alias"}
    for kind, resources in view.stack["resource"].items():
        for name, resource in resources.items():
            region = view.region(resource)
            is_copy = kind in copies or (kind.startswith("aws_s3_bucket") and "replica" in name)
            if region != s.region and not (is_copy and region in abroad):
                yield f"{kind}.{name} is in {region}"


@check
def providers_and_state_are_where_they_should_be(view: View) -> Iterator[str]:
    s = view.settings
    for provider in view.stack["provider"]["aws"]:
        region = provider.get("alias", s.region)
        yield from differs("a provider's Region", provider["region"], region)
        keys = {"access_key", "secret_key", "endpoints"} & provider.keys()
        yield from differs("a provider of the embedded AWS", bool(keys), s.emulated)
        yield from differs("the tags of everything", provider["default_tags"], [{"tags": s.tags}])
    backend = view.stack["terraform"]["backend"]
    if s.state.bucket:
        form = {
            "bucket": s.state.bucket,
            "key": f"{s.name}/terraform.tfstate",
            "region": s.state.region or s.region,
            "encrypt": True,
            "use_lockfile": True,
        }
        yield from differs("the state", backend, {"s3": form})
