package dmz.loader;

import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Set;
import java.util.TreeMap;
import java.util.jar.Attributes;
import java.util.jar.Manifest;
import java.util.zip.CRC32;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;

/** A zip archive that is a file, or that stands stored inside one (APPNOTE.TXT of PKWARE). */
final class Archive {
    private static final int END = 0x06054b50;
    private static final int END_SIZE = 22;
    private static final int CENTRAL = 0x02014b50;
    private static final int CENTRAL_SIZE = 46;
    private static final int LOCAL = 0x04034b50;
    private static final int LOCAL_SIZE = 30;
    private static final int STORED = 0;
    private static final int DEFLATED = 8;

    private static final class Entry {
        long header;
        int method;
        long crc;
        long packed;
        long size;
    }

    /** A channel would be closed for all by the interruption of one thread that reads classes; this is not. */
    private final RandomAccessFile file;

    private final long start;
    private final long length;
    private final TreeMap<String, Entry> entries = new TreeMap<>();

    private Archive(RandomAccessFile file, long start, long length) throws IOException {
        this.file = file;
        this.start = start;
        this.length = length;
        index();
    }

    static Archive open(File path) throws IOException {
        RandomAccessFile file = new RandomAccessFile(path, "r");
        return new Archive(file, 0, file.length());
    }

    /** The stored jar at `name`. */
    Archive nested(String name) throws IOException {
        Entry entry = entries.get(name);
        if (entry == null || entry.method != STORED) {
            throw new IOException(name + " is not stored: a nested jar must not be compressed.");
        }
        return new Archive(file, start + content(name, entry), entry.size);
    }

    Set<String> names() {
        return entries.keySet();
    }

    boolean has(String name) {
        return entries.containsKey(name);
    }

    Attributes manifest() throws IOException {
        byte[] text = read("META-INF/MANIFEST.MF");
        return text == null ? new Attributes() : new Manifest(new ByteArrayInputStream(text)).getMainAttributes();
    }

    /** The bytes at `name`, checked; null if there is no such entry. */
    byte[] read(String name) throws IOException {
        Entry entry = entries.get(name);
        if (entry == null) {
            return null;
        }
        byte[] packed = at(content(name, entry), entry.packed);
        byte[] data = entry.method == STORED ? packed : inflate(name, packed, entry.size);
        CRC32 crc = new CRC32();
        crc.update(data, 0, data.length);
        if (data.length != entry.size || crc.getValue() != entry.crc) {
            throw new IOException(name + " is damaged: its checksum differs.");
        }
        return data;
    }

    private void index() throws IOException {
        ByteBuffer end = end();
        int count = end.getShort(10) & 0xffff;
        ByteBuffer directory = buffer(at(unsigned(end.getInt(16)), unsigned(end.getInt(12))));
        for (int number = 0; number < count; number++) {
            int at = directory.position();
            if (directory.remaining() < CENTRAL_SIZE || directory.getInt(at) != CENTRAL) {
                throw new IOException("The jar's directory is damaged.");
            }
            Entry entry = new Entry();
            entry.method = directory.getShort(at + 10);
            entry.crc = unsigned(directory.getInt(at + 16));
            entry.packed = unsigned(directory.getInt(at + 20));
            entry.size = unsigned(directory.getInt(at + 24));
            entry.header = unsigned(directory.getInt(at + 42));
            byte[] name = new byte[directory.getShort(at + 28) & 0xffff];
            int rest = (directory.getShort(at + 30) & 0xffff) + (directory.getShort(at + 32) & 0xffff);
            directory.position(at + CENTRAL_SIZE);
            directory.get(name);
            directory.position(directory.position() + rest);
            entries.put(new String(name, StandardCharsets.UTF_8), entry);
        }
    }

    /** The end record: behind it only its comment may stand. */
    private ByteBuffer end() throws IOException {
        int size = (int) Math.min(length, END_SIZE + 0xffff);
        ByteBuffer tail = buffer(at(length - size, size));
        for (int at = size - END_SIZE; at >= 0; at--) {
            if (tail.getInt(at) == END && at + END_SIZE + (tail.getShort(at + 20) & 0xffff) == size) {
                tail.position(at);
                return tail.slice().order(ByteOrder.LITTLE_ENDIAN);
            }
        }
        throw new IOException("This is no jar, or one that is cut off.");
    }

    /** Where the bytes of an entry begin: the names and extra fields of both its headers may differ in length. */
    private long content(String name, Entry entry) throws IOException {
        ByteBuffer header = buffer(at(entry.header, LOCAL_SIZE));
        if (header.getInt(0) != LOCAL || (entry.method != STORED && entry.method != DEFLATED)) {
            throw new IOException(name + " is damaged, or compressed in a way that is not supported.");
        }
        return entry.header + LOCAL_SIZE + (header.getShort(26) & 0xffff) + (header.getShort(28) & 0xffff);
    }

    private byte[] at(long offset, long size) throws IOException {
        if (offset < 0 || size < 0 || offset + size > length || size > Integer.MAX_VALUE - 8) {
            throw new IOException("The jar is damaged: it points beyond its end.");
        }
        byte[] data = new byte[(int) size];
        synchronized (file) {
            file.seek(start + offset);
            file.readFully(data);
        }
        return data;
    }

    private static byte[] inflate(String name, byte[] packed, long size) throws IOException {
        if (size > Integer.MAX_VALUE - 8) {
            throw new IOException(name + " is too large.");
        }
        byte[] data = new byte[(int) size];
        Inflater inflater = new Inflater(true);
        try {
            inflater.setInput(packed);
            int done = 0;
            while (done < data.length) {
                int more = inflater.inflate(data, done, data.length - done);
                if (more == 0) {
                    throw new IOException(name + " is damaged: it ends early.");
                }
                done += more;
            }
            return data;
        } catch (DataFormatException error) {
            throw new IOException(name + " is damaged: " + error.getMessage(), error);
        } finally {
            inflater.end();
        }
    }

    private static ByteBuffer buffer(byte[] data) {
        return ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
    }

    private static long unsigned(int value) {
        return value & 0xffffffffL;
    }
}
