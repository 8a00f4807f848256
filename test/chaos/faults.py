"""What each fault of plan.KINDS does to processes, servers and wires; content_faults.py has the rest.

A fault runs in its track's thread, takes its own time and heals itself. `Skipped`: this machine cannot do it (reported
with the reason). `NotReached`: it was done and nothing met it.
"""
import shutil
import time

import psycopg2
from support.postgres import Cluster
from support.process import server_user, wait_until
from support.proxy import END_TXN

from . import provoke
from .clock import Clock, Skipped
from .plan import RARE

DO = {}


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
        daemon = getattr(system, side)[step["which"]]
        with Clock() as faked:
            daemon.kill(env=faked.env)
            time.sleep(step.seconds / 3)
            faked.jump(step["jump"])
            time.sleep(step.seconds * 2 / 3)
            met = daemon.running and faked.rules(daemon.relay.process.pid)
            daemon.kill()
        if not met:
            raise NotReached("it had been started again, with the real clock")

    for name, function in (("kill", kill), ("stop", stop), ("hang", stop), ("term", term), ("clock", clock)):
        DO[f"{name}_{side}"] = function


relay_faults("outbox")
relay_faults("inbox")


@fault
def crash_outbox(system, step):
    """The standby is to die at the point: it is started so, and then the holder of the lane is killed."""
    provoke.before(system, step["point"])
    holder = system.active()
    victim = next(daemon for daemon in system.outbox if daemon is not holder)
    victim.kill(env={"ONCE_CRASH_AT": f"{step['point']}:{step['nth']}"})
    wait(lambda: victim.relay.state() == "standby", 2)
    holder.kill(down=3.0)  # or it takes the lane again before the other sees that it is free
    try:
        if step["point"] in RARE:
            wait(lambda: victim.relay.state() == "running" or victim.crashed.is_set(), 4)
            provoke.now(system, step["point"])
        await_crash(victim, step)
    finally:
        provoke.after(system, step["point"])


@fault
def crash_inbox(system, step):
    victim, other = (system.inbox[number] for number in (step["which"], 1 - step["which"]))
    victim.kill(env={"ONCE_CRASH_AT": f"{step['point']}:{step['nth']}"})
    try:
        if step["point"] in RARE:
            other.kill(down=4.0)  # every partition comes to the victim
            provoke.now(system, step["point"])
        await_crash(victim, step)
    finally:
        provoke.after(system, step["point"])


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

    def clock(system, step):
        """The server's own: relays compare times with it and none with theirs."""
        cluster = server(system)
        with Clock(server_user()) as faked:
            cluster.stop("fast")
            try:
                cluster.start(env=faked.env)
                time.sleep(step.seconds / 4)
                faked.jump(step["jump"])
                time.sleep(step.seconds * 3 / 4)
                off = abs(cluster.query("SELECT extract(epoch FROM clock_timestamp())::float8")[0][0] - time.time())
            finally:
                cluster.stop("fast")
                cluster.start()
        if off < 60:
            raise NotReached("the server's clock did not jump")

    for function in (kill, immediate, restart, backends, stop, disk_full, clock):
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


NO_CLOCK = "a broker does not start under this machine's libfaketime"


@fault
def clock_broker(system, step):
    if system.broker_clocks is False:
        raise Skipped(NO_CLOCK)
    node = system.kafka.nodes[step["node"]]
    with Clock() as faked:
        node.stop()
        try:
            node.start(wait=False, env=faked.env)
            system.broker_clocks = wait(node.listens, 60) is not None
            if not system.broker_clocks:
                raise Skipped(NO_CLOCK)
            time.sleep(step.seconds / 3)
            faked.jump(step["jump"])
            time.sleep(step.seconds * 2 / 3)
        finally:
            node.kill()
            system.tally.killed(f"broker-{node.number}")
            start_broker(node)


@fault
def handler_fails(system, step):
    key = f"k{int(step.at) % 12}"
    database = system.box.database
    database.execute("INSERT INTO app.bad VALUES (%s) ON CONFLICT DO NOTHING", (key,))
    time.sleep(step.seconds)
    database.execute("DELETE FROM app.bad")
    database.execute("SELECT once.inbox_redrive('billing')")


@fault
def handler_outlives(system, step):
    """Every handler waits for longer than max.poll.interval.ms: the group gives the member up in the middle of its batch, and
    the next owner finds somebody at work."""
    with system.receiver.session(system.box.database.name, autocommit=False) as gate:
        gate.execute("LOCK TABLE app.bad IN ACCESS EXCLUSIVE MODE")
        time.sleep(step.seconds)
        gate.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'app.bad'::regclass")
        waiting = gate.fetchone()[0]
        gate.connection.rollback()
    if not waiting:
        raise NotReached("no handler was called meanwhile")


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
    leaders = lambda: [partition["leader"] for topic in names[step["what"]]
                       for partition in system.kafka.tools.run("describe_topic", topic=topic)["partitions"]]
    before = leaders()
    for topic in names[step["what"]]:
        system.kafka.tools.run("move_leaders", topic=topic)
    time.sleep(step.seconds)
    if leaders() == before:
        raise NotReached("they stayed where they were")


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
    wire.stall(step["direction"])
    time.sleep(step.seconds)
    wire.flow()


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
        wire.cut_after(step["after"], step["direction"])
        if not wait(lambda: wire.cut_in is None, step.seconds + 3):
            wire.cut_in = None
            raise NotReached("so many bytes did not go by")
    else:
        wire.cut_all()
    time.sleep(step.seconds)
