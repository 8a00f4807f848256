import java.util.ArrayList;
import java.util.List;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.datasource.SingleConnectionDataSource;

/** Spring's JdbcTemplate. It binds each argument by its class; arrays are made by the connection. */
final class TemplateSession implements Driver.Session {
    private final SingleConnectionDataSource source;
    private final JdbcTemplate template;

    TemplateSession(String url, String user) {
        source = new SingleConnectionDataSource(url, user, "", true);
        template = new JdbcTemplate(source);
    }

    @Override
    public List<List<Object>> ask(String sql, List<Object> values) throws Exception {
        List<Object> arguments = new ArrayList<>();
        for (Object value : values)
            arguments.add(value instanceof Driver.Elements elements
                    ? source.getConnection().createArrayOf(elements.type(), elements.values()) : value);
        return template.query(sql, (rows, number) -> JdbcSession.row(rows), arguments.toArray());
    }

    @Override
    public void batch(String sql, List<List<Object>> values) {
        throw new UnsupportedOperationException();
    }

    @Override
    public String version() {
        return org.springframework.jdbc.core.JdbcTemplate.class.getPackage().getImplementationVersion();
    }

    @Override
    public void close() {
        source.destroy();
    }
}
