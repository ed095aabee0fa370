"""What the scripts share: tools from PyPI in a virtual environment of this checkout, and processes that end."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"

VENV_LIMIT_S = 120
INSTALL_LIMIT_S = 900
GRACE_S = 10


class Problem(Exception):
    """What went wrong and what to do about it, in a line; below it, what the tool itself had to say."""

    def __init__(self, line, details=""):
        super().__init__(line)
        self.details = details.rstrip()


def main(body):
    """Runs a script's body and exits with what it returns. Problems are told without a traceback."""
    # By itself SIGTERM would leave what we started running. An exception passes through every `finally` on its way.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(body())
    except Problem as problem:
        if problem.details:
            print(problem.details, file=sys.stderr)
        sys.exit(f"error: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)


def install(package, version, command):
    """Makes sure that the virtual environment has this version of a package."""
    # Where venv breaks off half-way, a python is there already but no pip.
    if not (BIN / "pip").exists():
        print(f"making a virtual environment in {VENV}", flush=True)
        making = run([sys.executable, "-m", "venv", VENV], VENV_LIMIT_S)
        if making.returncode != 0:
            raise Problem(
                f"no virtual environment could be made; remove {VENV}, install Python's venv and try again",
                making.stdout,
            )
    look = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    found = run([BIN / "python", "-c", look, package], VENV_LIMIT_S)
    if found.stdout.strip() == version and (BIN / command).exists():
        return
    print(f"installing {package} {version} from PyPI, once", flush=True)
    pip = [BIN / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    installing = run([*pip, f"{package}=={version}"], INSTALL_LIMIT_S)
    if installing.returncode != 0:
        raise Problem(
            f"pip could not install {package} {version}; is PyPI within reach? If so, remove {VENV} and try again",
            installing.stdout,
        )


def run(command, limit_s, **options):
    """Runs a command to its end, and keeps what it prints."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options}
    with started(command, encoding="utf-8", errors="replace", **options) as process:
        try:
            stdout, stderr = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise Problem(f"`{shown(command)}` was not done after {limit_s} s, and was stopped") from None
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


@contextlib.contextmanager
def started(command, **options):
    """Starts a command, with the environment's tools on its path, and ends it with the block."""
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    environment = {**os.environ, "PATH": path, "SAM_CLI_TELEMETRY": "0"}
    # A group of its own: what the command starts ends with it, and Ctrl-C reaches us first, who end it in order.
    process = subprocess.Popen(
        list(map(str, command)), stdin=subprocess.DEVNULL, start_new_session=True, env=environment, **options
    )
    try:
        yield process
    finally:
        end(process)


def end(process):
    for signum in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)


def shown(command):
    return " ".join([Path(command[0]).name, *map(str, command[1:])])
