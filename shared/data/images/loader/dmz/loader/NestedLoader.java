package dmz.loader;

import dmz.loader.nested.Handler;
import java.io.File;
import java.io.IOException;
import java.net.MalformedURLException;
import java.net.URI;
import java.net.URISyntaxException;
import java.net.URL;
import java.security.CodeSource;
import java.security.SecureClassLoader;
import java.security.cert.Certificate;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Enumeration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.jar.Attributes;

/** Classes and resources out of nested archives. */
final class NestedLoader extends SecureClassLoader implements Handler.Source {
    private static final String HANDLERS = "java.protocol.handler.pkgs";

    static {
        registerAsParallelCapable();
    }

    private final String file;
    private final List<Element> path;
    private final Handler handler = new Handler(this);
    private final Map<Element, CodeSource> sources = new HashMap<>();

    NestedLoader(File file, List<Element> path, ClassLoader parent) throws MalformedURLException {
        super(parent);
        this.file = file.toURI().getPath();
        this.path = path;
        for (Element element : path) {
            sources.put(element, new CodeSource(url(element, ""), (Certificate[]) null));
        }
    }

    /** From now on a `nested:` URL that is made from its text leads here too. */
    void register() {
        Handler.register(this);
        String others = System.getProperty(HANDLERS);
        System.setProperty(HANDLERS, others == null ? "dmz.loader" : others + "|dmz.loader");
    }

    @Override
    protected Class<?> findClass(String name) throws ClassNotFoundException {
        String resource = name.replace('.', '/') + ".class";
        for (Element element : path) {
            String found = element.find(resource);
            if (found != null) {
                try {
                    byte[] data = element.archive.read(found);
                    int dot = name.lastIndexOf('.');
                    if (dot > 0) {
                        define(name.substring(0, dot), element.manifest);
                    }
                    return defineClass(name, data, 0, data.length, sources.get(element));
                } catch (IOException error) {
                    throw new ClassNotFoundException(name, error);
                }
            }
        }
        throw new ClassNotFoundException(name);
    }

    private void define(String name, Attributes manifest) {
        if (getPackage(name) != null) {
            return;
        }
        try {
            definePackage(
                    name,
                    manifest.getValue(Attributes.Name.SPECIFICATION_TITLE),
                    manifest.getValue(Attributes.Name.SPECIFICATION_VERSION),
                    manifest.getValue(Attributes.Name.SPECIFICATION_VENDOR),
                    manifest.getValue(Attributes.Name.IMPLEMENTATION_TITLE),
                    manifest.getValue(Attributes.Name.IMPLEMENTATION_VERSION),
                    manifest.getValue(Attributes.Name.IMPLEMENTATION_VENDOR),
                    null);
        } catch (IllegalArgumentException defined) {
            // Another thread was faster.
        }
    }

    @Override
    protected URL findResource(String name) {
        for (Element element : path) {
            if (element.find(name) != null) {
                return resource(element, name);
            }
        }
        return null;
    }

    @Override
    protected Enumeration<URL> findResources(String name) {
        List<URL> found = new ArrayList<>();
        for (Element element : path) {
            if (element.find(name) != null) {
                found.add(resource(element, name));
            }
        }
        return Collections.enumeration(found);
    }

    /** The bytes that a URL of this loader names; null if there are none. */
    @Override
    public byte[] read(URL url) throws IOException {
        String whole;
        try {
            whole = new URI("nested:" + url.getPath()).getPath();
        } catch (URISyntaxException error) {
            throw new IOException(url + " is no URL of a nested jar.", error);
        }
        for (Element element : path) {
            String start = file + "!/" + element.location;
            if (whole.startsWith(start)) {
                String found = element.find(whole.substring(start.length()));
                if (found != null) {
                    return element.archive.read(found);
                }
            }
        }
        return null;
    }

    private URL resource(Element element, String name) {
        try {
            return url(element, name);
        } catch (MalformedURLException error) {
            throw new IllegalArgumentException(name, error);
        }
    }

    private URL url(Element element, String name) throws MalformedURLException {
        try {
            String whole = new URI(null, null, file + "!/" + element.location + name, null).getRawPath();
            return new URL("nested", "", -1, whole, handler);
        } catch (URISyntaxException error) {
            throw new MalformedURLException(error.getMessage());
        }
    }
}
