#include "common.cuh"

// In float32, with the formulas and the rounding of the CPU; see sigmoids.py and exponentials.py.

__device__ inline float series(float f) {
    return (((0.0013814601f * f + 0.0083687156f) * f + 0.041668389f) * f + 0.16666521f) * f + 0.49999994f;
}

__device__ inline float exponential(float t) {
    float kept = t < -87.0f ? -87.0f : t, whole = floorf(kept * 1.44269504f + 0.5f);
    float f = (kept - whole * 0.693359375f) - whole * -2.12194440e-4f;
    float value = (series(f) * (f * f) + f + 1.0f) * __int_as_float(((int)whole + 127) << 23);
    return t < -87.0f ? 0.0f : value;
}

__device__ inline float exponential_less_one(float t) {
    return t > -0.34f ? series(t) * (t * t) + t : exponential(t) - 1.0f;
}

__device__ inline float logistic(float x) {
    float falling = exponential(-fabsf(x));
    return (x < 0.0f ? falling : 1.0f) / (1.0f + falling);
}

__device__ inline double wide_tanh(float x) {
    // Comparisons with NaN are false, which keeps it.
    double c = x > 9.0f ? 9.0 : (double)x;
    c = c < -9.0 ? -9.0 : c;
    double t = c * c;
    double above = ((((double)1.33546925e-8f * t + (double)2.06091063e-5f) * t + (double)0.0034955896f) * t + (double)0.133810267f) * t + 1.0;
    double below = ((((double)7.77657135e-7f * t + (double)3.28563736e-4f) * t + (double)0.0258769877f) * t + (double)0.467143416f) * t + 1.0;
    double value = c * above / below;
    value = value > 1.0 ? 1.0 : value;
    return value < -1.0 ? -1.0 : value;
}

extern "C" __global__ void logistic_values(const float* x, float* y, place size) {
    EACH(i, size) { y[i] = logistic(x[i]); }
}

extern "C" __global__ void logistic_products(const float* x, const float* g, float* y, place size) {
    EACH(i, size) {
        float falling = exponential(-fabsf(x[i]));
        y[i] = g[i] * (falling / ((1.0f + falling) * (1.0f + falling)));
    }
}

extern "C" __global__ void logistic_shifts(const float* x, const float* d, float* y, place size) {
    EACH(i, size) {
        float there = x[i] + d[i], high = there > x[i] ? there : x[i], low = there < x[i] ? there : x[i];
        float change = logistic(high) * logistic(-low) * -exponential_less_one(-fabsf(d[i]));
        y[i] = d[i] < 0.0f ? -change : change;
    }
}

extern "C" __global__ void tanh_shifts(const float* x, const float* d, float* y, place size) {
    EACH(i, size) { y[i] = (float)(wide_tanh(d[i]) * (1.0 - wide_tanh(x[i]) * wide_tanh(x[i] + d[i]))); }
}
