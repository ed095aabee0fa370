// Uses `sqs-producer` as its README shows: it takes the messages in one array and sends them in tens.

import { Producer } from "sqs-producer";

const count = Number(process.env.BENCH_MESSAGES);
const producer = Producer.create({ queueUrl: process.env.BENCH_QUEUE_URL, region: process.env.AWS_REGION });
const messages = Array.from({ length: count }, (_, number) => ({
  id: String(number),
  body: `{"order_id":"${number.toString(16).padStart(32, "0")}","customer_id":"c-7","amount_cents":1999}`,
}));

const begin = performance.now();
const before = process.cpuUsage();
await producer.send(messages);
const { user, system } = process.cpuUsage(before);
console.log((performance.now() - begin) / 1e3, (user + system) / 1e6, count / 10);
