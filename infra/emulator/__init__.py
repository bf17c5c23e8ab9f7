"""The embedded AWS, and everything in which it differs from AWS. Nothing outside this package knows of a difference.

In the resources (`platform.py`, only where an environment says `emulated = true`):

- *Endpoints*: every service is on one port of this machine, over plain HTTP; S3 by path, not by host name.
- *Runtime*: a function runs as a process of this machine, so its zip is built for this machine's Python and processor.
- *API origin*: the emulated CloudFront does not call AWS's host names; the API is reached by port and path.
- *API key*: the emulator wants a value where AWS makes one; Terraform makes it, so it is in the state alone, as on AWS.
- *Preflight*: a MOCK integration has the method POST there, which AWS does not say.
- *Addresses*: a distribution is `<label>.cloudfront.localhost`, a stage is a path of the port.

In the process (`server.py`, which runs MiniStack): a module for each service completes what MiniStack leaves out. Its
`install()` puts functions in the place of MiniStack's (`replacing.py`). docs/emulator.md has AWS's rule, its source and
the test of each addition. Tests reach what AWS does not offer by `/_rollbook/…` (`paths.py`).

What differs still:

- A flexible time window is none, and schedules are looked at every second.
- CloudTrail hands an event over at once, where AWS takes minutes, and writes no files into the trail's bucket.
- The period of a quota begins with the first request.
- A bucket's lifecycle is carried out only when a test says so.
"""
