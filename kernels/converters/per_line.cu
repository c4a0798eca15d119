#include "converters/converters.cuh"

// `codes` is the length of a table, 0 without tables.
extern "C" __global__ void imprint(
    const real* driven, real* out, const real* affine, const real* levels, int codes, real step, real resting, real pulsed,
    word k0, word k1, unsigned long long first, const unsigned long long* moved, int lines, int width, place count, int length, int shift) {
    unsigned long long when = step_of(first, moved);
    word c2 = (word)when, c3 = (word)(when >> 32);
    EACH(item, count << shift) {
        place row = item >> shift;
        EACH_OF(block, item, length, shift) {
            Draws drawn = draws_of(pulsed > 0, block, row, k0, k1, c2, c3);
            EACH_LINE(lane, j, block, width, lines) {
                real code = driven[row * lines + j], value = code;
                // A NaN has no code and is passed on unchanged.
                if (codes > 0 && code == code) value = levels[(place)j * codes + (int)rint(code / step) + codes / 2];
                value = affine[j] * value + affine[lines + j];
                if (pulsed > 0) value = value + (code == 0 ? resting : pulsed) * drawn.of[lane];
                out[row * lines + j] = value;
            }
        }
    }
}

extern "C" __global__ void bit_plane(const real* driven, real* out, place size, real step, int digit, real bound, place most) {
    EACH(i, size) {
        real value = driven[i];
        if (value == value) {
            place code = (place)rint(value / step);
            code = code < 0 ? -code : code;
            code = code > most ? most : code;
            bool set = code >> digit & 1;
            value = !set ? (real)0 : value < 0 ? -bound : bound;
        }
        out[i] = value;
    }
}

// Code of a value: that of evenly spaced levels, corrected along the table.
__device__ inline int code_of(real value, real step, const real* transitions, int codes) {
    int most = (codes - 1) / 2;
    real position = value / step;
    int code = position > most ? most : position < -most ? -most : (int)rint(position);
    while (transitions[code + most] > value) --code;
    while (code < most && transitions[code + most + 1] <= value) ++code;
    return code;
}

// `varied`: every sum has a further variance; `codes` is the length of a table, 0 without tables.
extern "C" __global__ void convert(
    const real* y, real* total, const real* scale, const real* variance, unsigned long long* saturated, real noise, int varied,
    real bound, real step, const real* entry, const real* transitions, int codes, const place* tables, const real* leave, int fresh,
    word k0, word k1, unsigned long long first, const unsigned long long* moved, int lines, int width, place count, int length, int shift) {
    unsigned long long when = step_of(first, moved);
    word c2 = (word)when, c3 = (word)(when >> 32);
    bool noisy = varied || noise > 0;
    EACH(item, count << shift) {
        place row = item >> shift;
        unsigned long long clipped = 0;
        EACH_OF(block, item, length, shift) {
            Draws drawn = draws_of(noisy, block, row, k0, k1, c2, c3);
            EACH_LINE(lane, j, block, width, lines) {
                place i = row * lines + j;
                real value = y[i];
                if (noisy) value = value + (varied ? (real)sqrt(noise * noise + variance[i]) : noise) * drawn.of[lane];
                value = entry[j] * value + entry[lines + j];
                if (codes == 0) {
                    clipped += fabs(value) > bound + (real)0.5 * step;
                    value = quantised(value, bound, step);
                } else if (value == value) {
                    const real* own = transitions + tables[j] * codes;
                    clipped += value > own[codes - 1] + step || value < own[1] - step;
                    value = (real)code_of(value, step, own, codes) * step;
                }
                total[i] = (fresh ? (real)0 : total[i]) + scale[row] * (leave[j] * value + leave[lines + j]);
            }
        }
        if (clipped > 0) atomicAdd(saturated + row, clipped);
    }
}
