package dmz.sample;

import com.google.gson.Gson;
import com.google.gson.JsonParseException;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.Executors;

/**
 * Adds up the numbers that are posted to it.
 *
 * <p>GET /healthz: {"status":"ok"}. POST /aggregate with {"values":[1,2]}: the totals with these numbers in. GET
 * /aggregate: the totals.
 */
public final class Service {
    private static final int PORT = 8080;
    private static final int MAX_BODY = 1024 * 1024;
    private static final Gson JSON = new Gson();

    private final Totals totals = new Totals();

    /** What is posted. */
    static final class Request {
        double[] values;
    }

    private Service() {}

    public static void main(String[] arguments) throws IOException {
        // Seconds: who opens a connection and says nothing does not keep a thread.
        System.setProperty("sun.net.httpserver.maxReqTime", "30");
        Service service = new Service();
        HttpServer server = HttpServer.create(new InetSocketAddress(PORT), 0);
        server.createContext("/", service::answer);
        server.setExecutor(Executors.newFixedThreadPool(4));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> server.stop(0)));
        server.start();
        System.out.println("listening on " + server.getAddress().getPort());
    }

    private void answer(HttpExchange exchange) throws IOException {
        try (HttpExchange open = exchange) {
            String request = open.getRequestMethod() + " " + open.getRequestURI().getPath();
            switch (request) {
                case "GET /healthz" -> send(open, 200, Map.of("status", "ok"));
                case "GET /aggregate" -> send(open, 200, totals.snapshot());
                case "POST /aggregate" -> aggregate(open);
                default -> send(open, 404, Map.of("error", "There is nothing at this path for this method."));
            }
        }
    }

    private void aggregate(HttpExchange exchange) throws IOException {
        byte[] body;
        try (InputStream stream = exchange.getRequestBody()) {
            body = stream.readNBytes(MAX_BODY + 1);
        }
        if (body.length > MAX_BODY) {
            send(exchange, 413, Map.of("error", "At most " + MAX_BODY + " bytes are taken."));
            return;
        }
        Request request;
        try {
            request = JSON.fromJson(new String(body, StandardCharsets.UTF_8), Request.class);
        } catch (JsonParseException error) {
            request = null;
        }
        if (request == null || request.values == null || !finite(request.values)) {
            send(exchange, 400, Map.of("error", "Post {\"values\": [numbers]}."));
            return;
        }
        send(exchange, 200, totals.add(request.values));
    }

    private static boolean finite(double[] values) {
        for (double value : values) {
            if (!Double.isFinite(value)) {
                return false;
            }
        }
        return true;
    }

    private static void send(HttpExchange exchange, int status, Object answer) throws IOException {
        byte[] data = (JSON.toJson(answer) + "\n").getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(status, data.length);
        exchange.getResponseBody().write(data);
    }
}
