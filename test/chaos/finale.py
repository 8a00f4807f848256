"""What cannot be survived must be refused: exit 6, and nothing is committed after (I16). At the end of a run."""
import shutil
import subprocess

from support.postgres import RELAY_ROLE, Cluster
from support.process import wait_until

from .system import NAME

REFUSED = 6


def run(system, tally):
    name = system.plan.finale
    if not name:
        return
    ACTS[name](system)
    before = len(system.world.messages()), steps(system)
    relay = system.world.relay(database=system.finale_dsn)
    status = relay.run("--until-empty", timeout=90)
    more = len(system.world.messages()) - before[0]
    if status != REFUSED:
        tally.finding("not refused", f"{name}: exit {status}\n{relay.log()[-2000:]}")
    if more:
        tally.finding("not refused", f"{name}: {more} messages were committed after the refusal")
    if steps(system) != before[1]:
        tally.finding("not refused", f"{name}: {before[1]} position records before the refusal, {steps(system)} after")
    if name == "lost_commits" and "only_in_kafka" not in relay.log():
        tally.finding("not refused", f"{name}: what is at stake is not named\n{relay.log()[-2000:]}")
    tally.count(tally.done, name)


def steps(system):
    """Position records that are no start records: they say that something was passed."""
    return sum(not record.key.endswith(b"/start") for record in system.kafka.read(system.world.position_topic))


def publish(system, text):
    system.database.execute("SELECT once.publish_text(%s, %s::text, key => 'after')", (f"{NAME}.orders", text))


def clone(system):
    system.sender.execute(f'CREATE DATABASE clone TEMPLATE "{NAME}"')
    system.sender.execute(f"SELECT once.publish_text('{NAME}.orders', 'of the clone'::text)", database="clone")
    system.finale_dsn = system.sender.dsn("clone", RELAY_ROLE)


def position_deleted(system):
    system.kafka.tools.run("delete_topic", topic=system.world.position_topic)
    publish(system, "after")
    system.finale_dsn = system.database.dsn()


def position_policy(system):
    """Compaction off and every record deleted: what a careless retention does (P14)."""
    tools, topic = system.kafka.tools, system.world.position_topic
    tools.run("alter_topic", topic=topic, settings={"cleanup.policy": "delete"})
    tools.run("delete_records", topic=topic, partition=0, before=tools.run("end_offsets", topic=topic)["0"])
    tools.run("alter_topic", topic=topic, settings={"cleanup.policy": "compact"})
    publish(system, "after")
    system.finale_dsn = system.database.dsn()


def unclean_election(system):
    """Positions on two brokers, one of which was away while three more events were shipped; then only that one is
    there, and may lead."""
    kafka, topic = system.kafka, system.world.position_topic
    keeper, behind, _ = kafka.nodes
    isr = lambda: kafka.tools.run("describe_topic", topic=topic)["partitions"][0]["isr"]
    kafka.tools.run("alter_topic", topic=topic, settings={"min.insync.replicas": "1", "unclean.leader.election.enable": "true"})
    kafka.tools.run("reassign", topic=topic, replicas=[keeper.number, behind.number])
    behind.stop()
    wait_until("the broker that is away is out of sync", lambda: isr() == 1, 30, 0.2)
    ship_more(system)
    keeper.stop()
    behind.start()
    wait_until("it leads", lambda: kafka.tools.run("describe_topic", topic=topic)["partitions"][0]["leader"]
               == behind.number, 60, 0.5)
    system.finale_dsn = system.database.dsn()


def restored_image(system):
    """The disk of before three more events were shipped."""
    cluster = system.sender
    image = cluster.folder / "image"
    cluster.stop()
    subprocess.run(["cp", "-a", cluster.data, image], check=True)
    cluster.start()
    ship_more(system)
    cluster.stop()
    shutil.rmtree(cluster.data)
    image.rename(cluster.data)
    cluster.start()
    system.finale_dsn = system.database.dsn()


def lost_commits(system):
    """P11: an asynchronous standby takes over that lacks what was shipped."""
    standby = Cluster(system.sender.settings, name="late")
    system.tmpfs.mount(standby.folder)
    system.standby = standby.copy_of(system.sender)
    standby.start()
    standby.stop()
    ship_more(system)
    system.sender.kill()
    standby.start()
    standby.promote()
    system.finale_dsn = standby.dsn(NAME, RELAY_ROLE)


def ship_more(system):
    for number in range(3):
        publish(system, f"lost {number}")
    system.world.relay(database=system.database.dsn()).drain()


ACTS = {act.__name__: act for act in (clone, position_deleted, position_policy, restored_image, lost_commits,
                                  unclean_election)}
