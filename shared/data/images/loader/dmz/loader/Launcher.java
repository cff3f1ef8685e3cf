package dmz.loader;

import java.io.File;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.List;
import java.util.jar.Attributes;

/**
 * Starts the application of a jar in the Spring Boot layout: its classes below BOOT-INF/classes/, its libraries as
 * stored jars below BOOT-INF/lib/. Nothing is unpacked to disk.
 */
public final class Launcher {
    private Launcher() {}

    public static void main(String[] arguments) throws Throwable {
        File file = new File(Launcher.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        Archive jar = Archive.open(file);
        Attributes manifest = jar.manifest();
        String start = required(manifest, "Start-Class");
        String library = required(manifest, "Spring-Boot-Lib");
        List<Element> path = new ArrayList<>();
        path.add(new Element(jar, required(manifest, "Spring-Boot-Classes"), ""));
        for (String name : jar.names()) { // sorted, and so is the class path
            if (name.startsWith(library) && name.endsWith(".jar")) {
                path.add(new Element(jar.nested(name), "", name + "!/"));
            }
        }
        NestedLoader loader = new NestedLoader(file, path, ClassLoader.getSystemClassLoader());
        loader.register();
        Thread.currentThread().setContextClassLoader(loader);
        Method main = Class.forName(start, false, loader).getMethod("main", String[].class);
        main.setAccessible(true);
        try {
            main.invoke(null, (Object) arguments);
        } catch (InvocationTargetException error) {
            throw error.getCause();
        }
    }

    private static String required(Attributes manifest, String name) {
        String value = manifest.getValue(name);
        if (value == null) {
            throw new IllegalStateException("The jar's manifest has no " + name + ".");
        }
        return value;
    }
}
