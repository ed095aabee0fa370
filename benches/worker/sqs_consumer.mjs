// `sqs-consumer` as its README has it, with a handler a message, or with one a batch.

import { Consumer } from "sqs-consumer";

const handlers = {
  message: { handleMessage: async (message) => message },
  batch: { handleMessageBatch: async (messages) => messages },
};

const consumer = Consumer.create({
  queueUrl: process.env.REDRIVE_QUEUE_URL,
  batchSize: 10,
  ...handlers[process.env.BENCH_HANDLER],
});

const fail = (error) => {
  console.error(error);
  process.exit(1);
};
consumer.on("error", fail);
consumer.on("processing_error", fail);
consumer.start();
