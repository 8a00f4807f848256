import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.coordinator.transaction.TransactionState;
import org.apache.kafka.coordinator.transaction.generated.TransactionLogKey;
import org.apache.kafka.coordinator.transaction.generated.TransactionLogValue;

/**
 * Kafka's own admin tools, kept running: a JVM start for each command would cost a second. One JSON command per line
 * on stdin ({"do":"create_topic",…}), one JSON answer per line on stdout: {"ok":…} or {"error":"…"}. Ends with stdin.
 */
public final class Tools {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final int TIMEOUT_SECONDS = 30;
    private final Map<String, Admin> admins = new HashMap<>();
    private final Map<String, KafkaProducer<byte[], byte[]>> producers = new HashMap<>();

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(new FileOutputStream(java.io.FileDescriptor.out), true, "UTF-8");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Tools tools = new Tools();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            ObjectNode answer = JSON.createObjectNode();
            try {
                answer.set("ok", tools.run(JSON.readTree(line)));
            } catch (Exception e) {
                Throwable cause = e instanceof java.util.concurrent.ExecutionException ? e.getCause() : e;
                answer.removeAll();
                answer.put("error", cause.getClass().getSimpleName() + ": " + cause.getMessage());
            }
            out.println(JSON.writeValueAsString(answer));
        }
        System.exit(0);
    }

    private JsonNode run(JsonNode command) throws Exception {
        switch (command.get("do").asText()) {
            case "create_topic": return createTopic(command);
            case "delete_topic": return deleteTopic(command);
            case "add_partitions": return addPartitions(command);
            case "alter_topic": return alterTopic(command);
            case "describe_topic": return describeTopic(command);
            case "list_topics": return JSON.valueToTree(admin(command).listTopics().names().get(30, TimeUnit.SECONDS));
            case "end_offsets": return endOffsets(command);
            case "delete_records": return deleteRecords(command);
            case "transactions": return transactions(command);
            case "transaction_log": return transactionLog(command);
            case "produce": return produce(command);
            case "produce_many": return produceMany(command);
            case "group_offsets": return groupOffsets(command);
            case "set_group_offset": return setGroupOffset(command);
            case "delete_group": return deleteGroup(command);
            case "transaction": return transaction(command);
            case "read": return read(command);
            case "coordinator": return coordinator(command);
            case "nodes": return nodes(command);
            case "move_leaders": return moveLeaders(command);
            case "reassign": return reassign(command);
            case "allow": return allow(command);
            case "disallow": return disallow(command);
            default: throw new IllegalArgumentException("no such command");
        }
    }

    private Admin admin(JsonNode command) {
        return admins.computeIfAbsent(command.get("brokers").asText(), brokers -> {
            Properties settings = new Properties();
            settings.put("bootstrap.servers", brokers);
            settings.put("default.api.timeout.ms", "30000");
            settings.put("reconnect.backoff.max.ms", "200");
            return Admin.create(settings);
        });
    }

    private JsonNode createTopic(JsonNode command) throws Exception {
        NewTopic topic = new NewTopic(command.get("topic").asText(), Optional.of(command.get("partitions").asInt()),
                command.has("replication") ? Optional.of((short) command.get("replication").asInt())
                                           : Optional.empty());
        topic.configs(settings(command));
        admin(command).createTopics(List.of(topic)).all().get(TIMEOUT_SECONDS, TimeUnit.SECONDS);
        return JSON.nullNode();
    }

    private JsonNode deleteTopic(JsonNode command) throws Exception {
        admin(command).deleteTopics(List.of(command.get("topic").asText())).all().get(TIMEOUT_SECONDS,
                TimeUnit.SECONDS);
        return JSON.nullNode();
    }

    private JsonNode addPartitions(JsonNode command) throws Exception {
        admin(command).createPartitions(Map.of(command.get("topic").asText(),
                NewPartitions.increaseTo(command.get("partitions").asInt()))).all().get(TIMEOUT_SECONDS,
                TimeUnit.SECONDS);
        return JSON.nullNode();
    }

    private JsonNode alterTopic(JsonNode command) throws Exception {
        List<AlterConfigOp> changes = new ArrayList<>();
        settings(command).forEach((name, value) ->
                changes.add(new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)));
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, command.get("topic").asText());
        Map<ConfigResource, Collection<AlterConfigOp>> all = Map.of(topic, changes);
        admin(command).incrementalAlterConfigs(all).all().get(TIMEOUT_SECONDS, TimeUnit.SECONDS);
        return JSON.nullNode();
    }

    private JsonNode describeTopic(JsonNode command) throws Exception {
        String name = command.get("topic").asText();
        var description = admin(command).describeTopics(List.of(name)).allTopicNames()
                .get(TIMEOUT_SECONDS, TimeUnit.SECONDS).get(name);
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, name);
        ObjectNode answer = JSON.createObjectNode();
        ArrayNode partitions = answer.putArray("partitions");
        description.partitions().forEach(p -> partitions.addObject().put("partition", p.partition())
                .put("leader", p.leader() == null ? -1 : p.leader().id())
                .put("isr", p.isr().size()).put("replicas", p.replicas().size()));
        ObjectNode settings = answer.putObject("settings");
        admin(command).describeConfigs(List.of(resource)).all().get(TIMEOUT_SECONDS, TimeUnit.SECONDS).get(resource)
                .entries().forEach(entry -> settings.put(entry.name(), entry.value()));
        return answer;
    }

    private JsonNode endOffsets(JsonNode command) throws Exception {
        ObjectNode answer = JSON.createObjectNode();
        String name = command.get("topic").asText();
        int count = describeTopic(command).get("partitions").size();
        for (int partition = 0; partition < count; ++partition) {
            TopicPartition where = new TopicPartition(name, partition);
            answer.put(Integer.toString(partition), admin(command).listOffsets(Map.of(where, OffsetSpec.latest()))
                    .partitionResult(where).get(TIMEOUT_SECONDS, TimeUnit.SECONDS).offset());
        }
        return answer;
    }

    private JsonNode deleteRecords(JsonNode command) throws Exception {
        TopicPartition where = new TopicPartition(command.get("topic").asText(), command.get("partition").asInt());
        admin(command).deleteRecords(Map.of(where, RecordsToDelete.beforeOffset(command.get("before").asLong())))
                .all().get(TIMEOUT_SECONDS, TimeUnit.SECONDS);
        return JSON.nullNode();
    }

    private JsonNode transactions(JsonNode command) throws Exception {
        ArrayNode answer = JSON.createArrayNode();
        for (var listing : admin(command).listTransactions().all().get(TIMEOUT_SECONDS, TimeUnit.SECONDS)) {
            answer.addObject().put("id", listing.transactionalId()).put("producer", listing.producerId())
                    .put("state", listing.state().toString());
        }
        return answer;
    }

    /** What the coordinators wrote down of these transactional ids, every change of state, per id in order. */
    private static JsonNode transactionLog(JsonNode command) throws Exception {
        Set<String> ids = new HashSet<>();
        command.get("ids").forEach(id -> ids.add(id.asText()));
        ArrayNode answer = JSON.createArrayNode();
        Reader.read(command.get("brokers").asText(), "read_uncommitted", List.of("__transaction_state"), 60_000, records -> {
            for (ConsumerRecord<byte[], byte[]> record : records) {
                String id = new TransactionLogKey(new ByteBufferAccessor(ByteBuffer.wrap(record.key(), 2, record.key().length - 2)),
                        (short) 0).transactionalId();
                if (record.value() == null || !ids.contains(id)) {
                    continue;
                }
                ByteBuffer value = ByteBuffer.wrap(record.value());
                short version = value.getShort();
                TransactionLogValue state = new TransactionLogValue(new ByteBufferAccessor(value), version);
                ArrayNode topics = answer.addObject().put("id", id).put("producer", state.producerId())
                        .put("epoch", state.producerEpoch())
                        .put("state", TransactionState.fromId(state.transactionStatus()).stateName()).putArray("topics");
                if (state.transactionPartitions() != null) {
                    state.transactionPartitions().forEach(each -> topics.add(each.topic()));
                }
            }
        });
        return answer;
    }

    private JsonNode coordinator(JsonNode command) throws Exception {
        String id = command.get("transactional_id").asText();
        return JSON.valueToTree(admin(command).describeTransactions(List.of(id)).description(id)
                .get(TIMEOUT_SECONDS, TimeUnit.SECONDS).coordinatorId());
    }

    private JsonNode nodes(JsonNode command) throws Exception {
        return JSON.valueToTree(admin(command).describeCluster().nodes().get(TIMEOUT_SECONDS, TimeUnit.SECONDS)
                .stream().map(node -> node.id()).toList());
    }

    /** Each partition of the topic gets its next replica as leader (and as coordinator, for Kafka's own topics). */
    private JsonNode moveLeaders(JsonNode command) throws Exception {
        String name = command.get("topic").asText();
        var description = admin(command).describeTopics(List.of(name)).allTopicNames()
                .get(TIMEOUT_SECONDS, TimeUnit.SECONDS).get(name);
        Map<TopicPartition, Optional<NewPartitionReassignment>> turned = new HashMap<>();
        description.partitions().forEach(p -> {
            List<Integer> replicas = new ArrayList<>(p.replicas().stream().map(node -> node.id()).toList());
            Collections.rotate(replicas, -1);
            turned.put(new TopicPartition(name, p.partition()), Optional.of(new NewPartitionReassignment(replicas)));
        });
        admin(command).alterPartitionReassignments(turned).all().get(TIMEOUT_SECONDS, TimeUnit.SECONDS);
        admin(command).electLeaders(ElectionType.PREFERRED, turned.keySet()).partitions()
                .get(TIMEOUT_SECONDS, TimeUnit.SECONDS);
        return JSON.nullNode();
    }

    /** Partition 0 of the topic lives on these brokers, the first of them its leader, before it returns. */
    private JsonNode reassign(JsonNode command) throws Exception {
        TopicPartition where = new TopicPartition(command.get("topic").asText(), 0);
        List<Integer> replicas = new ArrayList<>();
        command.get("replicas").forEach(node -> replicas.add(node.asInt()));
        admin(command).alterPartitionReassignments(Map.of(where, Optional.of(new NewPartitionReassignment(replicas))))
                .all().get(TIMEOUT_SECONDS, TimeUnit.SECONDS);
        while (!admin(command).listPartitionReassignments().reassignments().get(TIMEOUT_SECONDS, TimeUnit.SECONDS)
                .isEmpty()) {
            Thread.sleep(100);
        }
        admin(command).electLeaders(ElectionType.PREFERRED, Set.of(where)).partitions()
                .get(TIMEOUT_SECONDS, TimeUnit.SECONDS);
        return JSON.nullNode();
    }

    private JsonNode allow(JsonNode command) throws Exception {
        admin(command).createAcls(List.of(acl(command))).all().get(TIMEOUT_SECONDS, TimeUnit.SECONDS);
        return JSON.nullNode();
    }

    private JsonNode disallow(JsonNode command) throws Exception {
        int gone = admin(command).deleteAcls(List.of(acl(command).toFilter())).all()
                .get(TIMEOUT_SECONDS, TimeUnit.SECONDS).size();
        if (gone != 1) {
            throw new IllegalStateException(gone + " ACLs");
        }
        return JSON.nullNode();
    }

    private static AclBinding acl(JsonNode command) {
        return new AclBinding(
                new ResourcePattern(ResourceType.fromString(command.get("kind").asText()), command.get("name").asText(),
                        PatternType.fromString(command.get("pattern").asText().toUpperCase())),
                new AccessControlEntry("User:" + command.get("user").asText(), "*",
                        AclOperation.fromString(command.get("operation").asText()),
                        AclPermissionType.fromString(command.get("permission").asText())));
    }

    private JsonNode produce(JsonNode command) throws Exception {
        var producer = producers.computeIfAbsent(command.get("brokers").asText(), b -> producer(command, null));
        producer.send(record(command)).get(TIMEOUT_SECONDS, TimeUnit.SECONDS);
        return JSON.nullNode();
    }

    /** "messages": [{key, value, partition, headers: [[name, base64 or null], …]}, …]; null is null. */
    private JsonNode produceMany(JsonNode command) throws Exception {
        var producer = producers.computeIfAbsent(command.get("brokers").asText(), b -> producer(command, null));
        List<Future<?>> sent = new ArrayList<>();
        for (JsonNode message : command.get("messages")) {
            ((ObjectNode) message).put("topic", command.get("topic").asText());
            ProducerRecord<byte[], byte[]> record = record(message);
            message.path("headers").forEach(header -> record.headers().add(header.get(0).asText(), decode(header.get(1))));
            sent.add(producer.send(record));
        }
        producer.flush();
        for (Future<?> each : sent) {
            each.get(TIMEOUT_SECONDS, TimeUnit.SECONDS);
        }
        return JSON.nullNode();
    }

    /** What a group committed: {"topic/partition": [offset, note]}. */
    private JsonNode groupOffsets(JsonNode command) throws Exception {
        ObjectNode answer = JSON.createObjectNode();
        admin(command).listConsumerGroupOffsets(command.get("group").asText()).partitionsToOffsetAndMetadata()
                .get(TIMEOUT_SECONDS, TimeUnit.SECONDS).forEach((where, offset) -> {
                    if (offset != null) {
                        answer.putArray(where.topic() + "/" + where.partition()).add(offset.offset())
                                .add(offset.metadata());
                    }
                });
        return answer;
    }

    private JsonNode setGroupOffset(JsonNode command) throws Exception {
        TopicPartition where = new TopicPartition(command.get("topic").asText(), command.get("partition").asInt());
        admin(command).alterConsumerGroupOffsets(command.get("group").asText(),
                Map.of(where, new OffsetAndMetadata(command.get("offset").asLong(), command.path("note").asText(""))))
                .all().get(TIMEOUT_SECONDS, TimeUnit.SECONDS);
        return JSON.nullNode();
    }

    private JsonNode deleteGroup(JsonNode command) throws Exception {
        admin(command).deleteConsumerGroups(List.of(command.get("group").asText())).all().get(TIMEOUT_SECONDS, TimeUnit.SECONDS);
        return JSON.nullNode();
    }

    /** A whole transaction under a transactional id: fences whoever had it. With "open": true it is left open. */
    private JsonNode transaction(JsonNode command) throws Exception {
        var producer = producer(command, command.get("transactional_id").asText());
        producer.initTransactions();
        if (command.has("topic")) {
            producer.beginTransaction();
            producer.send(record(command)).get(TIMEOUT_SECONDS, TimeUnit.SECONDS);
            if (command.path("open").asBoolean()) {
                return JSON.nullNode();
            }
            producer.commitTransaction();
        }
        producer.close();
        return JSON.nullNode();
    }

    private static KafkaProducer<byte[], byte[]> producer(JsonNode command, String transactionalId) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", command.get("brokers").asText());
        settings.put("max.block.ms", "30000");
        settings.put("max.request.size", "16000000");
        if (transactionalId != null) {
            settings.put("transactional.id", transactionalId);
            settings.put("transaction.timeout.ms", "15000");
        }
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static ProducerRecord<byte[], byte[]> record(JsonNode command) {
        Integer partition = command.hasNonNull("partition") ? command.get("partition").asInt() : null;
        return new ProducerRecord<>(command.get("topic").asText(), partition, decode(command.get("key")),
                decode(command.get("value")));
    }

    private static JsonNode read(JsonNode command) throws Exception {
        List<String> topics = new ArrayList<>();
        command.get("topics").forEach(topic -> topics.add(topic.asText()));
        try (OutputStream out = new BufferedOutputStream(new FileOutputStream(command.get("file").asText()), 1 << 20)) {
            return JSON.valueToTree(Reader.read(command.get("brokers").asText(), command.get("isolation").asText(),
                    topics, out, command.get("timeout_ms").asLong()));
        }
    }

    private static Map<String, String> settings(JsonNode command) {
        Map<String, String> settings = new HashMap<>();
        if (command.has("settings")) {
            command.get("settings").properties().forEach(e -> settings.put(e.getKey(), e.getValue().asText()));
        }
        return settings;
    }

    private static byte[] decode(JsonNode base64) {
        return base64 == null || base64.isNull() ? null : Base64.getDecoder().decode(base64.asText());
    }
}
