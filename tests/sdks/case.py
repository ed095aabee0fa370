"""What the tests share: a client as its user would make it, queues of one's own, and MD5s that are computed anew.

Where the SQS is that they drive, `AWS_ENDPOINT_URL_SQS` says, as it does for every SDK.
"""

import hashlib
import itertools
import json
import struct
import unittest

import boto3

sqs = boto3.client("sqs")

# The parameter of ReceiveMessage, under the names that this boto3 knows. The second one is the older one.
PARAMETERS = sqs.meta.service_model.operation_model("ReceiveMessage").input_shape.members
NAMES_OF_SYSTEM_ATTRIBUTES = [name for name in ("MessageSystemAttributeNames", "AttributeNames") if name in PARAMETERS]
SYSTEM_ATTRIBUTES = NAMES_OF_SYSTEM_ATTRIBUTES[0]
ALL = {SYSTEM_ATTRIBUTES: ["All"], "MessageAttributeNames": ["All"]}

# A long poll ends when there is something: its limit is reached only by a test that fails.
LONG = 20

numbers = itertools.count(1)


def unique(name):
    """A name that no other test has."""
    return f"{name}-{next(numbers)}"


class Case(unittest.TestCase):
    maxDiff = None
    sqs = sqs

    def queue(self, name="queue", **attributes):
        return self.sqs.create_queue(QueueName=unique(name), Attributes=attributes)["QueueUrl"]

    def fifo(self, **attributes):
        name = f"{unique('queue')}.fifo"
        return self.sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true", **attributes})["QueueUrl"]

    def queue_with_dlq(self, max_receive_count, **attributes):
        """A queue and its dead-letter queue."""
        dlq = self.queue("dlq")
        policy = {"deadLetterTargetArn": self.arn(dlq), "maxReceiveCount": max_receive_count}
        return self.queue(RedrivePolicy=json.dumps(policy), **attributes), dlq

    def attribute(self, url, name):
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        return answer.get("Attributes", {}).get(name)

    def arn(self, url):
        return self.attribute(url, "QueueArn")

    def send(self, url, body="hello", **options):
        return self.sqs.send_message(QueueUrl=url, MessageBody=body, **options)

    def receive(self, url, wait=0, **options):
        """What there is, after at most so many seconds."""
        options = {**ALL, "MaxNumberOfMessages": 10, "WaitTimeSeconds": wait, **options}
        return self.sqs.receive_message(QueueUrl=url, **options).get("Messages", [])

    def receive_one(self, url, wait=0, **options):
        messages = self.receive(url, wait, **options)
        self.assertEqual(len(messages), 1, messages)
        return messages[0]

    def delete(self, url, message):
        self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def counts(self, url):
        """How many messages are visible, in flight and delayed."""
        names = [f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed")]
        attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return [int(attributes[name]) for name in names]

    def assert_refused(self, code, call, **parameters):
        """The call fails, with the code that is printed. Gives the error."""
        with self.assertRaises(self.sqs.exceptions.ClientError) as raised:
            call(**parameters)
        self.assertEqual(raised.exception.response["Error"]["Code"], code, raised.exception)
        return raised.exception


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


def md5_of_attributes(attributes):
    """As AWS describes it. boto3 does not check it; SDKs of other languages do."""
    digest = hashlib.md5()
    for name, value in sorted(attributes.items()):
        is_text = "StringValue" in value
        content = value["StringValue"].encode() if is_text else value["BinaryValue"]
        for part, kind in ((name.encode(), b""), (value["DataType"].encode(), b""), (content, b"\1" if is_text else b"\2")):
            digest.update(kind + struct.pack(">I", len(part)) + part)
    return digest.hexdigest()
