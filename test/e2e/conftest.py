"""Shared servers: one PostgreSQL cluster and one broker for the whole run, a world of its own per test."""
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support.kafka import Kafka  # noqa: E402
from support.postgres import Cluster  # noqa: E402
from support.world import World  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes more than half a minute, so it starts first")


def pytest_collection_modifyitems(items):
    """Long tests first, or the last one runs alone beside idle processes."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def cluster():
    with Cluster(name="e2e").create() as running:
        yield running.start()


@pytest.fixture(scope="session")
def kafka():
    with Kafka() as running:
        yield running


@pytest.fixture(scope="session")
def names():
    return set()


@pytest.fixture
def world_name(request, names):
    name = base = re.sub(r"\W+", "_", request.node.name.removeprefix("test_")).strip("_")[:50].lower()
    while name in names:
        name = f"{base}_{len(names)}"
    names.add(name)
    return name


@pytest.fixture
def world(cluster, kafka, world_name):
    made = World(cluster, kafka, world_name)
    yield made
    made.close()
