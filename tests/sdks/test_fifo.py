"""FIFO queues, through boto3."""

from case import LONG, Case, md5


class Fifo(Case):
    def bodies(self, messages):
        return [message["Body"] for message in messages]

    def test_a_group_comes_in_its_order_and_is_locked_meanwhile(self):
        url = self.fifo(ContentBasedDeduplication="true")
        for n in range(3):
            self.send(url, f"a{n}", MessageGroupId="a")
        self.send(url, "b0", MessageGroupId="b")
        first = self.receive(url, MaxNumberOfMessages=2)
        self.assertEqual(self.bodies(first), ["a0", "a1"])
        self.assertEqual(self.bodies(self.receive(url)), ["b0"])
        for message in first:
            self.delete(url, message)
        last = self.receive_one(url)
        self.assertEqual(last["Body"], "a2")
        numbers = [int(message["Attributes"]["SequenceNumber"]) for message in [*first, last]]
        self.assertEqual(numbers, sorted(set(numbers)))

    def test_a_group_goes_on_from_its_oldest_after_a_timeout(self):
        url = self.fifo(ContentBasedDeduplication="true")
        for n in range(3):
            self.send(url, f"a{n}", MessageGroupId="a")
        self.receive(url, MaxNumberOfMessages=1, VisibilityTimeout=1)
        self.assertEqual(self.receive(url), [])
        self.assertEqual(self.bodies(self.receive(url, LONG)), ["a0", "a1", "a2"])

    def test_the_same_deduplication_id_is_accepted_and_not_delivered_again(self):
        url = self.fifo()
        options = {"MessageGroupId": "a", "MessageDeduplicationId": "1"}
        first = self.send(url, "first", **options)
        second = self.send(url, "second", **options)
        self.assertEqual(second["MessageId"], first["MessageId"])
        self.assertEqual(second["SequenceNumber"], first["SequenceNumber"])
        self.assertEqual(second["MD5OfMessageBody"], md5("second"))
        received = self.receive_one(url)
        self.assertEqual(received["Body"], "first")
        self.assertEqual(received["Attributes"]["MessageDeduplicationId"], "1")
        self.assertEqual(received["Attributes"]["MessageGroupId"], "a")
        self.assertEqual(received["Attributes"]["SequenceNumber"], first["SequenceNumber"])
        # Nor is it when the first is gone.
        self.delete(url, received)
        self.send(url, "third", **options)
        self.assertEqual(self.counts(url), [0, 0, 0])

    def test_content_may_stand_for_the_deduplication_id(self):
        url = self.fifo(ContentBasedDeduplication="true")
        entries = [{"Id": str(n), "MessageBody": body, "MessageGroupId": "a"} for n, body in enumerate(["x", "y", "x"])]
        sent = self.sqs.send_message_batch(QueueUrl=url, Entries=entries)["Successful"]
        self.assertEqual(sent[0]["MessageId"], sent[2]["MessageId"])
        self.assertEqual(self.bodies(self.receive(url)), ["x", "y"])

    def test_ids_may_be_compared_within_a_group_only(self):
        url = self.fifo(DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
        for group in ("a", "b", "a"):
            self.send(url, group, MessageGroupId=group, MessageDeduplicationId="1")
        self.assertEqual(self.bodies(self.receive(url)), ["a", "b"])

    def test_a_receive_that_is_repeated_gets_the_same(self):
        url = self.fifo(ContentBasedDeduplication="true")
        self.send(url, "x", MessageGroupId="a")
        [first], [again] = (self.receive(url, ReceiveRequestAttemptId="1") for _ in range(2))
        self.assertEqual(first["ReceiptHandle"], again["ReceiptHandle"])
        self.assertEqual(again["Attributes"]["ApproximateReceiveCount"], "1")

    def test_what_a_fifo_queue_needs_and_does_not_take_is_said(self):
        url = self.fifo()
        self.assert_refused("MissingParameter", self.send, url=url)
        self.assert_refused("InvalidParameterValue", self.send, url=url, MessageGroupId="a")
        delayed = {"MessageGroupId": "a", "MessageDeduplicationId": "1", "DelaySeconds": 1}
        self.assert_refused("InvalidParameterValue", self.send, url=url, **delayed)
        self.assert_refused("InvalidParameterValue", self.send, url=self.queue(), MessageDeduplicationId="1")
        self.assert_refused("InvalidParameterValue", self.sqs.create_queue, QueueName="x.fifo")
