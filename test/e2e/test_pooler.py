"""Through PgBouncer in transaction mode, two server sessions for eight clients: no function keeps state in a session,
and the relay, whose lane lock, settings and prepared statements do, refuses."""
import threading

import pytest
from support.inbox import Inbox
from support.pooler import Pooler
from support.relay import run_relay

DATABASE = 4
CLIENTS, ROUNDS = 8, 10


@pytest.fixture
def database(cluster, world_name):
    made = cluster.create_database(world_name)
    cluster.execute(f'ALTER DATABASE "{world_name}" SET statement_timeout = 30000')  # whoever waits for ever, fails
    made.execute("""
        CREATE TABLE effect (id text PRIMARY KEY);
        SELECT once.consumer_set('billing'), once.scope_set('payments', lease => '1 min'),
               once.machine_set('order', 'new', '[{"from": "new", "event": "pay", "to": "paid"},
                                                  {"from": "paid", "event": "pay", "to": "paid"}]')""")
    yield made
    made.drop()


class Client:
    """Statements of one client: as they are, or (prepared) by PREPARE and EXECUTE within a transaction: all that a prepared
    statement can live through a pooler that does not know it (PgBouncer before 1.21)."""

    def __init__(self, pooler, name, prepared):
        self.connection = pooler.connect(autocommit=False)
        self.cursor = self.connection.cursor()
        self.name = name
        self.prepared = prepared
        self.sessions = set()

    def ask(self, function, *arguments):
        """The answer as a tuple of a row."""
        if self.prepared:
            places = ", ".join(f"${i + 1}" for i in range(len(arguments)))
            self.cursor.execute(f"PREPARE asked AS SELECT * FROM once.{function.replace('%s', places, 1)}")
            values = self.cursor.mogrify(", ".join(["%s"] * len(arguments)), arguments).decode()
            self.cursor.execute(f"EXECUTE asked({values})" if arguments else "EXECUTE asked")
        else:
            places = ", ".join(["%s"] * len(arguments))
            self.cursor.execute(f"SELECT * FROM once.{function.replace('%s', places, 1)}", arguments)
        answer = self.cursor.fetchone()
        if self.prepared:
            self.cursor.execute("DEALLOCATE asked")
        return answer

    def commit(self):
        self.cursor.execute("SELECT pg_backend_pid()")
        self.sessions.add(self.cursor.fetchone()[0])
        self.connection.commit()

    def effect(self, identity):
        self.cursor.execute("INSERT INTO effect VALUES (%s)", (identity,))


def requests(client, n):
    """Atomic in one transaction, leased in two: the owner's token is all that it carries from one to the next."""
    key = f"{client.name}-{n}"
    verdict, token = client.ask("claim(%s)", "payments", f"atomic-{key}", '{"amount": 5}')[:2]
    assert verdict == "new"
    client.effect(f"atomic-{key}")
    client.ask("complete(%s)", "payments", f"atomic-{key}", token, '{"booked": true}', 201)
    client.commit()
    assert client.ask("claim(%s)", "payments", f"atomic-{key}", '{"amount": 5}')[0] == "replay"
    client.commit()
    verdict, token = client.ask("claim(%s)", "payments", f"leased-{key}", '{"amount": 6}')[:2]
    client.commit()
    client.ask("checkpoint(%s)", "payments", f"leased-{key}", token, '{"half": true}')
    client.commit()
    assert client.ask("claim(%s)", "payments", f"leased-{key}", '{"amount": 6}')[0] == "in_progress"
    client.commit()
    client.effect(f"leased-{key}")
    client.ask("complete(%s)", "payments", f"leased-{key}", token)
    client.commit()
    assert client.ask("claim(%s)", "payments", f"leased-{key}", '{"amount": 6}')[0] == "replay"
    client.commit()


def guards(client, n):
    """Machines, locks and leases; the name that all want is locked by one transaction at a time."""
    assert client.ask("transition(%s)", "order", "shared", "pay")[:1] == ("moved",)
    client.commit()
    assert client.ask("lock(%s)", "shared", client.name)[0] == "locked"
    assert client.ask("lock(%s)", "shared")[0] == "already"
    client.commit()
    verdict, token = client.ask("lease(%s)", client.name, client.name, "1 min")[:2]
    assert verdict == ("acquired" if n == 0 else "renewed")
    client.commit()
    client.ask("lease_assert(%s)", client.name, token)
    client.commit()


def messages(client, n):
    """The same message by every client: one of them has the effect."""
    identity = f"message-{n}"
    if client.ask("accept(%s)", "billing", identity)[0] == "new":
        client.effect(identity)
    client.commit()
    client.ask("publish(%s)", "orders", '{"n": 1}', client.name)
    client.cursor.execute("SELECT once.publish_many('orders', %s::jsonb[], %s)", (['"x"'] * 3, [client.name] * 3))
    client.commit()
    client.ask("inbox_put(%s)", "work", f"{client.name}-{n}", b"payload")
    client.commit()
    taken = client.ask("inbox_take(%s)", "work", 1)
    if taken:
        client.effect(f"inbox-{taken[1]}")
        assert client.ask("inbox_done(%s)", "work", [taken[1]])[0] == 1
    client.commit()


