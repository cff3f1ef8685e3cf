package dmz.sample;

import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What the operator may set: the environment variable FCP_OPTS, as `--port 8080 --environment 'demo'`. */
final class Options {
    private static final Pattern OPTION = Pattern.compile("\\s*--([a-z_]+)[ =](?:'([^']*)'|(\\S+))(?=\\s|$)\\s*");

    final int port;
    final String environment;

    private Options(int port, String environment) {
        this.port = port;
        this.environment = environment;
    }

    static Options read(String text) {
        Map<String, String> found = new TreeMap<>(Map.of("port", "8080", "environment", ""));
        Matcher matcher = OPTION.matcher(text);
        int at = 0;
        while (at < text.length()) {
            if (!matcher.find(at) || matcher.start() != at || !found.containsKey(matcher.group(1))) {
                throw new IllegalArgumentException("FCP_OPTS takes --port and --environment alone, not: " + text);
            }
            found.put(matcher.group(1), matcher.group(2) == null ? matcher.group(3) : matcher.group(2));
            at = matcher.end();
        }
        String port = found.get("port");
        if (!port.matches("[0-9]{1,5}") || Integer.parseInt(port) > 65535) {
            throw new IllegalArgumentException("FCP_OPTS: --port takes a number up to 65535, not " + port + ".");
        }
        return new Options(Integer.parseInt(port), found.get("environment"));
    }
}
