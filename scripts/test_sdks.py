#!/usr/bin/env python3
"""Tests the queue of `redrive dev` with boto3, the AWS CLI, the extended client library, Celery and the AWS SDK for
JavaScript.

It needs Rust, Python 3.9 and Node 20. It installs the SDKs from PyPI and npm into target/sdks. Debian's AWS CLI is tested
where it is installed; with REDRIVE_TEST_ALL=1, it has to be.
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

# Debian's CLI is as old as the Debian. Other systems may have a newer one here, which is tested as well.
DEBIANS_AWS = Path("/usr/bin/aws")

BUILD_LIMIT_S = 1800
START_LIMIT_S = 30
TESTS_LIMIT_S = 600


def test_sdks():
    python = install_all(TESTS / "requirements.txt", INSTALLED / "python")
    query_python = install_all(TESTS / "requirements-query.txt", INSTALLED / "query-python")
    celery_python = install_all(TESTS / "requirements-celery.txt", INSTALLED / "celery-python")
    install_for_node(TESTS / "javascript", INSTALLED / "javascript")
    unittest = [python, "-B", "-m", "unittest", "discover", "--start-directory", TESTS]
    modules = [f"test_{module}" for module in ("errors", "fifo", "messages", "queues", "resource")]
    suites = {
        "boto3 and the AWS CLI": unittest,
        "boto3 1.28.80, which speaks the Query protocol": [query_python, "-B", "-m", "unittest", *modules],
        # In a separate process, because the library replaces boto3's session by its own.
        "the extended client library": [*unittest, "--pattern", "large_messages.py"],
        "kombu and Celery": [celery_python, "-B", "-m", "unittest", "celery_round_trip"],
        "the AWS SDK for JavaScript": ["node", "--test", "--test-reporter", "spec", TESTS / "javascript" / "test.mjs"],
    }
    if has_debians_cli():
        suites["Debian's AWS CLI, which speaks the Query protocol"] = [python, "-B", "-m", "unittest", "test_aws_cli"]
    redrive = build()
    for name, tests in suites.items():
        # Each suite has an SQS of its own, because they use the same names.
        with served(redrive) as url:
            print(f"\n{name} at {url}", flush=True)
            env = {**environment(url), "PYTHONPATH": str(TESTS)}
            if name.startswith("Debian"):
                env["REDRIVE_TEST_AWS"] = str(DEBIANS_AWS)
            options = {"env": env, "cwd": INSTALLED / "javascript", "stdout": None, "stderr": None}
            if run(tests, TESTS_LIMIT_S, **options).returncode != 0:
                raise Problem(f"{name}: tests failed; see the output above")
    return 0


def has_debians_cli():
    """Returns whether Debian's AWS CLI is here."""
    if DEBIANS_AWS.exists():
        return True
    if os.environ.get("REDRIVE_TEST_ALL"):
        raise Problem(f"there is no {DEBIANS_AWS}; install it with `apt-get install awscli`")
    print(f"skipping Debian's AWS CLI, because there is no {DEBIANS_AWS}", flush=True)
    return False


def build():
    """Builds the command and returns its path.

    `cargo test` builds it, because `cargo build` would compile the dependencies again with other features.
    """
    command = ["cargo", "test", "--workspace", "--all-features", "--no-run", "--message-format", "json-render-diagnostics"]
    building = run(command, BUILD_LIMIT_S, cwd=ROOT, stderr=None)
    if building.returncode != 0:
        raise Problem("the build of `redrive` failed; see the compiler's output above")
    for message in map(json.loads, building.stdout.splitlines()):
        if message.get("executable") and message["target"]["name"] == "redrive" and not message["profile"]["test"]:
            return message["executable"]
    raise Problem(f"`{' '.join(command)}` built no executable `redrive`")


@contextlib.contextmanager
def served(redrive):
    """Serves the queues of the tests' template at a free port during the block, and yields the address."""
    with tempfile.NamedTemporaryFile() as log:
        command = [redrive, "dev", TESTS / "template.yaml", "--port", "0"]
        with started(command, stdout=log, stderr=log) as process:
            yield address(process, Path(log.name))


def address(process, log):
    """Waits for the address that the command prints once it listens."""
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        printed = log.read_text()
        if listening := re.search(r"^SQS at (http://[^;]+);", printed, re.MULTILINE):
            return listening[1]
        if process.poll() is not None:
            raise Problem(f"`redrive dev` ended with status {process.returncode}; see its output above", printed)
        if time.monotonic() > deadline:
            raise Problem(f"`redrive dev` printed no address within {START_LIMIT_S} s; see its output above", printed)
        time.sleep(0.05)


def environment(url):
    """Returns variables that point SDKs at the queue, without the user's settings that point elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    # Through a proxy, loopback would be another machine.
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
        # A retry would hide a wrong answer.
        "AWS_MAX_ATTEMPTS": "1",
    }


if __name__ == "__main__":
    main(test_sdks)
