#include "common.cuh"

// Slots set in all trains of a line, the top bit of a word being a sign: one thread per line and part of the products, in sums by part.
extern "C" __global__ void line_pulses(const word* words, place* sums, place n, place lines, place parts, place length) {
    EACH(i, parts * lines) {
        place part = i / lines, line = i - part * lines, end = (part + 1) * length < n ? (part + 1) * length : n;
        place total = 0;
        for (place b = part * length; b < end; ++b) total += __popc(words[b * lines + line] & 0x7FFFFFFFu);
        sums[i] = total;
    }
}

// The same for the squares of numbers, or for their magnitudes.
extern "C" __global__ void line_amounts(const real* values, double* sums, place n, place lines, place parts, place length, int squared) {
    EACH(i, parts * lines) {
        place part = i / lines, line = i - part * lines, end = (part + 1) * length < n ? (part + 1) * length : n;
        double total = 0;
        for (place b = part * length; b < end; ++b) {
            double value = (double)values[b * lines + line];
            total += squared ? value * value : fabs(value);
        }
        sums[i] = total;
    }
}
