"""A broker that asks who one is: TLS, SCRAM passwords, ACLs. What is wrong is said in one line, and nothing is shipped."""
import re
import time

import pytest
from support.inbox import Inbox
from support.kafka import Kafka
from support.process import wait_until
from support.relay import run_relay
from support.security import Authority, Security
from support.world import World
from test_check_status import check

CONFIGURATION, KAFKA = 2, 5
PASSWORD = "s3cret-of-the-relay"

# What README says the outbox needs: (operation, kind, name, pattern).
OUTBOX = [("write", "topic", "{topic}", "literal"), ("write", "topic", "{positions}", "literal"),
          ("read", "topic", "{positions}", "literal"), ("write", "transactional_id", "once-", "prefixed")]
CREATE = ("create", "topic", "{positions}", "literal")
# And so that check can ask the brokers.
TO_CHECK = [("describe", "cluster", "kafka-cluster", "literal"), ("describe_configs", "cluster", "kafka-cluster", "literal"),
            ("describe_configs", "topic", "*", "literal")]
INBOX = [("read", "topic", "{topic}", "literal"), ("read", "group", "{group}", "literal")]


@pytest.fixture(scope="module")
def secured():
    with Kafka(security=Security(relay=PASSWORD, reader=PASSWORD), heap="256m") as running:
        yield running


@pytest.fixture
def world(cluster, secured, world_name):
    made = World(cluster, secured, world_name, topics={"orders": 2})
    made.granted = []
    yield made
    for each in made.granted:
        secured.disallow("relay", *each)
    made.close()


def named(world, acl, **more):
    operation, kind, name, pattern = acl
    names = {"topic": f"{world.name}.orders", "positions": world.position_topic, **more}
    return operation, kind, name.format(**names), pattern


def allow(world, *acls, **more):
    for acl in acls:
        one = named(world, acl, **more)
        world.kafka.allow("relay", *one)
        world.granted.append(one)


def take_away(world, acl):
    one = named(world, acl)
    world.kafka.disallow("relay", *one)
    world.granted.remove(one)


def relay_of(world, *arguments, password=None, brokers=None, user="relay", authority=None, mechanism="PLAIN", **options):
    security = world.kafka.security
    return world.relay(*security.client_settings(user, authority=authority, mechanism=mechanism), *arguments, brokers=brokers or world.kafka.secured,
                       env=security.client_environment("relay", password), **options)


def checked(world):
    security = world.kafka.security
    return check(world, *security.client_settings("relay"), brokers=world.kafka.secured,
                 env=security.client_environment("relay"))


def test_security_outbox_with_exactly_the_rights_of_the_readme(world):
    world.kafka.create_topic(world.position_topic, 1, cleanup_policy="compact")
    allow(world, *OUTBOX)
    topic = f"{world.name}.orders"
    for n in range(50):
        world.publish(topic, f"{n}", f"k{n % 5}")
    relay = relay_of(world)
    relay.drain()
    world.assert_exact()
    assert PASSWORD not in relay.log()


def test_security_scram_or_why_not(world):
    """librdkafka before 2.6.1 sends what brokers since Kafka 4 refuse as a wrong password: then the line says so."""
    version = run_relay("--version")[1].split("librdkafka ")[1].split(",")[0]
    allow(world, *OUTBOX, CREATE)
    world.publish(f"{world.name}.orders", "x", "k")
    relay = relay_of(world, "--set", "outbox.request_timeout_ms=2000", mechanism=world.kafka.security.SCRAM)
    status = relay.run("--until-empty")
    if tuple(map(int, version.split("."))) >= (2, 6, 1):
        assert status == 0, relay.log()
        world.assert_exact()
    else:
        assert status == KAFKA and f"librdkafka {version} cannot log in by SCRAM to Kafka 4" in relay.log(), relay.log()


def test_security_position_topic_is_created_with_the_right_to(world):
    allow(world, *OUTBOX, CREATE)
    world.publish(f"{world.name}.orders", "x", "k")
    relay_of(world).drain()
    world.assert_exact()


def test_security_inbox_with_exactly_the_rights_of_the_readme(cluster, secured, world_name):
    with Inbox(cluster, secured, world_name, partitions=2) as inbox:
        rights = [("read", "topic", inbox.topic, "literal"), ("read", "group", world_name, "literal")]
        for right in rights:
            secured.allow("reader", *right)
        inbox.send_numbered(200)
        relay = inbox.relay(*secured.security.client_settings("reader"), brokers=secured.secured)
        relay.env = secured.security.client_environment("reader")
        assert relay.run("--until-empty") == 0, relay.log()
        inbox.assert_exact(200)
        assert PASSWORD not in relay.log()
        for right in rights:
            secured.disallow("reader", *right)


