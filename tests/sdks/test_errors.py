"""What is refused, under the names that boto3 has for it: as `client.exceptions`, and as the code that it prints."""

import json

from case import SYSTEM_ATTRIBUTES, Case, unique

OLD = "AWS.SimpleQueueService."


class Errors(Case):
    def refused(self, exception, code, call, **parameters):
        error = self.assert_refused(code, call, **parameters)
        # An older boto3 knows fewer exceptions.
        known = self.sqs.exceptions
        self.assertIs(type(error), getattr(known, exception, known.ClientError), error)
        self.assertTrue(error.response["Error"]["Message"])

    def test_of_queues(self):
        sqs, url, name = self.sqs, self.queue(), unique("errors")
        sqs.create_queue(QueueName=name)
        deleted = self.queue()
        sqs.delete_queue(QueueUrl=deleted)
        purged = self.queue()
        sqs.purge_queue(QueueUrl=purged)
        set_attributes = {"QueueUrl": url, "call": sqs.set_queue_attributes}
        grant = {"QueueUrl": url, "Label": "x", "AWSAccountIds": ["111122223333"]}
        nowhere = "arn:aws:sqs:us-east-1:000000000000:none"
        no_dlq = json.dumps({"deadLetterTargetArn": nowhere, "maxReceiveCount": 1})

        self.refused("QueueDoesNotExist", OLD + "NonExistentQueue", sqs.get_queue_url, QueueName="none")
        self.refused("QueueDoesNotExist", OLD + "NonExistentQueue", sqs.receive_message, QueueUrl=f"{url}-none")
        self.refused("QueueDoesNotExist", OLD + "NonExistentQueue", sqs.receive_message, QueueUrl="none")
        self.refused(
            "QueueNameExists",
            "QueueAlreadyExists",
            sqs.create_queue,
            QueueName=name,
            Attributes={"VisibilityTimeout": "1"},
        )
        self.refused(
            "QueueDeletedRecently",
            OLD + "QueueDeletedRecently",
            sqs.create_queue,
            QueueName=deleted.rpartition("/")[2],
        )
        self.refused("PurgeQueueInProgress", OLD + "PurgeQueueInProgress", sqs.purge_queue, QueueUrl=purged)
        for attributes in ({"VisibilityTimeout": "43201"}, {"RedrivePolicy": no_dlq}, {"RedrivePolicy": "{"}):
            self.refused("InvalidAttributeValue", "InvalidAttributeValue", **set_attributes, Attributes=attributes)
        self.refused("InvalidAttributeName", "InvalidAttributeName", **set_attributes, Attributes={"Colour": "red"})
        self.refused(
            "InvalidAttributeName",
            "InvalidAttributeName",
            sqs.get_queue_attributes,
            QueueUrl=url,
            AttributeNames=["Colour"],
        )
        self.refused("OverLimit", "OverLimit", sqs.add_permission, **grant, Actions=["SendMessage"] * 8)
        self.refused(
            "ResourceNotFoundException",
            "ResourceNotFoundException",
            sqs.start_message_move_task,
            SourceArn=nowhere,
        )

    def test_of_messages(self):
        sqs, url = self.sqs, self.queue()
        of_none = {"QueueUrl": url, "ReceiptHandle": "none"}
        invalid = ("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid")
        self.refused(*invalid, sqs.delete_message, **of_none)
        self.refused(*invalid, sqs.change_message_visibility, **of_none, VisibilityTimeout=1)
        self.refused("InvalidMessageContents", "InvalidMessageContents", self.send, url=url, body="\0")
        unknown = {"QueueUrl": url, SYSTEM_ATTRIBUTES: ["Colour"]}
        self.refused("InvalidAttributeName", "InvalidAttributeName", sqs.receive_message, **unknown)

    def test_of_batches(self):
        url = self.queue()

        def refused(exception, ids, body="x"):
            entries = [{"Id": id, "MessageBody": body} for id in ids]
            self.refused(exception, OLD + exception, self.sqs.send_message_batch, QueueUrl=url, Entries=entries)

        refused("EmptyBatchRequest", [])
        refused("BatchEntryIdsNotDistinct", ["a", "a"])
        refused("InvalidBatchEntryId", ["a b"])
        refused("TooManyEntriesInBatchRequest", map(str, range(11)))
        refused("BatchRequestTooLong", ["a", "b"], "x" * (1 << 19) + "y")
        # Far too long.
        refused("BatchRequestTooLong", map(str, range(10)), "x" * (1 << 20))

    def test_of_numbers_that_are_out_of_range(self):
        sqs, url = self.sqs, self.queue()
        self.send(url)
        handle = self.receive_one(url)["ReceiptHandle"]
        cases = [
            (self.send, {"url": url, "DelaySeconds": 901}),
            (sqs.receive_message, {"QueueUrl": url, "MaxNumberOfMessages": 11}),
            (sqs.receive_message, {"QueueUrl": url, "WaitTimeSeconds": 21}),
            (sqs.receive_message, {"QueueUrl": url, "VisibilityTimeout": 43201}),
            (sqs.change_message_visibility, {"QueueUrl": url, "ReceiptHandle": handle, "VisibilityTimeout": 43201}),
            (sqs.list_queues, {"MaxResults": 1001}),
        ]
        for call, parameters in cases:
            with self.subTest(parameters=parameters):
                self.assert_refused("InvalidParameterValue", call, **parameters)
