#!/usr/bin/env python3
"""Drives the local queue, as `redrive dev` serves it, with other SDKs: boto3, the AWS CLI, the extended client library, the AWS SDK for
JavaScript.

It needs Rust, Python 3.9 and Node 20; what drives the queue comes from PyPI and npm into target/sdks.
"""

import contextlib
import json
import os
import re
import tempfile
import time
from pathlib import Path

from tools import ROOT, Problem, install_all, install_for_node, main, run, started

TESTS = ROOT / "tests" / "sdks"
INSTALLED = ROOT / "target" / "sdks"

BUILD_LIMIT_S = 1800
START_LIMIT_S = 30
TESTS_LIMIT_S = 600


def test_sdks():
    python = install_all(TESTS / "requirements.txt", INSTALLED / "python")
    install_for_node(TESTS / "javascript", INSTALLED / "javascript")
    unittest = [python, "-B", "-m", "unittest", "discover", "--start-directory", TESTS]
    suites = {
        "boto3 and the AWS CLI": unittest,
        # In a process of its own: the library puts its session in the place of boto3's.
        "the extended client library": [*unittest, "--pattern", "large_messages.py"],
        "the AWS SDK for JavaScript": ["node", "--test", "--test-reporter", "spec", TESTS / "javascript" / "test.mjs"],
    }
    with served(build()) as url:
        options = {"env": environment(url), "cwd": INSTALLED / "javascript", "stdout": None, "stderr": None}
        for name, tests in suites.items():
            print(f"\n{name} at {url}", flush=True)
            if run(tests, TESTS_LIMIT_S, **options).returncode != 0:
                raise Problem(f"{name}: not all tests passed; those above say which")
    return 0


def build():
    """Gives the command's path. By itself it would be built anew: `cargo test` has other features of what it depends on."""
    command = ["cargo", "test", "--workspace", "--all-features", "--no-run", "--message-format", "json-render-diagnostics"]
    building = run(command, BUILD_LIMIT_S, cwd=ROOT, stderr=None)
    if building.returncode != 0:
        raise Problem("`redrive` does not build; the compiler's words above say why")
    for message in map(json.loads, building.stdout.splitlines()):
        if message.get("executable") and message["target"]["name"] == "redrive" and not message["profile"]["test"]:
            return message["executable"]
    raise Problem(f"`{' '.join(command)}` built no `redrive`")


@contextlib.contextmanager
def served(redrive):
    """Serves the queues of the tests' template at a free port while the block runs, and gives the address."""
    with tempfile.NamedTemporaryFile() as log:
        command = [redrive, "dev", TESTS / "template.yaml", "--port", "0"]
        with started(command, stdout=log, stderr=log) as process:
            yield address(process, Path(log.name))


def address(process, log):
    """What the command prints when it listens."""
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        printed = log.read_text()
        if listening := re.search(r"^SQS at (http://[^;]+);", printed, re.MULTILINE):
            return listening[1]
        if process.poll() is not None:
            raise Problem(f"`redrive dev` ended with {process.returncode}; its words are above", printed)
        if time.monotonic() > deadline:
            raise Problem(f"`redrive dev` said within {START_LIMIT_S} s of no address", printed)
        time.sleep(0.05)


def environment(url):
    """What points SDKs at the queue, and nothing of the user's that would point them elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    # Loopback through a proxy is another machine's.
    kept = {name: value for name, value in kept.items() if not name.upper().endswith("_PROXY")}
    return {
        **kept,
        "AWS_ENDPOINT_URL_SQS": url,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        # An answer that is wrong once is wrong.
        "AWS_MAX_ATTEMPTS": "1",
    }


if __name__ == "__main__":
    main(test_sdks)