def work(client, wrong):
    try:
        for n in range(ROUNDS):
            for part in (requests, guards, messages):
                part(client, n)
    except BaseException as error:
        wrong.append(error)
    finally:
        client.connection.close()


@pytest.mark.parametrize("prepared", [False, True])
def test_A_E_H_transaction_pooler_no_session_state(database, prepared):
    with Pooler(database) as pooler:
        wrong = []
        clients = [Client(pooler, f"client{i}", prepared) for i in range(CLIENTS)]
        threads = [threading.Thread(target=work, args=(client, wrong)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert database.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
    assert not wrong, wrong[0]
    sessions = set.union(*(client.sessions for client in clients))
    assert len(sessions) == 2 and all(client.sessions == sessions for client in clients), "every client met every session"
    effects = dict(database.query("SELECT split_part(id, '-', 1), count(*) FROM effect GROUP BY 1"))
    waiting = database.value("SELECT count(*) FROM once.inbox")  # of a worker that saw only what others had
    assert effects.pop("inbox") + waiting == CLIENTS * ROUNDS
    assert effects == {"atomic": CLIENTS * ROUNDS, "leased": CLIENTS * ROUNDS, "message": ROUNDS}
    assert database.value("SELECT version FROM once.machine_entity WHERE entity = 'shared'") == CLIENTS * ROUNDS
    assert database.value("SELECT count(*) FROM once.event_0") == CLIENTS * ROUNDS * 4


def test_P4_outbox_refuses_a_transaction_pooler(world):
    """Its lane lock would be held by nobody. It leaves no setting behind in a session that others will get."""
    world.publish(f"{world.name}.orders", "x", "k")
    with Pooler(world.database) as pooler:
        code, output = run_relay("outbox", "--until-empty", "--database", pooler.dsn(), "--brokers", world.kafka.brokers,
                                 env={"ONCE_OUTBOX_POSITION_TOPIC": world.position_topic})
        assert code == DATABASE and "transaction pooler" in output, output
        connection = pooler.connect("relay")
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_settings WHERE source = 'session' AND name = ANY (%s)",
                           (["statement_timeout", "lock_timeout", "synchronous_commit", "idle_session_timeout"],))
            assert cursor.fetchone() == (0,)
        connection.close()
    assert not world.messages() and not world.database.value("SELECT armed FROM once.lane")


def test_P4_outbox_works_through_a_pool_in_session_mode(world):
    identity = world.publish(f"{world.name}.orders", "x", "k")
    with Pooler(world.database, mode="session") as pooler:
        relay = world.relay(database=pooler.dsn())
        relay.drain()
    assert [dict(message.headers)["once-id"].decode() for message in world.messages()] == [identity]


SETTINGS = ["idle_in_transaction_session_timeout", "synchronous_commit", "client_connection_check_interval"]


def test_I13_inbox_refuses_a_transaction_pooler(cluster, kafka, world_name):
    """Its statements would be prepared in sessions that it does not get again, its settings would be others'."""
    with Inbox(cluster, kafka, world_name) as box, Pooler(box.database) as pooler:
        box.send_numbered(10)
        relay = box.relay()
        relay.dsn = pooler.dsn()
        assert relay.run("--until-empty") == DATABASE and "transaction pooler" in relay.log(), relay.log()
        connection = pooler.connect("relay")
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_settings WHERE source = 'session' AND name = ANY (%s)", (SETTINGS,))
            assert cursor.fetchone() == (0,)
        connection.close()
        assert box.applied() == 0 and box.database.value("SELECT count(*) FROM once.consumer_offset") == 0


@pytest.mark.parametrize("sessions", [1, 2])
def test_I13_inbox_works_through_a_pool_in_session_mode(cluster, kafka, world_name, sessions):
    with Inbox(cluster, kafka, world_name) as box, Pooler(box.database, mode="session", sessions=sessions) as pooler:
        box.send_numbered(50)
        relay = box.relay()
        relay.dsn = pooler.dsn()
        relay.drain()
        box.assert_exact(50)


def test_headers_of_a_transaction_are_nobody_elses(database):
    """once.headers, also set without LOCAL, which a pool in transaction mode carries to the next client; what the database gives lasts."""
    headers = "SELECT once.headers_json(headers) FROM once.event_0 ORDER BY seq DESC LIMIT 1"
    with Pooler(database, sessions=1) as pooler:
        first, second = pooler.connect(autocommit=False), pooler.connect(autocommit=False)
        with first.cursor() as one, second.cursor() as other:
            for word in ("SET LOCAL", "SET"):
                one.execute(f"{word} once.headers = '{{\"traceparent\": \"00-aa\"}}'; SELECT once.publish_text('t', 'p')")
                first.commit()
                assert database.value(headers) == {"traceparent": "00-aa"}
                other.execute("SELECT once.publish_text('t', 'p')")
                second.commit()
                assert database.value(headers) is None, word
        first.close()
        second.close()
    database.execute(f'ALTER DATABASE "{database.name}" SET once.headers = \'{{"service": "billing"}}\'')
    with database.cluster.session(database.name) as session:
        session.execute("SELECT once.publish_text('t', 'p')")
        assert database.value(headers) == {"service": "billing"}
        session.execute("SET once.headers = '{\"a\": 1}'")
        session.execute("SELECT once.publish_text('t', 'p')")
        assert database.value(headers) is None
