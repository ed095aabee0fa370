"""Celery, and kombu below it, with the local queue as their broker."""

import os
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import celery_tasks
from kombu import Connection

LIMIT_S = 60


class Kombu(unittest.TestCase):
    def test_messages_are_received_and_acknowledged(self):
        with Connection(celery_tasks.BROKER, transport_options=celery_tasks.TRANSPORT) as connection:
            queue = connection.SimpleQueue("kombu")
            for order in range(3):
                queue.put({"order": order})
            received = [queue.get(timeout=LIMIT_S) for _ in range(3)]
            self.assertEqual(sorted(message.payload["order"] for message in received), [0, 1, 2])
            for message in received:
                message.ack()
            self.assertEqual(queue.qsize(), 0)
            queue.close()


class Celery(unittest.TestCase):
    def test_worker_runs_each_task(self):
        celery_tasks.place.delay("first")
        celery_tasks.place.delay("second")
        with tempfile.TemporaryDirectory() as directory:
            placed = Path(directory) / "placed"
            worker = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "celery_tasks", "worker", "--pool", "solo"]
                + ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"],
                env={**os.environ, "PLACED": str(placed)},
            )
            try:
                self.assertEqual(self.orders(placed, worker), ["first", "second"])
            finally:
                worker.terminate()
                worker.wait(LIMIT_S)

    def orders(self, placed, worker):
        """Waits until two tasks have run or the worker has ended, and returns their orders, sorted."""
        deadline = time.monotonic() + LIMIT_S
        orders = []
        while len(orders) < 2 and worker.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
            orders = placed.read_text().split() if placed.exists() else []
        return sorted(orders)
