#include "common.cuh"

__device__ inline float root(float x) { return sqrtf(x); }
__device__ inline double root(double x) { return sqrt(x); }

extern "C" __global__ void momentum_step(
    const real* x, const real* g, real* v, real* out, place size, real rate, real momentum, int nesterov) {
    EACH(i, size) {
        real slope = g[i];
        real velocity = momentum * v[i] + slope;
        v[i] = velocity;
        out[i] = x[i] - rate * (nesterov ? slope + momentum * velocity : velocity);
    }
}

// The rate and the two corrections are known on the GPU only.
extern "C" __global__ void adam_step(
    real* mean, real* square, const real* g, const real* w, real* out, place size, const real* rate, const real* correct_mean,
    const real* correct_square, real keep_mean, real keep_square, real eps, real decay) {
    EACH(i, size) {
        real slope = g[i];
        real m = mean[i] + keep_mean * (slope - mean[i]), s = square[i] + keep_square * (slope * slope - square[i]);
        mean[i] = m;
        square[i] = s;
        real change = *correct_mean * m / (root(*correct_square * s) + eps);
        if (decay != 0) change = change - decay * w[i];
        out[i] = *rate * change;
    }
}

extern "C" __global__ void plain_step(const real* x, const real* g, real* out, place size, real rate) {
    EACH(i, size) out[i] = x[i] - rate * g[i];
}