WRONG = [("authority", "certificate verify failed"), ("host", "hostname mismatch|IP address mismatch|certificate verify failed"),
         ("password", "SASL authentication error|Authentication failed"), ("user", "SASL authentication error|Authentication failed"),
         ("plain", "SSL handshake|Disconnected|SSL")]


@pytest.mark.parametrize("what, reason", WRONG, ids=[what for what, _ in WRONG])
def test_security_wrong_credentials_are_told_and_ship_nothing(world, what, reason):
    allow(world, *OUTBOX, CREATE)
    world.publish(f"{world.name}.orders", "x", "k")
    wrong = {"authority": {"authority": Authority("other") if what == "authority" else None},
             "host": {"brokers": world.kafka.secured.replace("localhost", "127.0.0.1")},
             "password": {"password": "not the password"}, "user": {"user": "nobody"}, "plain": {"brokers": world.kafka.brokers}}[what]
    relay = relay_of(world, "--set", "outbox.request_timeout_ms=2000", **wrong)
    assert relay.run("--until-empty", timeout=60) == KAFKA, relay.log()
    line = relay.log().split("once-relay: ")[1].splitlines()[0]
    assert line.startswith("could not reach Kafka: no broker answers at ") and re.search(reason, line), line
    assert PASSWORD not in relay.log() and "not the password" not in relay.log()
    assert world.messages() == []
    assert world.position_topic not in world.kafka.tools.run("list_topics")


@pytest.fixture(scope="module")
def certified(secured):
    authority = secured.security.authority
    certificate, key = authority.issue("certified")
    return certificate, authority.lock(key, PASSWORD)


@pytest.mark.parametrize("wrong", ["", "none", "authority", "key", "name"])
def test_security_mutual_tls(world, certified, wrong):
    """The broker asks for a certificate: who has the right one ships, all others are told why not."""
    security = world.kafka.security
    user = "CN=certified"
    world.publish(f"{world.name}.orders", "x", "k")
    if wrong != "name":
        for acl in (*OUTBOX, CREATE):
            world.kafka.allow(user, *named(world, acl))
    shown = {"none": (), "authority": Authority("stranger").issue("certified") if wrong == "authority" else ()}.get(wrong, certified)
    relay = world.relay(*security.certified_settings(*shown), "--set", "outbox.request_timeout_ms=2000", brokers=world.kafka.mutual,
                        env={"ONCE_KAFKA_SSL_KEY_PASSWORD": "not the password" if wrong == "key" else PASSWORD})
    status = relay.run("--until-empty", timeout=60)
    said = relay.log().split("once-relay: ")[-1].splitlines()[0]
    assert PASSWORD not in relay.log() and "not the password" not in relay.log()
    if wrong:
        assert status == (CONFIGURATION if wrong == "key" else KAFKA), relay.log()
        assert re.search({"none": "wants a certificate", "authority": "wants a certificate", "key": "ssl.key|private key", "name": "not authorised"}[wrong], said), relay.log()
        assert world.messages() == []
    else:
        assert status == 0, relay.log()
        world.assert_exact()
    for acl in (*OUTBOX, CREATE) if wrong != "name" else ():
        world.kafka.disallow(user, *named(world, acl))


def test_security_inbox_with_a_wrong_password_ends(cluster, secured, world_name):
    with Inbox(cluster, secured, world_name, partitions=1) as inbox:
        relay = inbox.relay(*secured.security.client_settings("reader"), "--set", "outbox.request_timeout_ms=2000",
                            brokers=secured.secured)
        relay.env = secured.security.client_environment("reader", "not the password")
        assert relay.run(timeout=60) == KAFKA, relay.log()
        assert "could not reach Kafka" in relay.log() and "uthentication" in relay.log()
        assert "not the password" not in relay.log()


