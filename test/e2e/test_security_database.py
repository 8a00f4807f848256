"""TLS to PostgreSQL: with sslmode=verify-full the relay talks to the server that its certificate names, or to nobody."""
import shutil

import pytest
from support.postgres import Cluster
from support.process import server_user
from support.relay import run_relay
from support.security import Authority

DATABASE = 4
PASSWORD = "s3cret of the relay"


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
    server.configure("ssl = on")
    (server.data / "pg_hba.conf").write_text("local all postgres trust\nhostssl all relay 127.0.0.1/32 scram-sha-256\n")
    with server:
        server.start().create_database("shipped")
        server.execute(f"ALTER ROLE relay PASSWORD '{PASSWORD}'")
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
    encrypted.execute("SELECT once.publish(%s, 'x')", (f"{world_name}.t",), database="shipped")
    kafka.create_topic(f"{world_name}.t", 1)
    status, output = outbox(conninfo(encrypted, authority), kafka, world_name)
    assert status == 0, output
    assert len(kafka.read(f"{world_name}.t")) == 1
    assert PASSWORD not in output


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
