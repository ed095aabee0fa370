"""The form of messages whose bodies are in S3, by AWS's extended client library for Python.

tests/large_messages has what redrive writes and reads, to the letter; here that is what the library reads and writes.
"""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from botocore.config import Config
from case import LONG, Case
from sqs_extended_client.client import SQSExtendedClientSession

OURS = '["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"payloads","s3Key":"k"}]'
THEIRS = '["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "payloads", "s3Key": "k"}]'

# Bodies as they are, at paths.
PLAIN = Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")


class Bucket(BaseHTTPRequestHandler):
    """As much of S3 as the library asks for."""

    objects = {}

    def do_PUT(self):
        self.objects[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b"")

    def do_GET(self):
        self.answer(self.objects[self.path])

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class LargeMessages(Case):
    def setUp(self):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        session = SQSExtendedClientSession()
        s3 = session.client("s3", endpoint_url=f"http://127.0.0.1:{server.server_port}", config=PLAIN)
        self.extended = session.client("sqs")
        self.extended.large_payload_support = "payloads"
        self.extended.s3_client = s3

    def test_the_library_writes_what_redrive_reads(self):
        url = self.queue()
        key = {"S3Key": {"DataType": "String", "StringValue": "k"}}
        self.extended.send_message(QueueUrl=url, MessageBody="x" * 262_145, MessageAttributes=key)
        message = self.receive_one(url, LONG)
        self.assertEqual(message["Body"], THEIRS)
        size = {"DataType": "Number", "StringValue": "262145"}
        self.assertEqual(message["MessageAttributes"]["ExtendedPayloadSize"], size)
        self.assertEqual(Bucket.objects["/payloads/k"], b"x" * 262_145)

    def test_the_library_reads_what_redrive_writes(self):
        url = self.queue()
        Bucket.objects["/payloads/k"] = "é".encode()
        size = {"ExtendedPayloadSize": {"DataType": "Number", "StringValue": "2"}}
        self.send(url, OURS, MessageAttributes=size)
        received = self.extended.receive_message(QueueUrl=url, WaitTimeSeconds=LONG)["Messages"][0]
        self.assertEqual((received["Body"], received["MessageAttributes"]), ("é", {}))
