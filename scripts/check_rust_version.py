#!/usr/bin/env python3
"""Checks that `rust-version` is what the dependencies need: no less, or they would not build; and no more.

With one toolchain nobody can build with another. Clippy's `incompatible_msrv` looks at our own use of the standard library.
"""

import json
import subprocess

from tools import ROOT, Problem, main


def version(text):
    return tuple(int(part) for part in f"{text}.0.0".split(".")[:3])


def check():
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    stated = {package["rust_version"] for package in metadata["packages"] if package["source"] is None}
    if len(stated) != 1 or None in stated:
        raise Problem(f"the packages of this repository state different Rust versions: {stated}")
    of_dependencies = [
        (version(package["rust_version"]), package["name"])
        for package in metadata["packages"]
        if package["source"] and package["rust_version"]
    ]
    needed, name = max(of_dependencies)
    if version(*stated) != needed:
        needed = ".".join(map(str, needed))
        raise Problem(f"rust-version is {stated.pop()}, and {name} needs {needed}; set it in Cargo.toml and in the README")
    print(f"rust-version is {stated.pop()}, as {name} and others need it")
    return 0


if __name__ == "__main__":
    main(check)
