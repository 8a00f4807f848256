import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;

/** JDBC as it is. */
final class JdbcSession implements Driver.Session {
    private final Connection connection;

    JdbcSession(String url, String user) throws SQLException {
        connection = DriverManager.getConnection(url, user, "");
    }

    static void bind(PreparedStatement statement, List<Object> values) throws SQLException {
        for (int i = 0; i < values.size(); i++)
            if (values.get(i) instanceof Driver.Elements elements)
                statement.setArray(i + 1, statement.getConnection().createArrayOf(elements.type(), elements.values()));
            else
                statement.setObject(i + 1, values.get(i));
    }

    static List<Object> row(ResultSet rows) throws SQLException {
        List<Object> row = new ArrayList<>();
        for (int i = 1; i <= rows.getMetaData().getColumnCount(); i++)
            row.add(rows.getObject(i));
        return row;
    }

    @Override
    public List<List<Object>> ask(String sql, List<Object> values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            bind(statement, values);
            List<List<Object>> found = new ArrayList<>();
            try (ResultSet rows = statement.executeQuery()) {
                while (rows.next())
                    found.add(row(rows));
            }
            return found;
        }
    }

    @Override
    public void batch(String sql, List<List<Object>> values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (List<Object> each : values) {
                bind(statement, each);
                statement.addBatch();
            }
            statement.executeBatch();
        }
    }

    @Override
    public String version() {
        return org.postgresql.util.DriverInfo.DRIVER_VERSION;
    }

    @Override
    public void close() throws SQLException {
        connection.close();
    }
}
