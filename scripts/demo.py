#!/usr/bin/env python3
"""Serves the function `orders` on this machine and invokes it with every event of events/.

Prints each answer with the expected one, and exits with status 0 if all of them match. It needs Rust and Python 3.9. It
installs cargo-lambda, which stands in for Lambda, from PyPI into .venv.
"""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import tempfile
import textwrap
import time
from itertools import zip_longest
from pathlib import Path

from tools import ROOT, Problem, install, main, run, started

CARGO_LAMBDA = "1.9.2"

EVENTS = ROOT / "events"

BUILD_LIMIT_S = 1800
START_LIMIT_S = 60
FUNCTION_LIMIT_S = 30
# Longer than the function's limit, because an abandoned call stays queued and runs later.
INVOKE_LIMIT_S = FUNCTION_LIMIT_S + 15

ERROR = {"error": True}

# A message id has 36 characters.
WIDTHS = (29, 38, 38, 0)


def demo():
    if not shutil.which("cargo"):
        raise Problem("there is no cargo on the PATH; install Rust from https://rustup.rs")
    events = sorted(EVENTS.glob("*.json"), key=lambda event: event.stem)
    missing = [event.name for event in events if not (EVENTS / "expected" / event.name).exists()]
    if missing or not events:
        raise Problem(f"events/expected/ has no answer for {', '.join(missing) or 'any event'}; add the answer")
    install("cargo-lambda", CARGO_LAMBDA, "cargo-lambda")
    build()
    print(f"\ninvoking `orders` with each of events/*.json\n\n{line('EVENT', 'ANSWER', 'EXPECTED')}")
    matching = 0
    with tempfile.NamedTemporaryFile() as log, served(log) as port:
        for event in events:
            matching += compare(event, port, log)
        if matching < len(events):
            print(f"\nthe function's log ends with:\n{tail(log)}")
    print(f"\n{matching} of {len(events)} answers are as expected")
    return 0 if matching == len(events) else 1


def build():
    """Builds the function before it is served, so that no invocation waits for the compiler."""
    building = run(["cargo", "build", "--bin", "orders"], BUILD_LIMIT_S, cwd=ROOT, stdout=None, stderr=None)
    if building.returncode != 0:
        raise Problem("the build of `orders` failed; see the compiler's output above")


@contextlib.contextmanager
def served(log):
    """Serves `orders` on a free port of loopback during the block, and yields the port."""
    port = free_port()
    watch = ["cargo", "lambda", "watch", "--bin", "orders", "--ignore-changes", "--timeout", FUNCTION_LIMIT_S]
    with started([*watch, *address(port)], cwd=ROOT, stdout=log, stderr=log) as process:
        deadline = time.monotonic() + START_LIMIT_S
        while not accepts(port):
            if process.poll() is not None:
                problem = f"`cargo lambda watch` ended with status {process.returncode}; see its log above"
                raise Problem(problem, tail(log))
            if time.monotonic() > deadline:
                problem = f"`cargo lambda watch` did not listen within {START_LIMIT_S} s; see its log above"
                raise Problem(problem, tail(log))
            time.sleep(0.1)
        yield port


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(port):
    """Returns whether the port accepts connections. A GET of / would count as an invocation."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def address(port):
    return ["--invoke-address", "127.0.0.1", "--invoke-port", port]


def compare(event, port, log):
    """Invokes the function with one event and prints a row of the table."""
    answer, shown = invoke(event, port, log)
    expected = json.loads((EVENTS / "expected" / event.name).read_text())
    matches = answer == expected
    wanted = ["an error"] if expected == ERROR else ids(expected)
    cells = zip_longest([event.stem], shown, wanted, ["ok" if matches else "DIFFERS"], fillvalue="")
    print("\n".join(line(*row) for row in cells), flush=True)
    return matches


def invoke(event, port, log):
    """Returns the answer as JSON, and the lines to print: one for each failed record."""
    invoking = ["cargo", "lambda", "invoke", "orders", *address(port), "--data-file", event]
    done = run(invoking, INVOKE_LIMIT_S, cwd=ROOT, stderr=subprocess.PIPE)
    if done.returncode != 0:
        message = function_error(done.stderr)
        if message is None:
            raise Problem(
                f"`orders` did not answer {event.name}; see its log and the output of cargo-lambda above",
                f"{tail(log)}\n{done.stderr}",
            )
        return ERROR, textwrap.wrap(message, WIDTHS[1] - 2)
    try:
        answer = json.loads(done.stdout)
        return answer, ids(answer)
    except (ValueError, KeyError, TypeError):
        return None, textwrap.wrap(f"not an answer to a batch: {done.stdout}", WIDTHS[1] - 2)


def function_error(stderr):
    """Returns the error of the function, or None for an error of cargo-lambda, which has no error type before it."""
    raised = re.search(r"^Error: (?!Missing function)\S.*\n\s*× ((?:.+\n)+)", stderr, re.MULTILINE)
    return raised and " ".join(part.strip(" │") for part in raised[1].splitlines())


def ids(answer):
    return [str(failure["itemIdentifier"]) for failure in answer["batchItemFailures"]] or ["no failures"]


def line(*cells):
    return "".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS)).rstrip()


def tail(log, lines=25):
    return "\n".join(Path(log.name).read_text(errors="replace").splitlines()[-lines:])


if __name__ == "__main__":
    main(demo)
