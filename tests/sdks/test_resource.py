"""boto3's objects, which take a queue's URL and call it."""

import json

import boto3

from case import SYSTEM_ATTRIBUTES, Case, unique


class Resource(Case):
    sqs_resource = boto3.resource("sqs")

    def test_a_queue_is_made_used_and_deleted(self):
        name = unique("resource")
        queue = self.sqs_resource.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "45"})
        self.assertEqual(self.sqs_resource.get_queue_by_name(QueueName=name).url, queue.url)
        self.assertEqual(self.sqs_resource.Queue(queue.url).attributes["VisibilityTimeout"], "45")
        self.assertEqual([each.url for each in self.sqs_resource.queues.filter(QueueNamePrefix=name)], [queue.url])

        queue.send_message(MessageBody="one")
        queue.send_messages(Entries=[{"Id": "2", "MessageBody": "two"}])
        one, two = queue.receive_messages(MaxNumberOfMessages=10, **{SYSTEM_ATTRIBUTES: ["All"]})
        self.assertEqual((one.body, two.body, two.attributes["ApproximateReceiveCount"]), ("one", "two", "1"))
        one.change_visibility(VisibilityTimeout=0)
        two.delete()
        [again] = queue.receive_messages()
        queue.delete_messages(Entries=[{"Id": "1", "ReceiptHandle": again.receipt_handle}])
        queue.reload()
        counts = [queue.attributes[f"ApproximateNumberOfMessages{which}"] for which in ("", "NotVisible")]
        self.assertEqual(counts, ["0", "0"])
        queue.delete()
        with self.assertRaises(self.sqs_resource.meta.client.exceptions.QueueDoesNotExist):
            self.sqs_resource.get_queue_by_name(QueueName=name)

    def test_a_dead_letter_queue_has_its_sources(self):
        url, dlq = self.queue_with_dlq(3)
        sources = self.sqs_resource.Queue(dlq).dead_letter_source_queues.all()
        self.assertEqual([queue.url for queue in sources], [url])
        policy = json.loads(self.sqs_resource.Queue(url).attributes["RedrivePolicy"])
        self.assertEqual(policy["maxReceiveCount"], 3)
