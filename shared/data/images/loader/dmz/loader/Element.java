package dmz.loader;

import java.io.IOException;
import java.util.Collections;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.jar.Attributes;

/** One place of the class path: an archive, or a directory of it. */
final class Element {
    private static final String VERSIONS = "META-INF/versions/";
    private static final int RUNNING = running();

    final Archive archive;
    final String prefix;

    /** What stands before a name in this element's URLs. */
    final String location;

    final Attributes manifest;

    /** Versions of a multi-release jar that this JVM may use, the newest first (JEP 238). */
    private final SortedSet<Integer> versions = new TreeSet<>(Collections.<Integer>reverseOrder());

    Element(Archive archive, String prefix, String location) throws IOException {
        this.archive = archive;
        this.prefix = prefix;
        this.location = location.isEmpty() ? prefix : location;
        this.manifest = archive.manifest();
        if ("true".equalsIgnoreCase(manifest.getValue("Multi-Release"))) {
            for (String name : archive.names()) {
                if (name.startsWith(VERSIONS)) {
                    int end = name.indexOf('/', VERSIONS.length());
                    add(end < 0 ? "" : name.substring(VERSIONS.length(), end));
                }
            }
        }
    }

    /** The archive's name for `name`; null if it is not here. */
    String find(String name) {
        if (!name.startsWith("META-INF/")) {
            for (int version : versions) {
                String versioned = VERSIONS + version + "/" + name;
                if (archive.has(versioned)) {
                    return versioned;
                }
            }
        }
        return archive.has(prefix + name) ? prefix + name : null;
    }

    private void add(String text) {
        if (text.matches("[1-9][0-9]{0,3}")) {
            int version = Integer.parseInt(text);
            if (version >= 9 && version <= RUNNING) {
                versions.add(version);
            }
        }
    }

    private static int running() {
        String version = System.getProperty("java.specification.version");
        return version.startsWith("1.") ? Integer.parseInt(version.substring(2)) : Integer.parseInt(version);
    }
}
