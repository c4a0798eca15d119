// Philox4x32-10 and normal numbers: twins of `philox` and `normal` in streams.py, bit-identical.
#pragma once
#include "common.cuh"

// Step of a random stream: the given number, plus the number that a captured graph adds at replay.
__device__ inline unsigned long long step_of(unsigned long long first, const unsigned long long* moved) {
    return first + *moved;
}

struct Words { word w[4]; };

__device__ inline Words philox(word c0, word c1, word c2, word c3, word k0, word k1) {
    for (int turn = 0; turn < 10; ++turn) {
        unsigned long long p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
        c0 = (word)(p1 >> 32) ^ c1 ^ k0;
        c2 = (word)(p0 >> 32) ^ c3 ^ k1;
        c1 = (word)p1;
        c3 = (word)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    Words drawn = {{c0, c1, c2, c3}};
    return drawn;
}

__device__ inline float log_of(float x) {
    int bits = __float_as_int(x);
    int exponent = (bits - 0x3F3504F3) >> 23;
    float y = __int_as_float(bits - (int)((word)exponent << 23)) - 1.0f;
    float y2 = y * y;
    float lower = (0.33333958f * y + -0.49999986f) + (0.1996212f * y + -0.25002129f) * y2;
    float upper = (0.14910179f * y + -0.16563112f) + (0.08808367f * y + -0.14351936f) * y2;
    return (y2 * (lower + upper * (y2 * y2)) + y) + (float)exponent * 0.693147180559945309f;
}

__device__ inline float normal(word drawn) {
    int bits = (int)drawn;
    float tail = ((float)(bits ^ (bits >> 31)) + 0.5f) * 2.3283064365386963e-10f;
    float above, below;
    if (tail > 0.075f) {
        float q = 0.5f - tail, r = 0.180625f - q * q;
        above = q * (((59.109374720f * r + 159.29113202f) * r + 50.434271938f) * r + 3.3871327179f);
        below = ((67.187563600f * r + 78.757757664f) * r + 17.895169469f) * r + 1.0f;
    } else {
        float s = sqrtf(-log_of(tail)) - 1.6f;
        above = ((0.17023821103f * s + 1.3067284816f) * s + 2.7568153900f) * s + 1.4234372777f;
        below = (0.12021132975f * s + 0.73700164250f) * s + 1.0f;
    }
    return __int_as_float(__float_as_int(above / below) ^ (~bits & (int)0x80000000));
}
