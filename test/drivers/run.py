#!/usr/bin/python3
"""make check-drivers: every driver over the whole matrix, on private servers. DRIVERS="psycopg JDBC" chooses.

A cell is a driver, a case and a mode. Prints what is wrong, the table, and at last `N passed, N failed, N skipped`; a language whose
registry cannot be reached is skipped.
"""
import os
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from drivers import cases, drivers, report  # noqa: E402
from drivers.matrix import Matrix  # noqa: E402
from drivers.toolchains import LANGUAGES, Unreachable  # noqa: E402
from support.kafka import Kafka  # noqa: E402
from support.postgres import Cluster  # noqa: E402


def prepared(chosen):
    """The drivers whose languages are there, and why the others cannot be asked: (to skip, to fail)."""
    skipped, failed = {}, {}
    for name in dict.fromkeys(driver.language for driver in chosen):
        try:
            LANGUAGES[name].fetch()
            LANGUAGES[name].write_recipes()
            LANGUAGES[name].build()
        except Unreachable as reason:
            skipped[name] = reason
        except (RuntimeError, OSError) as reason:
            failed[name] = reason
    return skipped, failed


def ask(matrix, chosen):
    """Why a program did not come to its end, by driver."""
    broken = {}
    for driver in chosen:
        started = time.monotonic()
        try:
            matrix.ask(driver, drivers.run)
            print(f"{driver.name} {matrix.versions[driver.name]}: asked ({time.monotonic() - started:.1f} s)", flush=True)
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            broken[driver.name] = str(error)
    return broken


def cells_of(driver):
    """With its recipe."""
    return 1 + sum(mode in case.modes for mode in driver.modes for case in cases.CASES)


def main():
    names = (os.environ.get("DRIVERS") or "").split()
    chosen = drivers.named(names) if names else drivers.DRIVERS
    skipped, failed = prepared(chosen)
    for language, reason in {**skipped, **failed}.items():
        print(f"{language}: {'skipped' if language in skipped else 'failed'}: {reason}", flush=True)
    there = [driver for driver in chosen if driver.language not in {*skipped, *failed}]
    with Cluster(name="drivers").create() as cluster, Kafka() as kafka, Matrix(cluster.start(), kafka, "drivers") as matrix:
        broken = ask(matrix, there)
        matrix.ship()
        outcomes, unclaimed = matrix.judge()
        recipes = list(matrix.wrong_recipes())
    cells = report.cells(outcomes)
    wrong = [line for lines in cells.values() for line in lines] + unclaimed + recipes + list(broken.values())
    print(*report.table(outcomes), *wrong, sep="\n", flush=True)
    lost = sum(cells_of(driver) for driver in chosen if driver.language in failed)
    bad = sum(map(bool, cells.values())) + len(unclaimed) + len(recipes) + len(broken) + lost
    passed = sum(not lines for lines in cells.values()) + len(matrix.recipes) - len(recipes)
    print(f"{passed} passed, {bad} failed, {sum(cells_of(driver) for driver in chosen if driver.language in skipped)} skipped")
    sys.exit(1 if bad or not passed else 0)


if __name__ == "__main__":
    main()
