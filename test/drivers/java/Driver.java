import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import org.postgresql.util.PGobject;

/** Driver <driver> <plan.json>: asks what the plan says through JDBC, and writes a JSON line for each case. */
public final class Driver {
    static final ObjectMapper JSON = new ObjectMapper();
    private static final Map<String, String> ARRAYS = Map.of("jsons", "json", "texts", "text", "bigints", "bigint",
            "uuids", "uuid", "bytess", "bytes");

    /** One connection through one interface. */
    interface Session extends AutoCloseable {
        List<List<Object>> ask(String sql, List<Object> values) throws Exception;

        /** The same statement several times in one round, whose answers JDBC throws away. */
        void batch(String sql, List<List<Object>> values) throws Exception;

        String version();

        @Override
        void close() throws Exception;
    }

    /** An array, whose elements' type the caller of createArrayOf has to name. */
    record Elements(String type, Object[] values) {
    }

    private static Object bind(JsonNode given, String style, List<List<List<Object>>> earlier) throws Exception {
        String kind = given.fieldNames().next();
        JsonNode content = given.get(kind);
        if (ARRAYS.containsKey(kind))
            return elements(kind, content, style);
        if (kind.equals("null"))
            return null;
        if (kind.equals("json"))
            return style.equals("natural") ? JSON.treeToValue(content, Object.class) : JSON.writeValueAsString(content);
        if (content.has("step"))
            return earlier.get(content.get("step").asInt()).get(0).get(content.get("column").asInt());
        return scalar(kind, content.asText(), style);
    }

    private static Object scalar(String kind, String content, String style) {
        return switch (kind) {
            case "int" -> Integer.valueOf(content);
            case "bigint" -> Long.valueOf(content);
            case "uuid" -> style.equals("untyped") ? content : UUID.fromString(content);
            case "bytes" -> Base64.getDecoder().decode(content);
            default -> content;
        };
    }

    private static Elements elements(String kind, JsonNode content, String style) throws Exception {
        List<Object> values = new ArrayList<>();
        for (JsonNode each : content)
            values.add(kind.equals("jsons") ? JSON.writeValueAsString(each) : scalar(ARRAYS.get(kind), each.asText(), "natural"));
        return switch (kind) {
            case "jsons" -> new Elements("jsonb", values.toArray(String[]::new));
            case "texts" -> new Elements("text", values.toArray(String[]::new));
            case "bigints" -> new Elements("bigint", values.toArray(Long[]::new));
            case "uuids" -> new Elements("uuid", values.toArray(UUID[]::new));
            default -> new Elements("bytea", values.toArray(byte[][]::new));
        };
    }

    private static void batch(Session session, JsonNode asked) throws Exception {
        List<List<Object>> several = new ArrayList<>();
        for (JsonNode step : asked.get("steps"))
            several.add(values(step, asked.get("style").asText(), List.of()));
        session.batch(asked.at("/steps/0/sql").asText(), several);
    }

    private static List<List<List<Object>>> run(Session session, JsonNode asked) throws Exception {
        String style = asked.get("style").asText();
        List<List<List<Object>>> rows = new ArrayList<>();
        for (JsonNode step : asked.get("steps"))
            rows.add(session.ask(step.get("sql").asText(), values(step, style, rows)));
        return rows;
    }

    private static List<Object> values(JsonNode step, String style, List<List<List<Object>>> earlier) throws Exception {
        List<Object> values = new ArrayList<>();
        for (JsonNode each : step.get("values"))
            values.add(bind(each, style, earlier));
        return values;
    }

    /** A value as JSON, as the driver gave it. */
    private static Object shown(Object value) {
        if (value instanceof byte[] bytes)
            return Map.of("bytes", Base64.getEncoder().encodeToString(bytes));
        if (value instanceof PGobject object)
            return object.getValue();
        return value instanceof Number || value == null ? value : value.toString();
    }

    private static Map<String, Object> answer(Session session, String mode, JsonNode asked) {
        Map<String, Object> line = new TreeMap<>(Map.of("id", asked.get("id").asInt()));
        try {
            if (mode.equals("pipeline")) {
                batch(session, asked);
                line.put("done", true);
            } else
                line.put("rows", run(session, asked).stream().map(step ->
                        step.stream().map(row -> row.stream().map(Driver::shown).toList()).toList()).toList());
        } catch (Exception error) {
            Throwable cause = error;
            while (!(cause instanceof SQLException) && cause.getCause() != null)
                cause = cause.getCause();
            line.put("sqlstate", cause instanceof SQLException sql ? sql.getSQLState() : null);
            line.put("error", cause.getClass().getSimpleName() + ": " + cause.getMessage());
        }
        return line;
    }

    static String url(JsonNode plan, String mode) {
        JsonNode place = plan.get(mode.equals("pooler") ? "pooler" : "server");
        String setting = switch (mode) {
            case "prepared" -> "?prepareThreshold=1";
            case "simple" -> "?preferQueryMode=simple";
            case "pooler" -> "?prepareThreshold=0";
            default -> "";
        };
        return "jdbc:postgresql://" + place.get("host").asText() + ":" + place.get("port").asInt() + "/"
                + place.get("database").asText() + setting;
    }

    private static Session open(String driver, JsonNode plan, String mode) throws Exception {
        String user = plan.at("/server/user").asText();
        return switch (driver) {
            case "JdbcTemplate" -> new TemplateSession(url(plan, mode), user);
            case "JPA" -> new HibernateSession(url(plan, mode), user);
            default -> new JdbcSession(url(plan, mode), user);
        };
    }

    public static void main(String[] words) throws Exception {
        JsonNode plan = JSON.readTree(new File(words[1]));
        for (var modes = plan.get("modes").fields(); modes.hasNext(); ) {
            Map.Entry<String, JsonNode> mode = modes.next();
            try (Session session = open(words[0], plan, mode.getKey())) {
                System.out.println(JSON.writeValueAsString(Map.of("version", session.version())));
                for (JsonNode asked : mode.getValue())
                    System.out.println(JSON.writeValueAsString(answer(session, mode.getKey(), asked)));
            }
        }
        if (plan.has("recipe"))
            System.out.println(JSON.writeValueAsString(Map.of("recipe",
                    Recipes.run(words[0], url(plan, "plain") + "?user=" + plan.at("/server/user").asText(), plan.get("recipe")))));
    }
}
