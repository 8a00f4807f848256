import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.hibernate.SessionFactory;
import org.hibernate.StatelessSession;
import org.hibernate.cfg.Configuration;

/** Native queries of Hibernate, as JPA's entity manager has them, each in a transaction. */
final class HibernateSession implements Driver.Session {
    private final SessionFactory factory;
    private final StatelessSession session;

    HibernateSession(String url, String user) {
        Configuration configuration = new Configuration();
        configuration.setProperty("hibernate.connection.url", url);
        configuration.setProperty("hibernate.connection.username", user);
        factory = configuration.buildSessionFactory();
        session = factory.openStatelessSession();
    }

    @Override
    public List<List<Object>> ask(String sql, List<Object> values) {
        var transaction = session.beginTransaction();
        try {
            var query = session.createNativeQuery(sql, Object[].class);
            for (int i = 0; i < values.size(); i++)
                query.setParameter("p" + (i + 1), values.get(i) instanceof Driver.Elements elements ? elements.values() : values.get(i));
            List<List<Object>> found = new ArrayList<>();
            for (Object[] row : query.getResultList())
                found.add(new ArrayList<>(Arrays.asList(row)));
            transaction.commit();
            return found;
        } catch (RuntimeException error) {
            transaction.rollback();
            throw error;
        }
    }

    @Override
    public void batch(String sql, List<List<Object>> values) {
        throw new UnsupportedOperationException();
    }

    @Override
    public String version() {
        return org.hibernate.Version.getVersionString();
    }

    @Override
    public void close() {
        session.close();
        factory.close();
    }
}
