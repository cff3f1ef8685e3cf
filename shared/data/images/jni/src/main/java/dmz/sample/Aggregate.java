package dmz.sample;

/** Sums of vectors, computed in C++ (libaggregate.so). */
final class Aggregate {
    static {
        System.loadLibrary("aggregate");
    }

    private Aggregate() {}

    /**
     * The sum of all vectors, place by place.
     *
     * @throws IllegalArgumentException if there is none, or if they differ in length
     */
    static native double[] sum(double[][] vectors);
}
