import java.io.BufferedOutputStream;
import java.io.FileOutputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * The independent witness: reads topics with Apache Kafka's own client, so that a misreading of librdkafka does not
 * confirm itself. One JSON line per record on the output:
 * {"topic","partition","offset","timestamp","key","value","headers":[[name,value],…]}; key, value, header names and
 * values in base64, null where Kafka has null.
 *
 * Usage: Reader BROKERS read_committed|read_uncommitted end|follow TOPIC…
 * `end`: up to the end offsets at the start, of the isolation level chosen, then exit 0. `follow`: until it is killed;
 * the output is flushed after every poll and new partitions are found within a second.
 */
public final class Reader {
    private static final Base64.Encoder BASE64 = Base64.getEncoder();

    private Reader() {}

    public static void main(String[] args) throws Exception {
        if (args.length < 4) {
            System.err.println("usage: Reader BROKERS read_committed|read_uncommitted end|follow TOPIC...");
            System.exit(1);
        }
        List<String> topics = List.of(args).subList(3, args.length);
        OutputStream out = new BufferedOutputStream(new FileOutputStream(java.io.FileDescriptor.out), 1 << 20);
        if (args[2].equals("follow")) {
            follow(args[0], args[1], topics, out);
        } else {
            read(args[0], args[1], topics, out, 60_000);
        }
    }

    /** Reads all there is and returns the number of records; throws when the end is not reached in time. */
    static long read(String brokers, String isolation, List<String> topics, OutputStream out, long timeoutMs)
            throws Exception {
        long count = read(brokers, isolation, topics, timeoutMs, records -> write(records, out));
        out.flush();
        return count;
    }

    interface Taker {
        void take(ConsumerRecords<byte[], byte[]> records) throws Exception;
    }

    static long read(String brokers, String isolation, List<String> topics, long timeoutMs, Taker taker) throws Exception {
        long deadline = System.currentTimeMillis() + timeoutMs;
        long count = 0;
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(brokers, isolation)) {
            List<TopicPartition> partitions = partitions(consumer, topics);
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (!reached(consumer, ends)) {
                if (System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException("the end was not reached: wanted " + ends);
                }
                ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
                taker.take(records);
                count += records.count();
            }
        }
        return count;
    }

    private static void follow(String brokers, String isolation, List<String> topics, OutputStream out)
            throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(brokers, isolation)) {
            long assigned = 0;
            while (true) {
                try {
                    if (System.currentTimeMillis() - assigned > 1000) {
                        assigned = System.currentTimeMillis();
                        assignNew(consumer, topics);
                    }
                } catch (RetriableException | IllegalStateException e) {
                    continue; // no broker answers, or a place is not known yet: a witness waits
                }
                write(consumer.poll(Duration.ofMillis(100)), out);
                out.flush();
            }
        }
    }

    private static void assignNew(KafkaConsumer<byte[], byte[]> consumer, List<String> topics) {
        List<TopicPartition> wanted = partitions(consumer, topics);
        if (wanted.size() == consumer.assignment().size()) {
            return;
        }
        Map<TopicPartition, Long> places = new HashMap<>();
        for (TopicPartition partition : consumer.assignment()) {
            places.put(partition, consumer.position(partition));
        }
        consumer.assign(wanted);
        for (TopicPartition partition : wanted) {
            consumer.seek(partition, places.getOrDefault(partition, 0L));
        }
    }

    private static KafkaConsumer<byte[], byte[]> consumer(String brokers, String isolation) {
        Properties settings = new Properties();
        settings.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
        settings.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, isolation);
        settings.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, "false");
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        settings.put(ConsumerConfig.ALLOW_AUTO_CREATE_TOPICS_CONFIG, "false");
        settings.put(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, "5000");
        settings.put(ConsumerConfig.FETCH_MAX_WAIT_MS_CONFIG, "20");
        settings.put(ConsumerConfig.METADATA_MAX_AGE_CONFIG, "1000");
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static List<TopicPartition> partitions(KafkaConsumer<byte[], byte[]> consumer, List<String> topics) {
        List<TopicPartition> all = new ArrayList<>();
        for (String topic : topics) {
            var found = consumer.partitionsFor(topic);
            if (found != null) {
                all.addAll(found.stream()
                        .map(p -> new TopicPartition(p.topic(), p.partition()))
                        .collect(Collectors.toList()));
            }
        }
        return all;
    }

    private static boolean reached(KafkaConsumer<byte[], byte[]> consumer, Map<TopicPartition, Long> ends) {
        for (Map.Entry<TopicPartition, Long> end : ends.entrySet()) {
            if (consumer.position(end.getKey()) < end.getValue()) {
                return false;
            }
        }
        return true;
    }

    private static void write(ConsumerRecords<byte[], byte[]> records, OutputStream out) throws Exception {
        StringBuilder line = new StringBuilder(512);
        for (ConsumerRecord<byte[], byte[]> record : records) {
            line.setLength(0);
            line.append("{\"topic\":\"").append(record.topic()).append("\",\"partition\":").append(record.partition());
            line.append(",\"offset\":").append(record.offset()).append(",\"timestamp\":").append(record.timestamp());
            bytes(line.append(",\"key\":"), record.key());
            bytes(line.append(",\"value\":"), record.value());
            line.append(",\"headers\":[");
            String separator = "";
            for (Header header : record.headers()) {
                line.append(separator).append('[');
                bytes(line, header.key().getBytes(StandardCharsets.UTF_8));
                bytes(line.append(','), header.value());
                line.append(']');
                separator = ",";
            }
            line.append("]}\n");
            out.write(line.toString().getBytes(StandardCharsets.ISO_8859_1));
        }
    }

    private static void bytes(StringBuilder line, byte[] value) {
        if (value == null) {
            line.append("null");
        } else {
            line.append('"').append(BASE64.encodeToString(value)).append('"');
        }
    }
}
