package dmz.loader.nested;

import java.io.ByteArrayInputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.net.URLConnection;
import java.net.URLStreamHandler;

/** URLs of what stands in nested jars. The JVM finds this class by its name when such a URL is made from text. */
public final class Handler extends URLStreamHandler {
    /** Who has the bytes. */
    public interface Source {
        /** Null if there is nothing at `url`. */
        byte[] read(URL url) throws IOException;
    }

    private static volatile Source registered;

    private final Source source;

    public Handler() {
        this(null);
    }

    public Handler(Source source) {
        this.source = source;
    }

    public static void register(Source source) {
        registered = source;
    }

    @Override
    protected URLConnection openConnection(URL url) {
        return new Connection(url, source == null ? registered : source);
    }

    private static final class Connection extends URLConnection {
        private final Source source;
        private byte[] data;

        Connection(URL url, Source source) {
            super(url);
            this.source = source;
        }

        @Override
        public void connect() throws IOException {
            if (data == null) {
                data = source == null ? null : source.read(url);
                if (data == null) {
                    throw new FileNotFoundException(url.toString());
                }
                connected = true;
            }
        }

        @Override
        public InputStream getInputStream() throws IOException {
            connect();
            return new ByteArrayInputStream(data);
        }

        @Override
        public long getContentLengthLong() {
            try {
                connect();
                return data.length;
            } catch (IOException error) {
                return -1;
            }
        }

        @Override
        public int getContentLength() {
            return (int) getContentLengthLong();
        }

        @Override
        public String getContentType() {
            return guessContentTypeFromName(url.getPath());
        }
    }
}
