#include "common.cuh"

enum { RECTIFY, CLIP, GELU, LOGISTIC, NORMAL, TANH };

__device__ inline float limited(float x, float end) { return fminf(fmaxf(x, -end), end); }

__device__ inline float normal_cdf(float x) {
    float c = limited(x, 5.6f), t = c * c;
    float above = 2.21455743e-8f * t + 6.35648894e-6f;
    above = (((above * t + 1.73846100e-4f) * t + 0.00470723026f) * t + 0.0343756638f) * t + 0.398942232f;
    float below = 1.18021660e-6f * t + 7.51003899e-5f;
    below = (((below * t + 0.00191295170f) * t + 0.0289398301f) * t + 0.252832711f) * t + 1.0f;
    float value = c * above / below + 0.5f;
    // A NaN is on neither side, and is kept.
    return x < -5.6f ? 0.0f : x > 5.6f ? 1.0f : x != x ? x : value;
}

__device__ inline float tanh_value(float x) {
    // Comparisons with NaN are false, which keeps it.
    float c = x > 9.0f ? 9.0f : x;
    c = c < -9.0f ? -9.0f : c;
    float t = c * c;
    float above = (((1.33546925e-8f * t + 2.06091063e-5f) * t + 0.0034955896f) * t + 0.133810267f) * t + 1.0f;
    float below = (((7.77657135e-7f * t + 3.28563736e-4f) * t + 0.0258769877f) * t + 0.467143416f) * t + 1.0f;
    float value = c * above / below;
    value = value > 1.0f ? 1.0f : value;
    return value < -1.0f ? -1.0f : value;
}

__device__ inline float gelu_slope(float x) {
    float c = limited(x, 6.0f), t = c * c;
    float above = ((-2.88796868e-11f * t + 1.30027633e-8f) * t + 1.12191003e-6f) * t + 3.20272229e-5f;
    above = (((above * t + 2.85216694e-4f) * t + 0.0135690272f) * t + -0.0180383921f) * t + 0.797884524f;
    float below = ((3.63627720e-7f * t + 1.08121621e-5f) * t + 2.58604268e-4f) * t + 0.00415020064f;
    below = ((below * t + 0.0455826819f) * t + 0.310725093f) * t + 1.0f;
    float value = c * above / below + 0.5f;
    return x < -6.0f ? 0.0f : x > 6.0f ? 1.0f : x != x ? x : value;
}

extern "C" __global__ void values(const real* x, real* y, place size, int code, real low, real high) {
    EACH(i, size) {
        real value = x[i];
        if (code == RECTIFY) {
            // Minus infinity times a slope of zero gives zero here.
            y[i] = value <= 0 ? (low == 0 ? (real)0 : value * low) : value;
        } else if (code == CLIP) {
            value = value < low ? low : value;
            y[i] = value > high ? high : value;
        } else if (code == LOGISTIC) {
            // exp of a nonpositive argument cannot overflow.
            real small = exp(value < 0 ? value : -value);
            y[i] = (value < 0 ? small : (real)1) / ((real)1 + small);
        } else if (code == NORMAL) {
            y[i] = (real)0.5 * erfc((real)-0.70710678118654752440 * value);
        } else if (code == TANH) {
            y[i] = tanh_value((float)value);
        } else {
            y[i] = value * normal_cdf((float)value);
        }
    }
}

extern "C" __global__ void products(const real* x, const real* g, real* y, place size, int code, real low, real high) {
    EACH(i, size) {
        real value = x[i];
        if (code == RECTIFY) {
            y[i] = g[i] * (value > 0 ? (real)1 : low);
        } else if (code == CLIP) {
            y[i] = g[i] * (value >= low && value <= high ? (real)1 : (real)0);
        } else if (code == TANH) {
            y[i] = g[i] * ((real)1 - value * value);
        } else {
            y[i] = g[i] * gelu_slope((float)value);
        }
    }
}

__device__ inline real bent(real x, real slope) { return x <= 0 ? (slope == 0 ? (real)0 : x * slope) : x; }

// Change of the function from x to x + d, without the difference of two large numbers for small d.
extern "C" __global__ void shifts(const real* x, const real* d, real* y, place size, int code, real low, real high) {
    EACH(i, size) {
        real here = x[i], there = x[i] + d[i];
        if (code == RECTIFY) {
            if ((here > 0) != (there > 0)) y[i] = bent(there, low) - bent(here, low);
            else y[i] = here > 0 ? d[i] : low == 0 ? (real)0 : d[i] * low;
        } else if (code == CLIP) {
            real kept = here < low ? low : here;
            kept = kept > high ? high : kept;
            real value = d[i] + (here - kept);
            value = value < low - kept ? low - kept : value;
            y[i] = value > high - kept ? high - kept : value;
        } else if (fabs(d[i]) < (real)0.01f) {
            y[i] = d[i] * gelu_slope((float)(here + (real)0.5 * d[i]));
        } else {
            y[i] = there * normal_cdf((float)there) - here * normal_cdf((float)here);
        }
    }
}
