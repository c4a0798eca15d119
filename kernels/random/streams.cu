#include "random/streams.cuh"

// Word i mod 4 of block i div 4, for all i; a thread draws a whole block.
extern "C" __global__ void fill_bits(word* out, place size, word k0, word k1, unsigned long long first, const unsigned long long* moved) {
    unsigned long long when = step_of(first, moved);
    EACH(block, (size + 3) / 4) {
        Words drawn = philox((word)block, (word)((unsigned long long)block >> 32), (word)when, (word)(when >> 32), k0, k1);
        for (int lane = 0; lane < 4 && 4 * block + lane < size; ++lane) out[4 * block + lane] = drawn.w[lane];
    }
}

extern "C" __global__ void fill_normals(real* out, place size, word k0, word k1, unsigned long long first, const unsigned long long* moved) {
    unsigned long long when = step_of(first, moved);
    EACH(block, (size + 3) / 4) {
        Words drawn = philox((word)block, (word)((unsigned long long)block >> 32), (word)when, (word)(when >> 32), k0, k1);
        for (int lane = 0; lane < 4 && 4 * block + lane < size; ++lane) out[4 * block + lane] = (real)normal(drawn.w[lane]);
    }
}
