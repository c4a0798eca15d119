#include "common.cuh"

extern "C" __global__ void momentum_step(
    const real* x, const real* g, real* v, real* out, place size, real rate, real momentum, int nesterov) {
    EACH(i, size) {
        real slope = g[i];
        real velocity = momentum * v[i] + slope;
        v[i] = velocity;
        out[i] = x[i] - rate * (nesterov ? slope + momentum * velocity : velocity);
    }
}

extern "C" __global__ void plain_step(const real* x, const real* g, real* out, place size, real rate) {
    EACH(i, size) out[i] = x[i] - rate * g[i];
}