@pytest.mark.parametrize("missing", range(len(OUTBOX)))
def test_security_a_missing_right_is_named_with_its_fix(world, missing):
    """By check, and by the relay itself at a first start: it does not wait for what was never given."""
    world.kafka.create_topic(world.position_topic, 1, cleanup_policy="compact")
    topic = f"{world.name}.orders"
    world.publish(topic, "x", "k")
    # What else the principal may do must not hide it: a right to read makes a topic visible.
    allow(world, *TO_CHECK, ("read", "topic", "{topic}", "literal"), *(acl for n, acl in enumerate(OUTBOX) if n != missing))
    operation, kind, name, _ = named(world, OUTBOX[missing])
    flag = {"topic": f"--topic {name}", "transactional_id": f"--transactional-id {name}"}[kind]
    code, findings = checked(world)
    errors = [found for found in findings if found[0] == "error"]
    assert code == KAFKA and len(errors) == 1, findings
    assert f"--allow-principal User:relay --operation {operation.title()} {flag}" in errors[0][2]
    relay = relay_of(world)
    if missing == 0:  # the lane waits: others may be published meanwhile
        relay.start().wait_state("blocked")
        assert topic in relay.log()
        relay.stop()
    else:
        assert relay.run("--until-empty", timeout=60) == KAFKA, relay.log()
        assert "once-relay: not authorised" in relay.log() and name in relay.log()
    assert world.messages() == []
    allow(world, OUTBOX[missing])
    assert checked(world)[0] == 0
    relay_of(world).drain()
    world.assert_exact()


@pytest.mark.parametrize("revoked", range(len(OUTBOX)))
def test_security_right_taken_away_while_running_and_given_back(world, revoked):
    world.kafka.create_topic(world.position_topic, 1, cleanup_policy="compact")
    allow(world, *OUTBOX)
    topic = f"{world.name}.orders"
    relay = relay_of(world).start()
    for n in range(20):
        world.publish(topic, f"{n}", f"k{n % 3}")
    wait_until("the first are there", lambda: len(world.messages()) == 20, 30, 0.2)
    take_away(world, OUTBOX[revoked])
    if named(world, OUTBOX[revoked])[0] == "read":  # positions are read after something went wrong: let it
        for number in (0, 1):  # of both producers of the ring, or the other one ships once more
            world.kafka.tools.run("transaction", transactional_id=f"once-{world.incarnation()}-0-{number}")
    for n in range(20, 40):
        world.publish(topic, f"{n}", f"k{n % 3}")
    relay.wait_state("blocked", 40)
    assert "lane_blocked" in relay.log()
    assert relay.get("/readyz")[0] == 503
    time.sleep(1)  # nothing comes in this time
    assert relay.alive() and len(world.messages()) == 20
    allow(world, OUTBOX[revoked])
    wait_until("all are there", lambda: len(world.messages()) == 40, 60, 0.2)
    assert relay.stop() == 0, relay.log()
    world.assert_exact()


def test_P24_security_stops_also_when_its_topic_is_hidden_from_it(world):
    """librdkafka 2.0.2 never ends a client that was told so."""
    world.kafka.create_topic(world.position_topic, 1, cleanup_policy="compact")
    allow(world, *OUTBOX)
    relay = relay_of(world).start()
    world.publish(f"{world.name}.orders", "x", "k")
    wait_until("it is there", lambda: len(world.messages()) == 1, 30, 0.2)
    for acl in OUTBOX[1:3]:
        take_away(world, acl)
    world.publish(f"{world.name}.orders", "y", "k")
    relay.wait_state("blocked", 40)
    time.sleep(1)  # so that it has asked for the topic by name
    assert relay.stop() == 0, relay.log()
    allow(world, *OUTBOX[1:3])
    relay_of(world).drain()
    world.assert_exact()


def test_security_inbox_rights_are_named_by_check(cluster, secured, world_name, tmp_path):
    with Inbox(cluster, secured, world_name, partitions=1) as inbox:
        file = tmp_path / "relay.toml"
        file.write_text(f'[[inbox]]\ntopic = "{inbox.topic}"\ngroup = "{world_name}"\nconsumer = "billing"\nhandler = "app.apply"\n')

        def findings():
            return run_relay("check", "inbox", "--config", str(file), "--database", inbox.database.dsn(), "--brokers", secured.secured,
                             *secured.security.client_settings("reader"), env=secured.security.client_environment("reader"), timeout=60)
        code, output = findings()
        assert code == KAFKA
        for fix in (f"--allow-principal User:reader --operation Read --topic {inbox.topic}",
                    f"--allow-principal User:reader --operation Read --group {world_name}"):
            assert fix in output, output
