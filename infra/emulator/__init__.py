"""The embedded AWS, and everything in which it differs from AWS. Nothing outside this package knows of a difference.

In the resources (`platform.py`, only where an environment says `emulated = true`):

- *Endpoints*: every service is on one port of this machine, over plain HTTP; S3 by path, not by host name.
- *Runtime*: a function runs as a process of this machine, so its zip is built for this machine's Python and processor.
- *API origin*: the emulated CloudFront does not call AWS's host names; the API is reached by port and path.
- *API key*: the emulator wants a value where AWS makes one; Terraform makes it, so it is in the state alone, as on AWS.
- *Preflight*: a MOCK integration has the method POST there, which AWS does not say.
- *Addresses*: a distribution is `<label>.cloudfront.localhost`, a stage is a path of the port.

In the process (`server.py`, which runs MiniStack and adds what it leaves out):

- *TLS*: requests count as TLS-secured unless they say otherwise, as if they had come through a TLS proxy. So the
  TLS-only policies and the redirect to HTTPS stand as they are, and a test can still send a request without TLS.
- *EventBridge Scheduler*: MiniStack neither assumes a schedule's role nor fills in `<aws.scheduler.…>` nor uses the
  dead-letter queue; here it does all three, and invokes a function as AWS does: asynchronously, with retries. A request
  to make a schedule that is sent twice makes one.
- *IAM*: `aws:PrincipalArn` of a function is its role; a mail is about the sender's identity and has `ses:FromAddress`;
  `ListTagsOfResource` is about the table that its ARN names; a call about a database snapshot, a
  schedule, a vault or a backup plan is about that one.
- *EventBridge*: a rule's function is invoked with Lambda's retries; a bus takes a whole policy; a log group gets its
  events, if a log policy lets EventBridge write them. No service records in CloudTrail or tells of its snapshots: a
  test puts such events on the default bus itself, by a path of its own.
- *Lambda*: a dead letter is the event itself, with the error in its attributes, and a destination is told besides.
- *CloudWatch*: metrics that are embedded in a function's log are put; an alarm is described with all that it has. No
  alarm is evaluated on missing data.
- *API Gateway*: a patch may name what has a slash in its name, the limits and rates of a usage plan stay numbers, and
  tags that are put on later are shown with what they are on.
- *CloudTrail*: a trail keeps the tags that it is made with.
- *CloudFront*: an object that is missing is a 404 to a distribution that may list the bucket.
- *S3*: uploads and checksums are as strict as S3's; a lifecycle is carried out as of a time that a test says.
- *DynamoDB*: an export writes what AWS's writes, with its caller's rights; reads can be made late.
- *Sweep*: schedules are looked at every second instead of every ten.

What is left as it is: a function that fails behind the API answers with its error's text, where AWS answers with the
text of `DEFAULT_5XX`; a bucket's lifecycle is carried out only when a test says so; a flexible time window is none.
"""
