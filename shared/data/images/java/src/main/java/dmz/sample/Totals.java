package dmz.sample;

/** A running total of numbers, its rounding error kept beside it (Neumaier's summation). */
final class Totals {
    private long count;
    private double sum;
    private double error;

    /** A moment of the total. */
    static final class Snapshot {
        final long count;
        final double sum;
        final double mean;

        Snapshot(long count, double sum) {
            this.count = count;
            this.sum = sum;
            this.mean = count == 0 ? 0 : sum / count;
        }
    }

    synchronized Snapshot add(double[] values) {
        for (double value : values) {
            double next = sum + value;
            error += Math.abs(sum) >= Math.abs(value) ? (sum - next) + value : (value - next) + sum;
            sum = next;
        }
        count += values.length;
        return snapshot();
    }

    synchronized Snapshot snapshot() {
        return new Snapshot(count, sum + error);
    }
}
