"""relay/deploy/alerts.yml on what a real relay says in an outage: its own alert fires, and no other.

Two scrapes, before and in the outage, become series of half an hour each; promtool evaluates the rules over them.
"""
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from support.process import TOP, temporary_folder, wait_until

RULES = TOP / "relay/deploy/alerts.yml"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pg_once"
PROMTOOL = CACHE / "prometheus/usr/bin/promtool"
SCRAPES = 120  # of 15 s each: half an hour


def samples(text):
    """{series: value} of a Prometheus text; bare names get empty braces, as promtool wants them."""
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    return {name if "{" in name else name + "{}": value for name, value in lines}


def labelled(scrapes):
    """One scrape per relay; the instance label keeps two relays apart, as a scraper's does."""
    merged = {}
    for number, text in enumerate(scrapes):
        for name, value in samples(text).items():
            head, labels = name[:-1].split("{", 1)
            merged[f'{head}{{{labels}{"," if labels else ""}instance="relay{number}"}}'] = value
    return merged


def firing(before, during):
    """Alerts that fire at the end of half an hour of `during`, after half an hour of `before` (lists of scrapes)."""
    first, then = labelled(before), labelled(during)
    series = []
    for name in sorted({*first, *then}):
        parts = [f"{values[name]}+0x{SCRAPES}" if name in values else f"_x{SCRAPES + 1}" for values in (first, then)]
        series.append({"series": name, "values": " ".join(parts)})
    test = {"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": [{
        "interval": "15s", "input_series": series, "promql_expr_test": [{
            "expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "eval_time": f"{SCRAPES // 2}m",
            "exp_samples": [{"labels": '{alertname="none"}', "value": -1}]}]}]}
    path = temporary_folder("alerts") / "test.yml"
    path.write_text(json.dumps(test))  # JSON is YAML
    done = subprocess.run([PROMTOOL, "test", "rules", path], text=True, check=False, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert "got:" in done.stdout, done.stdout
    return set(re.findall(r'alertname="(\w+)"', done.stdout.split("got:", 1)[1]))


def scrape(*relays):
    return [relay.get("/metrics")[1] for relay in relays]


@pytest.fixture
def pair(world):
    """A relay that ships, and its standby."""
    topic = next(iter(world.topics))
    relay, standby = world.relay().start(), world.relay()
    wait_until("it runs", lambda: relay.state() == "running", 30)
    standby.start()
    wait_until("the other waits", lambda: standby.state() == "standby", 30)
    world.publish(topic, "one", key="k")
    wait_until("it ships", lambda: (relay.metric("once_outbox_events_total") or 0) >= 1, 30)
    wait_until("nothing waits", lambda: relay.metric("once_outbox_lag_seconds") == 0, 30)
    yield relay, standby
    for each in (relay, standby):
        if each.alive():
            each.stop()


def test_the_rules_are_rules():
    done = subprocess.run([PROMTOOL, "check", "rules", RULES], text=True, check=False, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == 0, done.stdout


def test_every_metric_of_rules_and_dashboard_is_a_metric_of_the_relay(pair):
    said = "\n".join(scrape(*pair)) + (TOP / "relay/process/prometheus.cpp").read_text()
    for path in sorted((TOP / "relay/deploy").glob("*.[yj]*")):
        for name in set(re.findall(r"\bonce_[a-z_]+", path.read_text())):
            assert re.sub(r"_(bucket|sum|count)$", "", name) in said, f"{path.name}: no metric {name}"


def test_metrics_are_well_formed(pair):
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=scrape(pair[0])[0], text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == 0, done.stdout


def test_nothing_fires_while_all_is_well(pair):
    assert firing(scrape(*pair), scrape(*pair)) == set()


def test_no_relay_answers(pair):
    assert firing(scrape(*pair), []) == {"OnceRelayDown"}


def test_no_standby(pair):
    relay, standby = pair
    before = scrape(*pair)
    standby.stop()
    assert firing(before, scrape(relay)) == {"OnceStandbyMissing"}


def test_a_refused_event_holds_its_key(world, pair):
    small = world.topic("small", 1, max_message_bytes=2000)
    before = scrape(*pair)
    world.publish(small, "x" * 5000, key="a")
    wait_until("it is put aside", lambda: pair[0].metric("once_outbox_keys_held") == 1, 30)
    wait_until("all else is shipped", lambda: pair[0].metric("once_outbox_lag_seconds") == 0, 30)
    assert firing(before, scrape(*pair)) == {"OnceEventsParked"}
