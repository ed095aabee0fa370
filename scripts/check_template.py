#!/usr/bin/env python3
"""Checks template.yaml: `sam validate --lint`, and then what a linter cannot know to be wanted.

With --build it also builds the function as it would be deployed. The tools come from PyPI into .venv.
"""

import json
import re
import struct
import sys
import unittest

from cloudformation import Stack
from tools import BIN, ROOT, Problem, install, main, run

SAM_CLI = "1.170.0"
CARGO_LAMBDA = "1.9.2"

SAM_LIMIT_S = 120
BUILD_LIMIT_S = 1800

# Where nothing is deployed any region will do; sam only wants to know one.
REGION = "eu-central-1"


def check():
    unknown = set(sys.argv[1:]) - {"--build"}
    if unknown:
        raise Problem(f"unknown argument {unknown.pop()}; there is only --build")
    install("aws-sam-cli", SAM_CLI, "sam")
    lint()
    Template.translated = translate()
    result = unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(Template))
    if not result.wasSuccessful():
        raise Problem("template.yaml does not keep what it promises; what is broken is above")
    if "--build" in sys.argv:
        build()
    return 0


def lint():
    linting = run([BIN / "sam", "validate", "--lint", "--region", REGION], SAM_LIMIT_S, cwd=ROOT)
    if linting.returncode != 0:
        raise Problem("`sam validate --lint` finds fault with template.yaml", linting.stdout)


# SAM's own translator, as it runs at a deployment. The linter does not see all that it does: two resources of one name,
# for instance, where a mapping is called as a queue is. It insists on code that was uploaded, and on AWS's policies.
TRANSLATE = """
import json
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

class NoPolicies:
    def load(self):
        return {}

template = yaml_parse(open("template.yaml").read())
template["Resources"]["Orders"]["Properties"]["CodeUri"] = "s3://bucket/key"
print(json.dumps(transform(template, {}, NoPolicies())))
"""


def translate():
    python = ["env", f"AWS_DEFAULT_REGION={REGION}", BIN / "python", "-W", "ignore"]
    translating = run([*python, "-c", TRANSLATE], SAM_LIMIT_S, cwd=ROOT)
    if translating.returncode != 0:
        raise Problem("SAM cannot translate template.yaml", translating.stdout)
    return json.loads(translating.stdout)


