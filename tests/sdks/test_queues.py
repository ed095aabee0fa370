"""Queues themselves, through boto3."""

import json
import os

from case import LONG, Case, unique


class Queues(Case):
    def test_the_template_s_queues_are_there(self):
        orders = self.sqs.get_queue_url(QueueName="orders")["QueueUrl"]
        self.assertTrue(orders.startswith(os.environ["AWS_ENDPOINT_URL_SQS"]), orders)
        self.assertEqual(self.attribute(orders, "VisibilityTimeout"), "180")
        dlq = self.sqs.get_queue_url(QueueName="orders-dlq")["QueueUrl"]
        policy = {"deadLetterTargetArn": self.arn(dlq), "maxReceiveCount": 5}
        self.assertEqual(json.loads(self.attribute(orders, "RedrivePolicy")), policy)

    def test_a_queue_is_made_with_attributes_and_tags_and_found_again(self):
        name = unique("made")
        make = {"QueueName": name, "Attributes": {"VisibilityTimeout": "45"}, "tags": {"team": "orders"}}
        url = self.sqs.create_queue(**make)["QueueUrl"]
        self.assertEqual(self.sqs.create_queue(**make)["QueueUrl"], url)
        self.assertEqual(self.sqs.get_queue_url(QueueName=name)["QueueUrl"], url)
        self.assertEqual(self.sqs.list_queue_tags(QueueUrl=url)["Tags"], {"team": "orders"})

        attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        self.assertEqual(attributes.pop("QueueArn"), f"arn:aws:sqs:us-east-1:000000000000:{name}")
        self.assertEqual(attributes.pop("CreatedTimestamp"), attributes.pop("LastModifiedTimestamp"))
        expected = {
            "ApproximateNumberOfMessages": "0",
            "ApproximateNumberOfMessagesDelayed": "0",
            "ApproximateNumberOfMessagesNotVisible": "0",
            "DelaySeconds": "0",
            "MaximumMessageSize": "1048576",
            "MessageRetentionPeriod": "345600",
            "ReceiveMessageWaitTimeSeconds": "0",
            "SqsManagedSseEnabled": "true",
            "VisibilityTimeout": "45",
        }
        self.assertEqual(attributes, expected)

    def test_attributes_are_set(self):
        url = self.queue()
        policy = json.dumps({"Version": "2012-10-17", "Statement": []})
        attributes = {"DelaySeconds": "7", "MaximumMessageSize": "1024", "Policy": policy}
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
        names = [*attributes, "VisibilityTimeout"]
        got = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        self.assertEqual(got, {**attributes, "VisibilityTimeout": "30"})
        self.assertNotIn("Attributes", self.sqs.get_queue_attributes(QueueUrl=url))
        self.assert_refused("InvalidParameterValue", self.send, url=url, body="x" * 1025)

    def test_queues_are_listed_by_prefix_and_in_pages(self):
        prefix = unique("listed")
        urls = [self.sqs.create_queue(QueueName=f"{prefix}-{n}")["QueueUrl"] for n in range(5)]
        self.assertEqual(self.sqs.list_queues(QueueNamePrefix=prefix)["QueueUrls"], urls)
        first = self.sqs.list_queues(QueueNamePrefix=prefix, MaxResults=2)
        self.assertEqual(first["QueueUrls"], urls[:2])
        second = self.sqs.list_queues(QueueNamePrefix=prefix, MaxResults=2, NextToken=first["NextToken"])
        self.assertEqual(second["QueueUrls"], urls[2:4])
        pages = self.sqs.get_paginator("list_queues").paginate(QueueNamePrefix=prefix, PaginationConfig={"PageSize": 2})
        self.assertEqual([page["QueueUrls"] for page in pages], [urls[:2], urls[2:4], urls[4:]])
        self.assertEqual(self.sqs.list_queues(QueueNamePrefix=unique("none")).get("QueueUrls", []), [])

    def test_tags_come_and_go(self):
        url = self.queue()
        self.assertNotIn("Tags", self.sqs.list_queue_tags(QueueUrl=url))
        self.sqs.tag_queue(QueueUrl=url, Tags={"team": "orders", "stage": "test", "empty": ""})
        self.sqs.tag_queue(QueueUrl=url, Tags={"stage": "live"})
        self.sqs.untag_queue(QueueUrl=url, TagKeys=["team", "none"])
        self.assertEqual(self.sqs.list_queue_tags(QueueUrl=url)["Tags"], {"stage": "live", "empty": ""})

    def test_a_purge_leaves_nothing(self):
        url = self.queue()
        for delay in (0, 0, 900):
            self.send(url, DelaySeconds=delay)
        self.receive_one(url, MaxNumberOfMessages=1)
        self.assertEqual(self.counts(url), [1, 1, 1])
        self.sqs.purge_queue(QueueUrl=url)
        self.assertEqual(self.counts(url), [0, 0, 0])

    def test_a_queue_that_is_deleted_is_gone(self):
        url = self.queue()
        self.sqs.delete_queue(QueueUrl=url)
        with self.assertRaises(self.sqs.exceptions.QueueDoesNotExist):
            self.send(url)


