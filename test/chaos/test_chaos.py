"""The harness itself: its plans, its books, and its short form with everything real."""
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chaos import bank, content_faults, faults, finale, plan  # noqa: F401 (registers its faults)
from chaos.clock import Clock, Skipped
from chaos.tally import Tally
from support.relay import crash_points

RUN = Path(__file__).parent / "run.py"


def run(**settings):
    done = subprocess.run([sys.executable, "-B", RUN], env={**os.environ, **settings}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=400, check=False)
    return done.returncode, done.stdout + done.stderr


def test_same_seed_gives_the_same_plan():
    points = crash_points()
    assert plan.make(7, 300, points) == plan.make(7, 300, points)
    assert plan.make(7, 300, points).steps != plan.make(8, 300, points).steps
    status, printed = run(SEED="7", MINUTES="5", DRY="1")
    assert status == 0
    assert printed.splitlines()[1:] == [str(step) for step in plan.make(7, 300, points).steps]


def test_every_fault_is_made_and_every_crash_point_is_in_a_long_plan():
    assert set(faults.DO) == set(plan.KINDS)
    assert set(finale.ACTS) == set(plan.FINALES)
    points = crash_points()
    steps = plan.make(1, 900, points).steps
    drawn = {step["point"] for step in steps if step.kind.startswith("crash_")}
    assert drawn | set(plan.BIRTHS["outbox"] + plan.BIRTHS["inbox"]) == set(points)
    assert {step.kind for step in steps} == set(plan.KINDS)


def test_the_quiet_quarter_is_quiet():
    made = plan.make(3, 600, crash_points())
    assert all(step.at + step.seconds <= made.period_seconds * (1 - plan.QUIET) + 0.01 for step in made.steps)


def effects(versions):
    """Ten of money comes with each version of one key."""
    return [("t", "k", f'{{"version": {v}, "delta": 10, "balance": {10 * v}}}') for v in versions]


@pytest.mark.parametrize("versions, wrong", [
    ([1, 2, 3], False), ([1, 2, 2, 3], True), ([1, 3], True), ([1, 3, 2], True), ([1, 2], True)],
    ids=["good", "doubled", "dropped", "swapped", "short"])
def test_books_see_each_kind_of_damage(versions, wrong):
    accounts = {("t", "k"): (3, 30), ("t", "other"): (0, -30)}
    assert bool([w for w in bank.books(effects(versions), accounts) if "other" not in w]) == wrong


WAITS = """
#include <stdio.h>
#include <threads.h>
#include <time.h>
int main(void) {
    cnd_t condition; mtx_t mutex; struct timespec until, before, after;
    cnd_init(&condition); mtx_init(&mutex, mtx_plain); mtx_lock(&mutex);
    timespec_get(&until, TIME_UTC); until.tv_sec += 1;
    clock_gettime(CLOCK_MONOTONIC, &before);
    int result = cnd_timedwait(&condition, &mutex, &until);
    clock_gettime(CLOCK_MONOTONIC, &after);
    printf("%d %ld %.3f", result == thrd_timedout, (long)until.tv_sec, after.tv_sec - before.tv_sec + (after.tv_nsec - before.tv_nsec) / 1e9);
}
"""


@pytest.mark.parametrize("offset", ["-3600", "+3600"])
def test_a_clock_that_jumps_rules_time_outs_too(tmp_path, offset):
    """As librdkafka waits: under a clock that is behind it must not end at once, ahead it must end."""
    try:
        clock = Clock()
    except Skipped as reason:
        pytest.skip(str(reason))
    program = tmp_path / "waits"
    subprocess.run(["gcc", "-x", "c", "-o", program, "-"], input=WAITS, text=True, check=True)
    with clock:
        clock.jump(offset)
        timed_out, until, waited = subprocess.run([program], env={**os.environ, **clock.env}, capture_output=True, text=True,
                                                  check=True, timeout=60).stdout.split()
    assert abs(int(until) - time.time() - int(offset)) < 100 and timed_out == "1" and float(waited) > 0.9


def test_nothing_happened_is_no_pass():
    assert not Tally().ok()
    status, output = run(FAULTS="no_such_fault")
    assert status == 1 and "no such fault" in output


def test_P3_P26_short_form(capsys):
    """A seeded run in little. The long ones are in RESULTS.md."""
    status, output = run(SEED=os.environ.get("SEED", "11"), MINUTES="0.55")
    with capsys.disabled():
        wanted = re.compile(r"seed|SIGKILLs|events|lost|doubled|chaos")
        print("\n" + "\n".join(line for line in output.splitlines() if wanted.match(line)))
    assert status == 0, output[-6000:]
