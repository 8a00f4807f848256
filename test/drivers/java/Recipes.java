import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.hibernate.cfg.Configuration;
import org.springframework.jdbc.datasource.DriverManagerDataSource;

/** The code of the guide: an event, a message that comes twice, a request that is made again and then another one. */
record Recipes(Pay pay, Receive receive, Post post) {
    interface Pay {
        void call(long order) throws Exception;
    }

    interface Receive {
        String call(UUID message, long account, int amount) throws Exception;
    }

    interface Post {
        List<Object> call(String key, String request, long account, int amount) throws Exception;
    }

    private static List<Object> answer(int status, String body) throws Exception {
        return Arrays.asList(status, body == null ? null : Driver.JSON.readTree(body));
    }

    private static Recipes of(String driver, String url) throws Exception {
        switch (driver) {
            case "JdbcTemplate": {
                TemplateShop shop = new TemplateShop(new DriverManagerDataSource(url));
                return new Recipes(shop::pay, shop::receive, (key, request, account, amount) -> {
                    TemplateShop.Response response = shop.postPayment(key, request, account, amount);
                    return answer(response.status(), response.body());
                });
            }
            case "JPA": {
                JpaShop shop = new JpaShop(new Configuration().addAnnotatedClass(ShopOrder.class)
                        .setProperty("hibernate.connection.url", url).buildSessionFactory());
                return new Recipes(shop::pay, shop::receive, (key, request, account, amount) -> {
                    JpaShop.Response response = shop.postPayment(key, request, account, amount);
                    return answer(response.status(), response.body());
                });
            }
            default: {
                JdbcShop shop = new JdbcShop(url);
                return new Recipes(shop::pay, shop::receive, (key, request, account, amount) -> {
                    JdbcShop.Response response = shop.postPayment(key, request, account, amount);
                    return answer(response.status(), response.body());
                });
            }
        }
    }

    static Map<String, Object> run(String driver, String url, JsonNode asked) throws Exception {
        Recipes shop = of(driver, url);
        long order = asked.get("order").asLong();
        shop.pay.call(order);
        List<Object> verdicts = new ArrayList<>();
        for (int i = 0; i < 2; i++)
            verdicts.add(shop.receive.call(UUID.fromString(asked.get("message").asText()), order, 5));
        List<Object> answers = new ArrayList<>();
        for (int amount : new int[] {3, 3, 4})
            answers.add(shop.post.call(asked.get("key").asText(), "{\"account\": %d, \"amount\": %d}".formatted(order, amount), order, amount));
        return Map.of("receive", verdicts, "post", answers);
    }
}