class Permissions(Case):
    def statements(self, url):
        policy = self.attribute(url, "Policy")
        return json.loads(policy)["Statement"] if policy else []

    def test_a_permission_is_a_statement_of_the_policy(self):
        url = self.queue()
        grant = {"AWSAccountIds": ["111122223333"], "Actions": ["SendMessage", "ReceiveMessage"]}
        self.sqs.add_permission(QueueUrl=url, Label="partner", **grant)
        [statement] = self.statements(url)
        self.assertEqual((statement["Sid"], statement["Effect"]), ("partner", "Allow"))
        self.assertEqual(statement["Resource"], self.arn(url))
        self.assertIn("SQS:SendMessage", statement["Action"])
        self.sqs.remove_permission(QueueUrl=url, Label="partner")
        self.assertEqual(self.statements(url), [])

    def test_a_permission_is_added_to_the_policy_that_is_there(self):
        url = self.queue()
        own = {"Sid": "own", "Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": self.arn(url)}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [own]})
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        grant = {"AWSAccountIds": ["111122223333"], "Actions": ["*"]}
        self.sqs.add_permission(QueueUrl=url, Label="partner", **grant)
        self.assertEqual([statement["Sid"] for statement in self.statements(url)], ["own", "partner"])
        self.sqs.remove_permission(QueueUrl=url, Label="own")
        self.assertEqual([statement["Sid"] for statement in self.statements(url)], ["partner"])
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})
        self.assertIsNone(self.attribute(url, "Policy"))


class Redrive(Case):
    def test_after_its_last_receive_a_message_is_in_the_dead_letter_queue(self):
        url, dlq = self.queue_with_dlq(2)
        sent = self.send(url, "poison")
        for _ in range(2):
            self.receive_one(url, VisibilityTimeout=0)
        self.assertEqual(self.receive(url), [])
        dead = self.receive_one(dlq)
        self.assertEqual((dead["MessageId"], dead["Body"]), (sent["MessageId"], "poison"))
        self.assertEqual(dead["Attributes"]["DeadLetterQueueSourceArn"], self.arn(url))
        self.assertEqual(dead["Attributes"]["ApproximateReceiveCount"], "3")

    def test_a_dead_letter_queue_knows_its_sources(self):
        url, dlq = self.queue_with_dlq(2)
        self.assertEqual(self.sqs.list_dead_letter_source_queues(QueueUrl=dlq)["queueUrls"], [url])
        pages = self.sqs.get_paginator("list_dead_letter_source_queues").paginate(QueueUrl=dlq)
        self.assertEqual([page["queueUrls"] for page in pages], [[url]])
        # An empty list is not in XML.
        self.assertEqual(self.sqs.list_dead_letter_source_queues(QueueUrl=url).get("queueUrls", []), [])

    def test_a_move_task_brings_dead_letters_back(self):
        url, dlq = self.queue_with_dlq(1)
        self.send(url)
        self.receive_one(url, VisibilityTimeout=0)
        self.assertEqual(self.receive(url), [])
        started = self.sqs.start_message_move_task(SourceArn=self.arn(dlq))
        self.assertTrue(started["TaskHandle"])
        back = self.receive_one(url, LONG)
        self.assertEqual(back["Attributes"]["ApproximateReceiveCount"], "1")
        # It ends a moment after its last message.
        for _ in range(1000):
            [task] = self.sqs.list_message_move_tasks(SourceArn=self.arn(dlq))["Results"]
            if task["Status"] != "RUNNING":
                break
        self.assertEqual((task["Status"], task["ApproximateNumberOfMessagesMoved"]), ("COMPLETED", 1))
        self.assertEqual(task["SourceArn"], self.arn(dlq))

    def test_a_move_task_is_cancelled(self):
        url, dlq = self.queue_with_dlq(1)
        for _ in range(3):
            self.send(dlq)
        task = {"SourceArn": self.arn(dlq), "DestinationArn": self.arn(url), "MaxNumberOfMessagesPerSecond": 1}
        handle = self.sqs.start_message_move_task(**task)["TaskHandle"]
        [running] = self.sqs.list_message_move_tasks(SourceArn=self.arn(dlq))["Results"]
        self.assertEqual((running["Status"], running["TaskHandle"]), ("RUNNING", handle))
        self.assertEqual(running["MaxNumberOfMessagesPerSecond"], 1)
        self.assert_refused("InvalidParameterValue", self.sqs.start_message_move_task, **task)
        moved = self.sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"]
        self.assertLess(moved, 3)
        self.assert_refused("InvalidParameterValue", self.sqs.cancel_message_move_task, TaskHandle="none")
