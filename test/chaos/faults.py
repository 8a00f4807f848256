"""What each fault of plan.KINDS does. A fault runs in its track's thread, takes its own time and heals itself.

`Skipped`: this machine cannot do it (reported with the reason). `NotReached`: it was done and nothing met it.
"""
import os
import shutil
import time

import psycopg2
from support.postgres import Cluster
from support.process import temporary_folder, wait_until
from support.proxy import END_TXN

from .bank import TOO_LARGE
from .daemon import PRELOAD

DO = {}


class Skipped(Exception):
    pass


class NotReached(Exception):
    pass


def fault(function):
    DO[function.__name__] = function
    return function


def relay_faults(side):
    """The same for outbox and inbox: kill, pause, stop, a clock that jumps."""
    def kill(system, step):
        getattr(system, side)[step["which"]].kill(step["down"])
        time.sleep(step.seconds)

    def stop(system, step):
        daemon = getattr(system, side)[step["which"]]
        daemon.pause()
        time.sleep(step.seconds)
        daemon.resume()

    def term(system, step):
        getattr(system, side)[step["which"]].terminate()
        time.sleep(step.seconds)

    def clock(system, step):
        if not os.path.exists(PRELOAD):
            raise Skipped("libfaketime is not installed")
        folder = temporary_folder("clock")
        (folder / "time").write_text("+0\n")
        daemon = getattr(system, side)[step["which"]]
        daemon.kill(env={"LD_PRELOAD": PRELOAD, "FAKETIME_TIMESTAMP_FILE": str(folder / "time"), "FAKETIME_NO_CACHE": "1",
                         "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
        time.sleep(step.seconds / 3)
        (folder / "time").write_text(step["jump"] + "\n")
        time.sleep(step.seconds * 2 / 3)
        daemon.kill()
        shutil.rmtree(folder)

    for name, function in (("kill", kill), ("stop", stop), ("hang", stop), ("term", term), ("clock", clock)):
        DO[f"{name}_{side}"] = function


relay_faults("outbox")
relay_faults("inbox")


@fault
def crash_outbox(system, step):
    """The standby is to die at the point: it is started so, and then the holder of the lane is killed."""
    holder = system.active()
    victim = next(daemon for daemon in system.outbox if daemon is not holder)
    victim.kill(env={"ONCE_CRASH_AT": f"{step['point']}:{step['nth']}"})
    wait(lambda: victim.relay.state() == "standby", 2)
    holder.kill(down=2.0)  # or it takes the lane again before the other sees that it is free
    await_crash(victim, step)


@fault
def crash_inbox(system, step):
    victim = system.inbox[step["which"]]
    victim.kill(env={"ONCE_CRASH_AT": f"{step['point']}:{step['nth']}"})
    await_crash(victim, step)


def await_crash(victim, step):
    if not victim.crashed.wait(step.seconds):
        raise NotReached(step["point"])  # it runs on, and may still get there


def wait(condition, seconds):
    try:
        return wait_until("", condition, seconds, 0.05)
    except TimeoutError:
        return None


def server_faults(side):
    def server(system):
        return getattr(system, side)

    def kill(system, step):
        server(system).kill()
        system.tally.killed(side)
        time.sleep(step.seconds)
        server(system).start()

    def immediate(system, step):
        server(system).stop("immediate")
        time.sleep(step.seconds)
        server(system).start()

    def restart(system, step):
        server(system).stop("fast")
        time.sleep(step.seconds)
        server(system).start()

    def backends(system, step):
        for _ in range(step["times"]):
            server(system).execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'relay'")
            time.sleep(step.seconds / step["times"])

    def stop(system, step):
        server(system).pause()
        system.tally.stopped(side)
        time.sleep(step.seconds)
        server(system).resume()

    def disk_full(system, step):
        """The file system of this server alone: nothing can be written until somebody makes room."""
        cluster = server(system)
        if not system.tmpfs.holds(cluster.folder):
            raise Skipped(system.tmpfs.reason)
        ballast = cluster.folder / "ballast"
        try:
            with open(ballast, "wb", buffering=0) as file:
                while file.write(bytes(1 << 20)):
                    pass
        except OSError:
            pass
        time.sleep(step.seconds)
        ballast.unlink()
        if wait(lambda: not cluster.process.alive(), 0.5):  # it could not write its log: a crash, by design
            cluster.start()

    for function in (kill, immediate, restart, backends, stop, disk_full):
        DO[f"{function.__name__}_{side}"] = function


server_faults("sender")
server_faults("receiver")


@fault
def promote_sender(system, step):
    """A synchronous standby takes over from a primary that dies: nothing that was shipped is lost (P12)."""
    old = system.sender
    standby = Cluster(old.settings, name="sender")
    system.tmpfs.mount(standby.folder)
    system.standby = standby.copy_of(old, name="next", synchronous=True)
    standby.start()
    # Commits wait once the checkpointer has read the setting, which it does between two checkpoints and not before:
    # until then pg_stat_replication says "sync" and nobody waits.
    time.sleep(0.2)
    old.execute("CHECKPOINT")
    try:
        wait_until("the standby is synchronous and has everything", lambda: old.query(
            "SELECT sync_state = 'sync' AND flush_lsn >= pg_current_wal_lsn() FROM pg_stat_replication") == [(True,)], 20, 0.1)
    except (TimeoutError, psycopg2.Error):
        old.execute("ALTER SYSTEM RESET synchronous_standby_names")
        old.execute("SELECT pg_reload_conf()")
        standby.stop("immediate")
        raise
    time.sleep(step.seconds / 4)
    old.kill()
    system.tally.killed("sender")
    standby.promote()
    system.sender, system.standby = standby, None
    system.database.cluster = system.world.cluster = standby
    system.wires["sender"].target = standby.port
    system.wires["sender"].cut_all()
    shutil.rmtree(old.data)
    time.sleep(1)


@fault
def handler_fails(system, step):
    key = f"k{int(step.at) % 12}"
    database = system.box.database
    database.execute("INSERT INTO app.bad VALUES (%s) ON CONFLICT DO NOTHING", (key,))
    time.sleep(step.seconds)
    database.execute("DELETE FROM app.bad")
    database.execute("SELECT once.inbox_redrive('billing')")


@fault
def kill_broker(system, step):
    node = system.kafka.nodes[step["node"]]
    node.kill()
    system.tally.killed(f"broker-{node.number}")
    time.sleep(step.seconds)
    start_broker(node)


def start_broker(node):
    node.start(wait=False)
    node.wait_ready()
    time.sleep(1)


@fault
def stop_broker(system, step):
    node = system.kafka.nodes[step["node"]]
    node.process.pause()
    system.tally.stopped(f"broker-{node.number}")
    time.sleep(step.seconds)
    node.process.resume()


@fault
def restart_broker(system, step):
    node = system.kafka.nodes[step["node"]]
    node.stop()
    time.sleep(step.seconds)
    start_broker(node)


@fault
def rolling_restart(system, step):
    for node in system.kafka.nodes:
        node.stop()
        start_broker(node)
        time.sleep(1)


@fault
def min_isr_lost(system, step):
    node = system.kafka.nodes[step["node"]]
    for topic in system.world.topics:
        system.kafka.tools.run("alter_topic", topic=topic, settings={"min.insync.replicas": "3"})
    node.kill()
    system.tally.killed(f"broker-{node.number}")
    time.sleep(step.seconds)
    start_broker(node)
    for topic in system.world.topics:
        system.kafka.tools.run("alter_topic", topic=topic, settings={"min.insync.replicas": "2"})


@fault
def quorum_lost(system, step):
    nodes = [node for number, node in enumerate(system.kafka.nodes) if number != step["node"]]
    for node in nodes:
        node.kill()
        system.tally.killed(f"broker-{node.number}")
    time.sleep(step.seconds)
    for node in nodes:
        node.start(wait=False)
    for node in nodes:
        node.wait_ready()
    time.sleep(1)


@fault
def move_leaders(system, step):
    names = {"topics": list(system.world.topics), "coordinator": ["__transaction_state"],
             "positions": [system.world.position_topic], "groups": ["__consumer_offsets"]}
    for topic in names[step["what"]]:
        system.kafka.tools.run("move_leaders", topic=topic)
    time.sleep(step.seconds)


@fault
def kafka_wire(system, step):
    rules = [proxy.rule(step["action"], step["api"], step["direction"], count=step["times"], seconds=step.seconds / 2)
             for proxy in system.proxies]
    time.sleep(step.seconds)
    met = sum(rule.frames for rule in rules)
    for proxy in system.proxies:
        proxy.clear()
    if not met:
        raise NotReached(f"{step['action']} {step['direction']} {step['api']}")


@fault
def late_end_txn(system, step):
    """P8: EndTxn arrives when the client has long given up, sent it again and gone on."""
    rules = [proxy.hold(END_TXN) for proxy in system.proxies]
    caught = wait(lambda: any(rule.frames for rule in rules), step.seconds)
    for rule in rules:
        if not rule.frames:
            rule.left = 0
    time.sleep(step.seconds)
    for proxy in system.proxies:
        proxy.clear()
    if not caught:
        raise NotReached("EndTxn")


@fault
def database_stalls(system, step):
    wire = system.wires[step["which"]]
    wire.flows.clear()
    time.sleep(step.seconds)
    wire.flows.set()


@fault
def database_slow(system, step):
    wire = system.wires[step["which"]]
    wire.slow_s = 0.05
    time.sleep(step.seconds)
    wire.slow_s = 0.0


@fault
def database_cut(system, step):
    wire = system.wires[step["which"]]
    if step["after"]:
        wire.cut_in = step["after"]
    else:
        wire.cut_all()
    time.sleep(step.seconds)


@fault
def foreign_producer(system, step):
    name = f"once-{system.world.incarnation()}-0-{step['ring']}"
    system.kafka.tools.run("transaction", transactional_id=name)
    time.sleep(step.seconds)


@fault
def partition_added(system, step):
    """Only where no key has an order to lose."""
    count = system.world.topics[system.loose] + 1
    if count > 6:
        raise Skipped("the topic has enough partitions")
    system.kafka.tools.run("add_partitions", topic=system.loose, partitions=count)
    system.world.topics[system.loose] = count
    time.sleep(step.seconds)


@fault
def topic_recreated(system, step):
    """The lane waits for a topic that is gone and goes on when it is there again. What stood in it is kept for the
    checker: deleting a topic deletes its messages, and no relay can help that."""
    mortal, tools = system.mortal, system.kafka.tools
    publish(system, mortal, 5)
    count = system.database.value("SELECT count(*) FROM app_truth WHERE topic = %s", (mortal,))
    ends = lambda: len(system.kept) + len(system.kafka.read(mortal, timeout=5)) == count
    if not wait(ends, 15):
        raise NotReached("the topic's events were not shipped in time")
    system.kept += system.kafka.read(mortal)
    tools.run("delete_topic", topic=mortal)
    try:
        publish(system, mortal, 3)
        time.sleep(step.seconds)
    finally:
        wait_until("the topic is gone", lambda: mortal not in tools.run("list_topics"), 20, 0.2)
        system.kafka.create_topic(mortal, 1)


def publish(system, topic, count, key="m", pad=40):
    connection = system.database.connect(autocommit=False)
    try:
        with connection.cursor() as cursor:
            events = system.bank.hold(cursor, topic, key, count, pad)
        commit(system, connection, events)
    finally:
        connection.close()


def commit(system, connection, events):
    try:
        connection.commit()
        system.bank.settle(events, "committed")
    except psycopg2.Error:
        system.bank.settle(events, "unknown")
        raise


@fault
def poison(system, step):
    """The broker refuses it for good while the topic takes 3,000 bytes: it is put aside, and its key held."""
    publish(system, system.small, 1, f"k{step['key']}", TOO_LARGE)
    time.sleep(step.seconds)


@fault
def redrive_refused(system, step):
    """Wanted, though the broker still refuses it."""
    system.database.execute("SELECT once.redrive_all()")
    time.sleep(step.seconds)


@fault
def redrive(system, step):
    alter = lambda most: system.kafka.tools.run("alter_topic", topic=system.small, settings={"max.message.bytes": most})
    alter("100000")
    system.database.execute("SELECT once.redrive_all()")
    time.sleep(step.seconds)
    alter("3000")


@fault
def long_transaction(system, step):
    """P15: an open transaction that published holds up nothing but trimming."""
    connection = system.database.connect(autocommit=False)
    try:
        with connection.cursor() as cursor:
            events = system.bank.hold(cursor, system.small, f"slow{step.period}.{step.at}")
        time.sleep(step.seconds)
        commit(system, connection, events)
    except psycopg2.Error:  # its server died: rolled back, or the table knows
        pass
    finally:
        connection.close()


@fault
def prepared(system, step):
    name = f"p{step.period}.{step.at}"
    connection = system.database.connect(autocommit=False)
    try:
        with connection.cursor() as cursor:
            events = system.bank.hold(cursor, system.small, name)
            cursor.execute("PREPARE TRANSACTION %s", (name,))
        connection.commit()
    finally:
        connection.close()
    try:
        time.sleep(step.seconds)
        wait(lambda: finish_prepared(system, name), 20)
    finally:
        system.bank.settle(events, "unknown")


def finish_prepared(system, name):
    """Asked again after a server that died: whether it is there is what the server says."""
    try:
        if system.database.query("SELECT 1 FROM pg_prepared_xacts WHERE gid = %s", (name,)):
            system.database.execute("COMMIT PREPARED %s", (name,))
        return True
    except psycopg2.Error:
        return False


@fault
def rotate(system, step):
    system.database.execute("SELECT once.rotate()")
    time.sleep(step.seconds)


@fault
def idle(system, step):
    """Longer than transactional ids live at the brokers (9 s here): the next transaction finds its id gone."""
    system.bank.paused.set()
    time.sleep(step.seconds)
    system.bank.paused.clear()
