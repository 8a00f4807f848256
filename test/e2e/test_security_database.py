"""TLS to PostgreSQL: with sslmode=verify-full the relay talks to the server that its certificate names, or to nobody."""
import shutil

import pytest
from support.inbox import message
from support.postgres import Cluster
from support.process import server_user
from support.relay import run_relay
from support.security import Authority

DATABASE = 4
PASSWORD = "s3cret of the relay"
KEY_PASSWORD = "s3cret-of-the-key"


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def encrypted(authority):
    """A server that takes the relay over TLS alone, with a password."""
    server = Cluster(name="tls").create()
    certificate, key = authority.issue("server", "DNS:localhost")  # and not 127.0.0.1
    for file, name in ((certificate, "server.crt"), (key, "server.key")):
        shutil.copy(file, server.data / name)
        if server_user():
            shutil.chown(server.data / name, server_user(), server_user())
        (server.data / name).chmod(0o600)
    trusted = server.data / "trusted.crt"
    shutil.copy(authority.certificate, trusted)
    trusted.chmod(0o644)
    server.configure("ssl = on\nssl_ca_file = 'trusted.crt'")
    (server.data / "pg_hba.conf").write_text("local all postgres trust\nhostssl all relay 127.0.0.1/32 scram-sha-256\n"
                                             "hostssl all certified 127.0.0.1/32 cert\n")
    with server:
        server.start().create_database("shipped")
        server.execute(f"ALTER ROLE relay PASSWORD '{PASSWORD}'; CREATE ROLE certified LOGIN")
        server.create_database("mutual").execute("SELECT once.grant_relay('certified'), once.grant_consumer('certified')")
        yield server


def conninfo(server, authority, host="localhost", **more):
    words = {"host": host, "hostaddr": "127.0.0.1", "port": server.port, "user": "relay", "dbname": "shipped", "sslmode": "verify-full",
             "sslrootcert": authority.certificate, **more}
    return " ".join(f"{name}={value}" for name, value in words.items() if value is not None)


def outbox(dsn, kafka, world_name, *more, password=PASSWORD):
    return run_relay("outbox", "--until-empty", "--database", dsn, "--brokers", kafka.brokers, *more, timeout=60,
                     env={"ONCE_OUTBOX_POSITION_TOPIC": f"{world_name}.positions", "PGPASSWORD": password})


def test_security_verify_full_works_and_is_encrypted(encrypted, authority, kafka, world_name):
    encrypted.execute("ALTER DATABASE shipped SET log_statement = 'none'")
    encrypted.execute("SELECT once.publish_text(%s, 'x')", (f"{world_name}.t",), database="shipped")
    kafka.create_topic(f"{world_name}.t", 1)
    status, output = outbox(conninfo(encrypted, authority), kafka, world_name)
    assert status == 0, output
    assert len(kafka.read(f"{world_name}.t")) == 1
    assert PASSWORD not in output


NOT_CERTIFIED = {"none": "requires a valid client certificate", "authority": "alert unknown ca", "key": "could not load private key file",
                 "name": 'certificate authentication failed for user "certified"'}


@pytest.mark.parametrize("wrong, command", [("", "outbox"), ("", "inbox"), ("none", "inbox"), *((wrong, "outbox") for wrong in NOT_CERTIFIED)])
def test_security_mutual_tls(encrypted, authority, kafka, world_name, wrong, command):
    """The server asks for a certificate in place of a password; the key has one of its own."""
    certificate, key = (Authority("stranger") if wrong == "authority" else authority).issue("other" if wrong == "name" else "certified")
    words = {} if wrong == "none" else {"sslcert": certificate, "sslkey": authority.lock(key, KEY_PASSWORD),
                                        "sslpassword": "wrong" + KEY_PASSWORD if wrong == "key" else KEY_PASSWORD}
    dsn = conninfo(encrypted, authority, user="certified", dbname="mutual", **words)
    kafka.create_topic(f"{world_name}.t", 1)
    if command == "outbox":
        encrypted.execute("SELECT once.publish_text(%s, 'x')", (f"{world_name}.t",), database="mutual")
    else:
        kafka.tools.run("produce_many", topic=f"{world_name}.t", messages=[message("x", key="k")])
    more = {"outbox": (), "inbox": ("--set", f"inbox.1.topic={world_name}.t", "--set", f"inbox.1.group={world_name}", "--set", "inbox.1.store=true")}[command]
    status, output = run_relay(command, "--until-empty", "--database", dsn, "--brokers", kafka.brokers, *more, timeout=60,
                               env={"ONCE_OUTBOX_POSITION_TOPIC": "mutual.positions"})
    assert KEY_PASSWORD not in output
    if wrong:
        assert "once-relay: could not use the database: " in output and NOT_CERTIFIED[wrong] in output, output
    assert status == (DATABASE if wrong else 0), output
    stored = encrypted.query("SELECT count(*) FROM once.inbox WHERE topic = %s", (f"{world_name}.t",), database="mutual")[0][0]
    assert (stored if command == "inbox" else len(kafka.read(f"{world_name}.t"))) == (0 if wrong else 1), output


WRONG = [("authority", "certificate verify failed"), ("host", 'server certificate for "localhost"'),
         ("password", "password authentication failed"), ("plain", "no pg_hba.conf entry|no encryption")]


@pytest.mark.parametrize("command", ["outbox", "inbox", "check"])
@pytest.mark.parametrize("what, reason", WRONG, ids=[what for what, _ in WRONG])
def test_security_wrong_certificate_or_password_is_refused(encrypted, authority, kafka, world_name, what, reason, command):
    dsn = {"authority": lambda: conninfo(encrypted, Authority("other")), "host": lambda: conninfo(encrypted, authority, host="elsewhere"),
           "password": lambda: conninfo(encrypted, authority),
           "plain": lambda: conninfo(encrypted, authority, sslmode="disable", sslrootcert=None)}[what]()
    password = "not the password" if what == "password" else PASSWORD
    words = {"outbox": ["outbox", "--until-empty"], "inbox": ["inbox", "--set", "inbox.1.topic=t", "--set", "inbox.1.group=g", "--set", "inbox.1.store=true"],
             "check": ["check", "outbox"]}[command]
    status, output = run_relay(*words, "--database", dsn, "--brokers", kafka.brokers, timeout=60,
                               env={"ONCE_OUTBOX_POSITION_TOPIC": f"{world_name}.positions", "PGPASSWORD": password})
    assert status == DATABASE, output
    assert any(part in output for part in reason.split("|")), output
    if command != "check":
        assert "once-relay: could not use the database: " in output
    assert PASSWORD not in output and "not the password" not in output
