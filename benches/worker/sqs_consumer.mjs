// Uses `sqs-consumer` as its README shows, with a handler for single messages or for batches.

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
