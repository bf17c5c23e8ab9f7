"""The embedded AWS, and all its differences from AWS. No code outside this package depends on a difference.

Differences of the resources (`platform.py`, only in environments with `emulated = true`):

- *Endpoints*: all services are on one port of this machine, over plain HTTP. S3 uses paths instead of host names.
- *Runtime*: a function runs as a process of this machine, so its zip is built for this machine's Python and processor.
- *API origin*: the emulated CloudFront does not call AWS's host names, so the API's origin is the port and a path.
- *API key*: AWS generates the value, but the emulator requires one. Terraform generates it; only the state has it.
- *Preflight*: a MOCK integration has the method POST, which AWS does not return.
- *Addresses*: a distribution is `<label>.cloudfront.localhost`, and a stage is a path of the port.

Additions to the process (`server.py`, which runs MiniStack): a module for each service implements behaviour that
MiniStack lacks. Its `install()` replaces functions of MiniStack (`replacing.py`). docs/emulator.md lists AWS's rule,
its source and the test of each addition. Tests use the paths `/_rollbook/…` for operations that AWS does not have
(`paths.py`).

Remaining differences:

- Flexible time windows are ignored, and schedules are checked every second.
- CloudTrail delivers an event immediately, while AWS takes minutes. It writes no files into the trail's bucket.
- The period of a quota begins with the first request.
- A bucket's lifecycle rules are applied only when a test requests it.
"""
