#!/usr/bin/env python3
"""Checks template.yaml with `sam validate --lint`, and then tests what the template promises.

With --build it also builds the function for deployment. It installs the tools from PyPI into .venv.
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

# Nothing is deployed, so any region works. sam only requires one.
REGION = "eu-central-1"


def check():
    unknown = set(sys.argv[1:]) - {"--build"}
    if unknown:
        raise Problem(f"unknown argument {unknown.pop()}; use --build or no argument")
    install("aws-sam-cli", SAM_CLI, "sam")
    lint()
    Template.translated = translate()
    result = unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(Template))
    if not result.wasSuccessful():
        raise Problem("template.yaml fails its tests; see the output above")
    if "--build" in sys.argv:
        build()
    return 0


def lint():
    linting = run([BIN / "sam", "validate", "--lint", "--region", REGION], SAM_LIMIT_S, cwd=ROOT)
    if linting.returncode != 0:
        raise Problem("`sam validate --lint` found problems; see its output above", linting.stdout)


# Runs SAM's translator as a deployment does. The linter misses some of its errors, for example a mapping and a queue
# with the same name. The translator requires uploaded code and AWS's policies.
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
        raise Problem("SAM cannot translate template.yaml; see its output above", translating.stdout)
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

    def test_record_is_a_dead_letter_after_five_receives(self):
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

    def test_function_runs_on_arm_and_logs_json(self):
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

    def test_backlog_raises_an_alarm_and_a_single_bad_record_does_not(self):
        alarm = self.stack["BacklogAlarm"]
        self.assertEqual(alarm["MetricName"], "ApproximateAgeOfOldestMessage")
        self.assertEqual(watched(alarm), "OrdersQueue.QueueName")
        self.assertEqual(alarm["ComparisonOperator"], "GreaterThanThreshold")
        self.assertGreater(alarm["Threshold"], 2 * self.queue["VisibilityTimeout"])

    def test_alarms_go_to_the_topic_of_the_parameter(self):
        topic = f"arn:aws:sns:{REGION}:123456789012:on-call"
        told = Stack(self.translated, AlarmTopicArn=topic)
        for alarm in "DeadLetterAlarm", "BacklogAlarm":
            self.assertNotIn("AlarmActions", self.stack[alarm])
            self.assertEqual(told[alarm]["AlarmActions"], [topic])

    def test_producer_may_only_send(self):
        self.assert_allows(self.stack["ProducerPolicy"], "OrdersQueue.Arn", ["sqs:GetQueueUrl", "sqs:SendMessage"])

    def test_function_may_only_consume_and_log(self):
        self.assert_may_consume(self.stack, "OrdersQueue.Arn")

    def test_existing_queue_replaces_a_new_one(self):
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

    def test_panic_does_not_end_the_deployed_function(self):
        # `cargo lambda build` adds panic = "abort" to a release profile without a panic setting.
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


# Values of the ELF header.
MAGIC, ARM_64 = b"\x7fELF", 183


def build():
    """Builds the function for deployment and checks that Lambda on arm64 can start the result."""
    install("cargo-lambda", CARGO_LAMBDA, "cargo-lambda")
    out = ROOT / ".aws-sam" / "build"
    # Rust is a beta feature of sam. The flag answers its question.
    sam = [BIN / "sam", "build", "--beta-features", "--region", REGION, "--build-dir", out]
    building = run(sam, BUILD_LIMIT_S, cwd=ROOT, stdout=None, stderr=None)
    if building.returncode != 0:
        raise Problem("`sam build` failed; see its output above")
    header = (out / "Orders" / "bootstrap").read_bytes()[:20]
    if header[:4] != MAGIC or struct.unpack_from("<H", header, 18) != (ARM_64,):
        raise Problem("`sam build` did not build a program for arm64")


if __name__ == "__main__":
    main(check)
