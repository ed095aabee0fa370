"""Messages of standard queues, through boto3."""

import time
from concurrent.futures import ThreadPoolExecutor, wait

from case import NAMES_OF_SYSTEM_ATTRIBUTES, LONG, SYSTEM_ATTRIBUTES, Case, md5, md5_of_attributes

# One of each type that AWS names, and of custom types.
ATTRIBUTES = {
    "text": {"DataType": "String", "StringValue": "crème brûlée 🍮"},
    "url": {"DataType": "String.url", "StringValue": "https://example.com/?a=1&b=2"},
    "number": {"DataType": "Number", "StringValue": "-12345678901234567890.125"},
    "price": {"DataType": "Number.EUR", "StringValue": "1e3"},
    "bytes": {"DataType": "Binary", "BinaryValue": bytes(range(256))},
    "image.small": {"DataType": "Binary.gif", "BinaryValue": b"GIF89a\0"},
}
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
TRACE_HEADER = {"AWSTraceHeader": {"DataType": "String", "StringValue": TRACE}}


class Sending(Case):
    def test_what_is_sent_comes_back_with_its_md5(self):
        url = self.queue()
        for body in ("hello", '{"name": "Ærø"}', " \t\r\n", "<&>\"'\\", "日本語 🍣"):
            with self.subTest(body=body):
                sent = self.send(url, body)
                self.assertEqual(sent["MD5OfMessageBody"], md5(body))
                received = self.receive_one(url)
                self.assertEqual((received["MessageId"], received["Body"]), (sent["MessageId"], body))
                self.assertEqual(received["MD5OfBody"], md5(body))
                self.delete(url, received)

    def test_attributes_of_every_type_come_back_with_their_md5(self):
        url = self.queue()
        sent = self.send(url, MessageAttributes=ATTRIBUTES)
        self.assertEqual(sent["MD5OfMessageAttributes"], md5_of_attributes(ATTRIBUTES))
        received = self.receive_one(url)
        self.assertEqual(received["MessageAttributes"], ATTRIBUTES)
        self.assertEqual(received["MD5OfMessageAttributes"], md5_of_attributes(ATTRIBUTES))

    def test_only_the_attributes_that_are_asked_for_come_back(self):
        url = self.queue(VisibilityTimeout="0")
        self.send(url, MessageAttributes=ATTRIBUTES)
        cases = [
            ([], []),
            (["All"], list(ATTRIBUTES)),
            ([".*"], list(ATTRIBUTES)),
            (["text", "none"], ["text"]),
            (["image.*"], ["image.small"]),
            (["image"], []),
        ]
        for names, expected in cases:
            with self.subTest(names=names):
                received = self.receive_one(url, MessageAttributeNames=names)
                wanted = {name: ATTRIBUTES[name] for name in expected}
                self.assertEqual(received.get("MessageAttributes", {}), wanted)
                self.assertEqual(received.get("MD5OfMessageAttributes"), md5_of_attributes(wanted) if wanted else None)

    def test_system_attributes_come_under_their_new_name_and_their_old_one(self):
        url = self.queue(VisibilityTimeout="0")
        before = int(time.time() * 1000)
        sent = self.send(url, MessageSystemAttributes=TRACE_HEADER)
        self.assertEqual(sent["MD5OfMessageSystemAttributes"], md5_of_attributes(TRACE_HEADER))
        for count, name in enumerate(NAMES_OF_SYSTEM_ATTRIBUTES, 1):
            received = self.receive_one(url, **{SYSTEM_ATTRIBUTES: [], name: ["All"]})
            attributes = received["Attributes"]
            self.assertEqual(attributes["AWSTraceHeader"], TRACE)
            self.assertEqual(attributes["ApproximateReceiveCount"], str(count))
            self.assertLessEqual(before, int(attributes["SentTimestamp"]))
            self.assertLessEqual(int(attributes["SentTimestamp"]), int(attributes["ApproximateFirstReceiveTimestamp"]))
            self.assertTrue(attributes["SenderId"])
        only = self.receive_one(url, **{SYSTEM_ATTRIBUTES: ["AWSTraceHeader"]})
        self.assertEqual(only["Attributes"], {"AWSTraceHeader": TRACE})
        self.assertNotIn("Attributes", self.receive_one(url, **{SYSTEM_ATTRIBUTES: []}))

    def test_a_fair_queue_keeps_the_group(self):
        url = self.queue()
        self.send(url, MessageGroupId="tenant-a")
        self.assertEqual(self.receive_one(url)["Attributes"]["MessageGroupId"], "tenant-a")

    def test_a_message_may_have_1_mib_and_no_byte_more(self):
        url = self.queue()
        # All of it is escaped on the way: six bytes on the wire for one of the message, as botocore writes ASCII only.
        body = "\t" * (1 << 20)
        self.send(url, body)
        self.assertEqual(self.receive_one(url)["Body"], body)
        self.assert_refused("InvalidParameterValue", self.send, url=url, body="x" + body)
        attributes = {"a": {"DataType": "String", "StringValue": "x"}}
        self.assert_refused("InvalidParameterValue", self.send, url=url, body=body, MessageAttributes=attributes)

    def test_a_delay_holds_a_message_back(self):
        url = self.queue(DelaySeconds="900")
        self.send(url, "late")
        self.send(url, "soon", DelaySeconds=1)
        self.assertEqual(self.counts(url), [0, 0, 2])
        self.assertEqual(self.receive(url), [])
        self.assertEqual(self.receive_one(url, LONG)["Body"], "soon")


