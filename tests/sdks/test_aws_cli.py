"""The AWS CLI, as one has it at a prompt: each call is a process."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from case import LONG, unique

# Its own `aws`, not the one that happens to be on the path, unless the tests are about another one.
OTHER_AWS = os.environ.get("REDRIVE_TEST_AWS")
AWS = [OTHER_AWS] if OTHER_AWS else [sys.executable, Path(sys.executable).with_name("aws")]

# Version 2 reads binary values as base64, unless it is told otherwise.
BINARY = ["--cli-binary-format", "raw-in-base64-out"] if OTHER_AWS else []

CALL_LIMIT_S = 60


def call(*arguments):
    # Version 1 has endpoints of its own for SQS in most regions, and prefers them to AWS_ENDPOINT_URL_SQS.
    endpoint = ("--endpoint-url", os.environ["AWS_ENDPOINT_URL_SQS"])
    command = [*AWS, "--output", "json", *BINARY, *endpoint, "sqs", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=CALL_LIMIT_S)


def aws(*arguments):
    """What a call prints, which is nothing or JSON."""
    done = call(*arguments)
    if done.returncode != 0:
        raise AssertionError(f"aws sqs {' '.join(arguments)}: {done.stderr}")
    return json.loads(done.stdout) if done.stdout else None


class AwsCli(unittest.TestCase):
    def test_a_message_goes_its_way(self):
        url = aws("create-queue", "--queue-name", unique("cli"), "--attributes", "VisibilityTimeout=45")["QueueUrl"]
        of_queue = ("--queue-url", url)
        attributes = {
            "kind": {"DataType": "String", "StringValue": "ordinary"},
            "blob": {"DataType": "Binary", "BinaryValue": "bytes"},
        }
        trace = "AWSTraceHeader={DataType=String,StringValue=Root=1-5759e988-bd862e3fe1be46a994272793}"
        sent = aws(
            "send-message",
            *of_queue,
            *("--message-body", '{"order_id": "Ærø"}'),
            *("--message-attributes", json.dumps(attributes)),
            *("--message-system-attributes", trace),
        )
        [received] = aws(
            "receive-message",
            *of_queue,
            *("--attribute-names", "All", "--message-attribute-names", "All", "--wait-time-seconds", str(LONG)),
        )["Messages"]
        self.assertEqual((received["MessageId"], received["Body"]), (sent["MessageId"], '{"order_id": "Ærø"}'))
        # Version 1 takes bytes as they are, and prints them in base64.
        attributes["blob"]["BinaryValue"] = "Ynl0ZXM="
        self.assertEqual(received["MessageAttributes"], attributes)
        self.assertEqual(received["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"])
        self.assertEqual(received["Attributes"]["AWSTraceHeader"], "Root=1-5759e988-bd862e3fe1be46a994272793")

        handle = ("--receipt-handle", received["ReceiptHandle"])
        self.assertIsNone(aws("change-message-visibility", *of_queue, *handle, "--visibility-timeout", "60"))
        self.assertIsNone(aws("delete-message", *of_queue, *handle))
        counts = aws("get-queue-attributes", *of_queue, "--attribute-names", "All")["Attributes"]
        self.assertEqual(counts["ApproximateNumberOfMessages"], "0")
        self.assertEqual(counts["ApproximateNumberOfMessagesNotVisible"], "0")
        # It prints nothing where there is no message.
        self.assertIsNone(aws("receive-message", *of_queue))
        self.assertIsNone(aws("delete-queue", *of_queue))

    def test_a_batch_of_a_fifo_queue_comes_from_a_file(self):
        name = f"{unique('cli')}.fifo"
        made = ("--attributes", "FifoQueue=true,ContentBasedDeduplication=true", "--tags", "team=orders")
        url = aws("create-queue", "--queue-name", name, *made)["QueueUrl"]
        entries = [{"Id": str(n), "MessageBody": f"message {n}", "MessageGroupId": "a"} for n in range(3)]
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(entries, file)
            file.flush()
            sent = aws("send-message-batch", "--queue-url", url, "--entries", f"file://{file.name}")["Successful"]
        self.assertEqual([each["Id"] for each in sent], ["0", "1", "2"])
        received = aws("receive-message", "--queue-url", url, "--max-number-of-messages", "10")["Messages"]
        self.assertEqual([each["Body"] for each in received], ["message 0", "message 1", "message 2"])
        self.assertEqual(aws("list-queue-tags", "--queue-url", url)["Tags"], {"team": "orders"})

    def test_queues_are_listed_in_pages(self):
        prefix = unique("cli")
        urls = [aws("create-queue", "--queue-name", f"{prefix}-{n}")["QueueUrl"] for n in range(3)]
        listed = ("list-queues", "--queue-name-prefix", prefix)
        self.assertEqual(aws(*listed)["QueueUrls"], urls)
        self.assertEqual(aws(*listed, "--page-size", "2")["QueueUrls"], urls)
        page = aws(*listed, "--max-items", "2")
        self.assertEqual(page["QueueUrls"], urls[:2])
        rest = aws(*listed, "--starting-token", page["NextToken"])
        self.assertEqual(rest["QueueUrls"], urls[2:])

    def test_an_error_has_its_name(self):
        done = call("get-queue-url", "--queue-name", "none")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("(AWS.SimpleQueueService.NonExistentQueue)", done.stderr)
