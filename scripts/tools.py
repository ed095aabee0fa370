"""Shared by the scripts: installs tools into a virtual environment of this checkout, and runs commands with limits."""

import contextlib
import os
import shutil
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
    """An error with a line that says what failed and what to do, and the output of the tool."""

    def __init__(self, line, details=""):
        super().__init__(line)
        self.details = details.rstrip()


def main(body):
    """Runs a script's body and exits with its result. Prints a Problem without a traceback."""
    # By default SIGTERM would leave child processes running. An exception runs every `finally`.
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
    """Ensures that the virtual environment has this version of a package."""
    # An interrupted venv has a python but no pip.
    if not (BIN / "pip").exists():
        make_venv(VENV)
    look = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    found = run([BIN / "python", "-c", look, package], VENV_LIMIT_S)
    if found.stdout.strip() == version and (BIN / command).exists():
        return
    print(f"installing {package} {version} from PyPI, once", flush=True)
    pip(VENV, f"{package} {version}", f"{package}=={version}")


def install_all(requirements, venv):
    """Ensures that a virtual environment has exactly the packages of a file, and returns its Python."""
    with marked(venv, f"{sys.version}\n{requirements.read_text()}") as is_there:
        if not is_there:
            make_venv(venv)
            print(f"installing the packages of {requirements.relative_to(ROOT)} from PyPI, once", flush=True)
            pip(venv, f"the packages of {requirements.relative_to(ROOT)}", "--requirement", requirements)
    return venv / "bin" / "python"


def install_for_node(package, directory):
    """Ensures that a directory has exactly the packages of a lock file."""
    files = [package / name for name in ("package.json", "package-lock.json")]
    with marked(directory, "\n".join(file.read_text() for file in files)) as is_there:
        if is_there:
            return
        directory.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copy(file, directory)
        print(f"installing the packages of {files[1].relative_to(ROOT)} from npm, once", flush=True)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel", "error"]
        installing = run(command, INSTALL_LIMIT_S, cwd=directory)
        if installing.returncode != 0:
            line = f"npm could not install the packages of {files[1].relative_to(ROOT)}; check its registry"
            raise Problem(line, installing.stdout)


@contextlib.contextmanager
def marked(directory, wanted):
    """Yields whether a directory is complete, and marks it as complete after the block."""
    # The mark is written last. A directory without it may be incomplete.
    mark = directory / "installed.txt"
    is_there = mark.exists() and mark.read_text() == wanted
    if not is_there:
        mark.unlink(missing_ok=True)
    yield is_there
    if not is_there:
        mark.write_text(wanted)


def make_venv(venv):
    print(f"creating a virtual environment in {venv}", flush=True)
    making = run([sys.executable, "-m", "venv", "--clear", venv], VENV_LIMIT_S)
    if making.returncode != 0:
        raise Problem(
            f"Python could not create a virtual environment; remove {venv}, install Python's venv and try again",
            making.stdout,
        )


def pip(venv, what, *arguments):
    command = [venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    installing = run([*command, *arguments], INSTALL_LIMIT_S)
    if installing.returncode != 0:
        raise Problem(
            f"pip could not install {what}; check that PyPI is reachable, remove {venv} and try again",
            installing.stdout,
        )


def run(command, limit_s, **options):
    """Runs a command to its end and returns its output."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options}
    with started(command, encoding="utf-8", errors="replace", **options) as process:
        try:
            stdout, stderr = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise Problem(f"`{shown(command)}` did not finish within {limit_s} s and was stopped") from None
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


@contextlib.contextmanager
def started(command, env=os.environ, **options):
    """Starts a command with the virtual environment on its PATH, and ends it after the block."""
    path = f"{BIN}{os.pathsep}{env.get('PATH', os.defpath)}"
    environment = {**env, "PATH": path, "SAM_CLI_TELEMETRY": "0"}
    # In a new process group, so that children end with the command, and Ctrl-C reaches only this script.
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
