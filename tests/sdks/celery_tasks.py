"""The tasks of a Celery worker. Each writes its order into the file that the test names."""

import os
from urllib.parse import urlsplit

from celery import Celery

ENDPOINT = urlsplit(os.environ["AWS_ENDPOINT_URL_SQS"])
BROKER = f"sqs://x:x@{ENDPOINT.netloc}//"
TRANSPORT = {"region": "us-east-1", "is_secure": False, "wait_time_seconds": 1, "polling_interval": 0.1}

app = Celery("celery_tasks", broker=BROKER)
app.conf.broker_transport_options = TRANSPORT
app.conf.task_default_queue = "celery"
# Remote control would need a queue for each worker.
app.conf.worker_enable_remote_control = False


@app.task
def place(order):
    with open(os.environ["PLACED"], "a", encoding="utf-8") as placed:
        placed.write(f"{order}\n")
