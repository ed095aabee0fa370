// The AWS SDK for JavaScript, which does two things that boto3 does not: it checks the MD5 of every body, and it calls the
// host of a queue's URL.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";

// It is installed where this runs, not where this is.
const { SQS, QueueDoesNotExist } = createRequire(`${process.cwd()}/`)("@aws-sdk/client-sqs");

const sqs = new SQS();
const ALL = { MaxNumberOfMessages: 10, MessageAttributeNames: ["All"], MessageSystemAttributeNames: ["All"] };

test("messages go their way", async () => {
    const { QueueUrl } = await sqs.createQueue({ QueueName: "javascript" });
    const MessageAttributes = {
        text: { DataType: "String", StringValue: "crème brûlée 🍮" },
        bytes: { DataType: "Binary", BinaryValue: new Uint8Array([0, 1, 127, 128, 255]) },
    };
    await sqs.sendMessage({ QueueUrl, MessageBody: "日本語 🍣", MessageAttributes });
    const Entries = Array.from({ length: 9 }, (_, n) => ({ Id: `${n}`, MessageBody: `message ${n} æ` }));
    assert.equal((await sqs.sendMessageBatch({ QueueUrl, Entries })).Successful.length, 9);

    const { Messages } = await sqs.receiveMessage({ QueueUrl, ...ALL });
    assert.equal(Messages.length, 10);
    assert.equal(Messages[0].Body, "日本語 🍣");
    assert.deepEqual(Messages[0].MessageAttributes, MessageAttributes);
    assert.equal(Messages[0].Attributes.ApproximateReceiveCount, "1");
    const handles = Messages.map(({ ReceiptHandle }, n) => ({ Id: `${n}`, ReceiptHandle }));
    assert.equal((await sqs.deleteMessageBatch({ QueueUrl, Entries: handles })).Successful.length, 10);
    const { Attributes } = await sqs.getQueueAttributes({ QueueUrl, AttributeNames: ["All"] });
    assert.equal(Attributes.ApproximateNumberOfMessagesNotVisible, "0");
    assert.equal((await sqs.receiveMessage({ QueueUrl })).Messages, undefined);
});

test("a long poll ends with a send", async () => {
    const { QueueUrl } = await sqs.createQueue({ QueueName: "javascript-poll" });
    const poll = sqs.receiveMessage({ QueueUrl, WaitTimeSeconds: 20 });
    await sqs.sendMessage({ QueueUrl, MessageBody: "wake up" });
    assert.equal((await poll).Messages[0].Body, "wake up");
});

test("an error has its class", async () => {
    await assert.rejects(sqs.getQueueUrl({ QueueName: "none" }), QueueDoesNotExist);
});

test("a queue's URL leads to it", async () => {
    const { QueueUrl } = await sqs.getQueueUrl({ QueueName: "orders" });
    delete process.env.AWS_ENDPOINT_URL_SQS;
    // It warns that the URL has another host than the region's.
    const silent = () => {};
    const logger = { trace: silent, debug: silent, info: silent, warn: silent, error: silent };
    const elsewhere = new SQS({ logger });
    const { Attributes } = await elsewhere.getQueueAttributes({ QueueUrl, AttributeNames: ["VisibilityTimeout"] });
    assert.equal(Attributes.VisibilityTimeout, "180");
});
