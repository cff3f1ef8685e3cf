package dmz.sample;

import com.google.gson.Gson;
import com.google.gson.JsonParseException;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.Executors;

/**
 * Adds up vectors, the way an aggregator adds up the updates of many devices; the adding is C++.
 *
 * <p>GET /healthz: {"status":"ok","environment":"…"}. POST /aggregate with {"updates":[[1,2],[3,4]]}:
 * {"count":2,"sum":[4.0,6.0]}.
 */
public final class NativeService {
    private static final int MAX_BODY = 8 * 1024 * 1024;
    private static final Gson JSON = new Gson();

    private final Options options;

    /** What is posted. */
    static final class Request {
        double[][] updates;
    }

    private NativeService(Options options) {
        this.options = options;
    }

    public static void main(String[] arguments) throws IOException {
        // Seconds: who opens a connection and says nothing does not keep a thread.
        System.setProperty("sun.net.httpserver.maxReqTime", "30");
        Options options;
        try {
            options = Options.read(System.getenv().getOrDefault("FCP_OPTS", ""));
        } catch (IllegalArgumentException error) {
            System.err.println(error.getMessage());
            System.exit(2);
            return;
        }
        Aggregate.sum(new double[1][1]); // a missing library is found now, not at the first request
        NativeService service = new NativeService(options);
        HttpServer server = HttpServer.create(new InetSocketAddress(options.port), 0);
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
                case "GET /healthz" -> send(open, 200, health());
                case "POST /aggregate" -> aggregate(open);
                default -> send(open, 404, Map.of("error", "There is nothing at this path for this method."));
            }
        }
    }

    private Map<String, String> health() {
        return options.environment.isEmpty()
                ? Map.of("status", "ok")
                : Map.of("status", "ok", "environment", options.environment);
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
        try {
            Request request = JSON.fromJson(new String(body, StandardCharsets.UTF_8), Request.class);
            if (request == null || request.updates == null || Arrays.asList(request.updates).contains(null)) {
                throw new IllegalArgumentException("Post {\"updates\": [[numbers], …]}.");
            }
            double[] sum = Aggregate.sum(request.updates);
            if (!Arrays.stream(sum).allMatch(Double::isFinite)) {
                throw new IllegalArgumentException("The sum is no finite number.");
            }
            send(exchange, 200, new Answer(request.updates.length, sum));
        } catch (JsonParseException error) {
            send(exchange, 400, Map.of("error", "Post {\"updates\": [[numbers], …]}."));
        } catch (IllegalArgumentException error) {
            send(exchange, 400, Map.of("error", error.getMessage()));
        }
    }

    /** What comes back. */
    static final class Answer {
        final int count;
        final double[] sum;

        Answer(int count, double[] sum) {
            this.count = count;
            this.sum = sum;
        }
    }

    private static void send(HttpExchange exchange, int status, Object answer) throws IOException {
        byte[] data = (JSON.toJson(answer) + "\n").getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(status, data.length);
        exchange.getResponseBody().write(data);
    }
}