class Batches(Case):
    def test_ten_messages_are_sent_received_hidden_and_deleted(self):
        url = self.queue()
        entries = [
            {
                "Id": f"entry_{n}",
                "MessageBody": f"message {n}",
                "MessageAttributes": ATTRIBUTES,
                "MessageSystemAttributes": TRACE_HEADER,
            }
            for n in range(10)
        ]
        sent = self.sqs.send_message_batch(QueueUrl=url, Entries=entries)
        self.assertEqual(sent.get("Failed", []), [])
        self.assertEqual([each["Id"] for each in sent["Successful"]], [entry["Id"] for entry in entries])
        for entry, each in zip(entries, sent["Successful"]):
            self.assertEqual(each["MD5OfMessageBody"], md5(entry["MessageBody"]))
            self.assertEqual(each["MD5OfMessageAttributes"], md5_of_attributes(ATTRIBUTES))
            self.assertEqual(each["MD5OfMessageSystemAttributes"], md5_of_attributes(TRACE_HEADER))

        received = self.receive(url)
        self.assertEqual({each["MessageId"] for each in received}, {each["MessageId"] for each in sent["Successful"]})
        self.assertEqual(self.counts(url), [0, 10, 0])
        handles = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(received)]
        visible = [{**handle, "VisibilityTimeout": 0} for handle in handles[:5]]
        changed = self.sqs.change_message_visibility_batch(QueueUrl=url, Entries=visible)
        self.assertEqual([each["Id"] for each in changed["Successful"]], ["0", "1", "2", "3", "4"])
        self.assertEqual(self.counts(url), [5, 5, 0])
        deleted = self.sqs.delete_message_batch(QueueUrl=url, Entries=handles)
        self.assertEqual([each["Id"] for each in deleted["Successful"]], [str(n) for n in range(10)])
        self.assertEqual(self.counts(url), [0, 0, 0])

    def test_an_entry_that_fails_is_named_and_the_others_succeed(self):
        url = self.queue()
        entries = [{"Id": "good", "MessageBody": "x"}, {"Id": "bad", "MessageBody": "x", "DelaySeconds": 901}]
        sent = self.sqs.send_message_batch(QueueUrl=url, Entries=entries)
        self.assertEqual([each["Id"] for each in sent["Successful"]], ["good"])
        [failed] = sent["Failed"]
        self.assertEqual((failed["Id"], failed["SenderFault"]), ("bad", True))
        self.assertEqual(failed["Code"], "InvalidParameterValue")
        self.assertIn("DelaySeconds", failed["Message"])

        entries = [{"Id": "bad", "ReceiptHandle": "none"}]
        [failed] = self.sqs.delete_message_batch(QueueUrl=url, Entries=entries)["Failed"]
        self.assertEqual((failed["Code"], failed["SenderFault"]), ("ReceiptHandleIsInvalid", True))
        hidden = [{**entries[0], "VisibilityTimeout": 1}]
        [failed] = self.sqs.change_message_visibility_batch(QueueUrl=url, Entries=hidden)["Failed"]
        self.assertEqual((failed["Code"], failed["SenderFault"]), ("ReceiptHandleIsInvalid", True))


class Visibility(Case):
    def test_a_message_comes_back_when_its_time_is_over(self):
        url = self.queue()
        self.send(url)
        first = self.receive_one(url, VisibilityTimeout=1)
        began = time.monotonic()
        self.assertEqual(self.receive(url), [])
        again = self.receive_one(url, LONG)
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(again["Attributes"]["ApproximateReceiveCount"], "2")
        self.assertNotEqual(again["ReceiptHandle"], first["ReceiptHandle"])
        # The handle of the first receive deletes nothing any more, and says nothing of it.
        self.delete(url, first)
        self.assertEqual(self.counts(url), [0, 1, 0])
        self.delete(url, again)
        self.assertEqual(self.counts(url), [0, 0, 0])

    def test_a_timeout_is_changed_while_the_message_is_in_flight(self):
        url = self.queue(VisibilityTimeout="43200")
        self.send(url)
        received = self.receive_one(url)
        change = {"QueueUrl": url, "ReceiptHandle": received["ReceiptHandle"]}
        self.sqs.change_message_visibility(**change, VisibilityTimeout=0)
        self.assertEqual(self.counts(url), [1, 0, 0])
        # A message that is visible has no flight to change, and AWS says nothing of it.
        self.sqs.change_message_visibility(**change, VisibilityTimeout=1)
        self.assertEqual(self.counts(url), [1, 0, 0])


class LongPolls(Case):
    def test_a_send_ends_the_wait(self):
        url = self.queue(ReceiveMessageWaitTimeSeconds=str(LONG))
        with ThreadPoolExecutor() as threads:
            began = time.monotonic()
            # Without a wait of its own, so that the queue's is taken.
            poll = threads.submit(self.sqs.receive_message, QueueUrl=url)
            self.assertEqual(wait([poll], timeout=0.5).done, set())
            self.send(url, "wake up")
            [received] = poll.result(timeout=LONG)["Messages"]
        self.assertEqual(received["Body"], "wake up")
        self.assertLess(time.monotonic() - began, LONG / 2)

    def test_a_wait_in_vain_ends_without_messages(self):
        url = self.queue()
        began = time.monotonic()
        self.assertNotIn("Messages", self.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1))
        self.assertGreater(time.monotonic() - began, 0.9)
