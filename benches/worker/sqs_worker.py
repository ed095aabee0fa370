"""A typical handwritten worker: a thread pool for each poll, a heartbeat thread for each message, one batch delete."""

import logging
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

import boto3

log = logging.getLogger(__name__)
sqs = boto3.client("sqs")


class SQSWorker:
    def __init__(self, queue_url, handler, max_workers=10, heartbeat=30, extension=60):
        self.queue_url = queue_url
        self.handler = handler
        self.max_workers = max_workers
        self.heartbeat = heartbeat
        self.extension = extension
        self.shutdown = threading.Event()

    def start(self):
        signal.signal(signal.SIGTERM, lambda s, f: self.shutdown.set())
        signal.signal(signal.SIGINT, lambda s, f: self.shutdown.set())
        log.info("SQS worker starting on %s", self.queue_url)
        while not self.shutdown.is_set():
            try:
                self.poll_once()
            except Exception:
                log.exception("Poll loop error")
                time.sleep(5)
        log.info("SQS worker shutting down")

    def poll_once(self):
        response = sqs.receive_message(
            QueueUrl=self.queue_url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=20,
            AttributeNames=["ApproximateReceiveCount"],
        )
        messages = response.get("Messages", [])
        if not messages:
            return
        with ThreadPoolExecutor(max_workers=self.max_workers) as pool:
            futures = {pool.submit(self._handle_with_heartbeat, m): m for m in messages}
            to_delete = []
            for future in as_completed(futures):
                msg = futures[future]
                try:
                    future.result()
                    to_delete.append(msg)
                except Exception:
                    log.exception("Handler failed: %s", msg["MessageId"])
            if to_delete:
                self._delete_batch(to_delete)

    def _handle_with_heartbeat(self, message):
        stop = threading.Event()

        def hb():
            while not stop.wait(self.heartbeat):
                try:
                    sqs.change_message_visibility(
                        QueueUrl=self.queue_url,
                        ReceiptHandle=message["ReceiptHandle"],
                        VisibilityTimeout=self.extension,
                    )
                except Exception:
                    log.exception("Heartbeat failed: %s", message["MessageId"])

        threading.Thread(target=hb, daemon=True).start()
        try:
            self.handler(message)
        finally:
            stop.set()

    def _delete_batch(self, messages):
        sqs.delete_message_batch(
            QueueUrl=self.queue_url,
            Entries=[{"Id": m["MessageId"], "ReceiptHandle": m["ReceiptHandle"]} for m in messages],
        )


def handler(message):
    pass


worker = SQSWorker(queue_url=os.environ["REDRIVE_QUEUE_URL"], handler=handler, max_workers=10)
worker.start()