class Template(unittest.TestCase):
    def setUp(self):
        self.stack = Stack(self.translated)
        self.queue = self.stack["OrdersQueue"]
        self.dead_letters = self.stack["OrdersDeadLetterQueue"]
        self.function = self.stack["Orders"]
        self.mapping = self.stack["OrdersBatches"]

    def test_failed_records_are_reported(self):
        self.assertEqual(self.mapping["FunctionResponseTypes"], ["ReportBatchItemFailures"])
        self.assertEqual(self.mapping["EventSourceArn"], "OrdersQueue.Arn")
        self.assertEqual(self.mapping["FunctionName"], "Orders")

    def test_records_stay_invisible_for_six_timeouts_and_the_longest_window(self):
        longest_window_s = self.translated["Parameters"]["BatchingWindow"]["MaxValue"]
        self.assertGreaterEqual(self.queue["VisibilityTimeout"], 6 * self.function["Timeout"] + longest_window_s)

    def test_a_record_is_a_dead_letter_after_five_receives(self):
        redrive = {"deadLetterTargetArn": "OrdersDeadLetterQueue.Arn", "maxReceiveCount": 5}
        self.assertEqual(self.queue["RedrivePolicy"], redrive)

    def test_dead_letters_come_from_the_queue_and_are_kept_longer(self):
        allow = self.dead_letters["RedriveAllowPolicy"]
        arn = "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:" + self.queue["QueueName"]
        self.assertEqual(allow, {"redrivePermission": "byQueue", "sourceQueueArns": [arn]})
        self.assertGreater(self.dead_letters["MessageRetentionPeriod"], self.queue["MessageRetentionPeriod"])

    def test_queues_are_encrypted(self):
        self.assertIs(self.queue["SqsManagedSseEnabled"], True)
        self.assertIs(self.dead_letters["SqsManagedSseEnabled"], True)

    def test_the_function_is_for_arm_and_logs_json(self):
        self.assertEqual(self.function["Runtime"], "provided.al2023")
        self.assertEqual(self.function["Architectures"], ["arm64"])
        self.assertEqual(self.function["LoggingConfig"], {"LogFormat": "JSON"})

    def test_concurrency_is_bounded(self):
        self.assertIn(int(self.mapping["ScalingConfig"]["MaximumConcurrency"]), range(2, 1001))
        self.assertEqual(self.function["Environment"]["Variables"], {"REDRIVE_CONCURRENCY": "64"})

    def test_one_dead_letter_raises_an_alarm(self):
        alarm = self.stack["DeadLetterAlarm"]
        self.assertEqual(alarm["MetricName"], "ApproximateNumberOfMessagesVisible")
        self.assertEqual(watched(alarm), "OrdersDeadLetterQueue.QueueName")
        self.assertEqual((alarm["ComparisonOperator"], alarm["Threshold"]), ("GreaterThanThreshold", 0))

    def test_a_backlog_raises_an_alarm_and_a_single_bad_record_does_not(self):
        alarm = self.stack["BacklogAlarm"]
        self.assertEqual(alarm["MetricName"], "ApproximateAgeOfOldestMessage")
        self.assertEqual(watched(alarm), "OrdersQueue.QueueName")
        self.assertEqual(alarm["ComparisonOperator"], "GreaterThanThreshold")
        self.assertGreater(alarm["Threshold"], 2 * self.queue["VisibilityTimeout"])

    def test_alarms_tell_whoever_is_named(self):
        topic = f"arn:aws:sns:{REGION}:123456789012:on-call"
        told = Stack(self.translated, AlarmTopicArn=topic)
        for alarm in "DeadLetterAlarm", "BacklogAlarm":
            self.assertNotIn("AlarmActions", self.stack[alarm])
            self.assertEqual(told[alarm]["AlarmActions"], [topic])

    def test_a_producer_may_send_and_no_more(self):
        self.assert_allows(self.stack["ProducerPolicy"], "OrdersQueue.Arn", ["sqs:GetQueueUrl", "sqs:SendMessage"])

    def test_the_function_may_consume_and_log_and_no_more(self):
        self.assert_may_consume(self.stack, "OrdersQueue.Arn")

    def test_an_existing_queue_is_consumed_instead(self):
        standard = f"arn:aws:sqs:{REGION}:123456789012:theirs"
        for arn in standard, f"{standard}.fifo":
            with self.subTest(arn):
                stack = Stack(self.translated, ExistingQueueArn=arn)
                kept = {"Orders", "OrdersBatches", "OrdersRole", "ConsumerPolicy"}
                self.assertEqual(set(stack.resources), kept)
                self.assertEqual(set(stack.outputs), {"FunctionName", "QueueArn", "ConsumerPolicyArn"})
                self.assertEqual(stack["OrdersBatches"]["EventSourceArn"], arn)
                self.assertEqual("MaximumBatchingWindowInSeconds" in stack["OrdersBatches"], arn == standard)
                self.assert_may_consume(stack, arn)

    def test_batches_above_ten_need_a_window(self):
        for size, window, accepted in ("10", "0", True), ("11", "1", True), ("11", "0", False), ("100", "0", False):
            with self.subTest(size=size, window=window):
                stack = Stack(self.translated, BatchSize=size, BatchingWindow=window)
                self.assertEqual(stack.accepts_its_parameters(), accepted)

    def test_a_panic_does_not_end_the_deployed_function(self):
        # `cargo lambda build` adds panic = "abort" to a release profile that says nothing on it.
        manifest = (ROOT / "Cargo.toml").read_text()
        release = re.search(r"^\[profile\.release\]\n([^\[]*)", manifest, re.MULTILINE)
        self.assertRegex(release[1], r'(?m)^panic = "unwind"$')

    def assert_may_consume(self, stack, queue_arn):
        consume = ["ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "ReceiveMessage"]
        self.assert_allows(stack["ConsumerPolicy"], queue_arn, [f"sqs:{action}" for action in consume])
        log = "arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
        role = stack["OrdersRole"]
        self.assertEqual(stack["Orders"]["Role"], "OrdersRole.Arn")
        self.assertEqual(role["ManagedPolicyArns"], [log, "ConsumerPolicy"])
        self.assertNotIn("Policies", role)

    def assert_allows(self, policy, queue_arn, actions):
        [statement] = policy["PolicyDocument"]["Statement"]
        self.assertEqual((statement["Effect"], statement["Resource"]), ("Allow", queue_arn))
        self.assertEqual(sorted(statement["Action"]), actions)


def watched(alarm):
    [dimension] = alarm["Dimensions"]
    return dimension["Name"] == "QueueName" and dimension["Value"]


# ELF's numbers.
MAGIC, ARM_64 = b"\x7fELF", 183


def build():
    """Builds the function as it would be deployed, and looks whether Lambda on arm64 could start what comes out."""
    install("cargo-lambda", CARGO_LAMBDA, "cargo-lambda")
    out = ROOT / ".aws-sam" / "build"
    # To sam, Rust is beta; the flag answers its question whether that is all right.
    sam = [BIN / "sam", "build", "--beta-features", "--region", REGION, "--build-dir", out]
    building = run(sam, BUILD_LIMIT_S, cwd=ROOT, stdout=None, stderr=None)
    if building.returncode != 0:
        raise Problem("`sam build` fails; what it says is above")
    header = (out / "Orders" / "bootstrap").read_bytes()[:20]
    if header[:4] != MAGIC or struct.unpack_from("<H", header, 18) != (ARM_64,):
        raise Problem("what `sam build` makes is no program for arm64")


if __name__ == "__main__":
    main(check)
