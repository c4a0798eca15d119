#include "converters/converters.cuh"

__device__ inline unsigned long long bits_of(float x) { return (word)__float_as_int(x); }
__device__ inline unsigned long long bits_of(double x) { return (unsigned long long)__double_as_longlong(x); }
__device__ inline float of_bits(unsigned long long bits, float) { return __int_as_float((int)(word)bits); }
__device__ inline double of_bits(unsigned long long bits, double) { return __longlong_as_double((long long)bits); }

// Bits of the largest magnitude of every row, initialised to zero: as integers, magnitudes have the same order, so that an integer
// maximum can be used, which does not depend on the order.
extern "C" __global__ void largest(const real* x, unsigned long long* found, place count, int length, int shift) {
    EACH(item, count << shift) {
        place row = item >> shift;
        real most = 0;
        EACH_OF(j, item, length, shift) {
            real magnitude = (real)fabs(x[row * length + j]);
            // Comparisons with NaN are false, so NaN is skipped.
            most = magnitude > most ? magnitude : most;
        }
        if (most > 0) atomicMax(found + row, bits_of(most));
    }
}

// `found` are the bits of the magnitudes that are mapped to the bound if `managed`, unless those are `given`.
extern "C" __global__ void dac(
    const real* x, const unsigned long long* found, const real* given, real* out, real* scale, unsigned long long* saturated,
    int managed, int is_given, real bound, real step, real reduction, place count, int length, int shift) {
    EACH(item, count << shift) {
        place row = item >> shift;
        real factor = reduction;
        if (managed) {
            real most = is_given ? given[row] : of_bits(found[row], reduction);
            if (most != 0) factor = most / bound * reduction;
        }
        if (item == row << shift) scale[row] = factor;
        unsigned long long clipped = 0;
        EACH_OF(j, item, length, shift) {
            real value = x[row * length + j] / factor;
            clipped += fabs(value) > bound;
            out[row * length + j] = quantised(value, bound, step);
        }
        if (clipped > 0) atomicAdd(saturated + row, clipped);
    }
}

// `varied`: the sums of every row have a further variance.
extern "C" __global__ void adc(
    const real* y, real* total, const real* scale, const real* variance, int varied, unsigned long long* saturated, real noise,
    real bound, real step, int fresh, word k0, word k1, unsigned long long first, const unsigned long long* moved, int lines, int width, place count, int length, int shift) {
    unsigned long long when = step_of(first, moved);
    word c2 = (word)when, c3 = (word)(when >> 32);
    EACH(item, count << shift) {
        place row = item >> shift;
        const real* own = y + row * lines;
        real* sum = total + row * lines;
        real deviation = varied ? (real)sqrt(noise * noise + variance[row]) : noise;
        unsigned long long clipped = 0;
        EACH_OF(block, item, length, shift) {
            Draws drawn = draws_of(deviation > 0, block, row, k0, k1, c2, c3);
            EACH_LINE(lane, j, block, width, lines) {
                real value = deviation > 0 ? own[j] + deviation * drawn.of[lane] : own[j];
                clipped += fabs(value) > bound + (real)0.5 * step;
                sum[j] = (fresh ? (real)0 : sum[j]) + scale[row] * quantised(value, bound, step);
            }
        }
        if (clipped > 0) atomicAdd(saturated + row, clipped);
    }
}
