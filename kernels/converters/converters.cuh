// Shared by all converters: levels, and the noise of a block of four neighbours.
#pragma once
#include "random/streams.cuh"
#include "rows.cuh"

// Clip to +-bound, then round to the nearest level, ties to even; without a step only clip.
__device__ inline real quantised(real value, real bound, real step) {
    value = value > bound ? bound : value;
    value = value < -bound ? -bound : value;
    return step > 0 ? (real)rint(value / step) * step : value;
}

// Normal numbers for four neighbours of a row, or zeros: twin of `row_normals`.
struct Draws { float of[4]; };

__device__ inline Draws draws_of(bool wanted, int block, place row, word k0, word k1, word c2, word c3) {
    Draws drawn = {{0.0f, 0.0f, 0.0f, 0.0f}};
    if (wanted) {
        Words words = philox((word)block, (word)row, c2, c3, k0, k1);
        for (int lane = 0; lane < 4; ++lane) drawn.of[lane] = normal(words.w[lane]);
    }
    return drawn;
}

// A thread processes `width` neighbours: 4 of one block of draws with noise, otherwise 1 for coalesced memory access. `block` counts
// blocks, `lane` their elements, `j` is the line. The loop has a fixed length, so that draws stay in registers.
#define EACH_LINE(lane, j, block, width, lines) \
    for (int lane = 0, j = (block) * (width); lane < 4; ++lane, ++j) \
        if (lane < (width) && j < (lines))
