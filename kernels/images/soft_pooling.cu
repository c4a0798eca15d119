// Soft pooling of pooling.py, of real and of complex images.
#include "rows.cuh"

struct Complex { real re, im; };

__device__ inline Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
__device__ inline Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
__device__ inline Complex operator-(Complex a, real b) { return {a.re - b, a.im}; }
__device__ inline Complex operator*(Complex a, Complex b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
__device__ inline Complex operator*(Complex a, real b) { return {a.re * b, a.im * b}; }

// By Smith's method (1962), which squares nothing and so neither overflows nor underflows.
__device__ inline Complex operator/(Complex a, Complex b) {
    if (fabs(b.re) >= fabs(b.im)) {
        real ratio = b.im / b.re, below = b.re + b.im * ratio;
        return {(a.re + a.im * ratio) / below, (a.im - a.re * ratio) / below};
    }
    real ratio = b.re / b.im, below = b.re * ratio + b.im;
    return {(a.re * ratio + a.im) / below, (a.im * ratio - a.re) / below};
}

__device__ inline real real_part(real a) { return a; }
__device__ inline real real_part(Complex a) { return a.re; }
__device__ inline real grown(real a) { return exp(a); }
__device__ inline Complex grown(Complex a) { return Complex{(real)cos(a.im), (real)sin(a.im)} * (real)exp(a.re); }

template <class T>
__device__ inline void pool(
    const T* x, T* y, T* weights, real rate, int rows, int columns, int height, int width, int size, int stride, place count, int length,
    int shift) {
    EACH(item, count << shift) {
        place pixel = item >> shift;
        Pixel at = pixel_of(pixel, rows, columns);
        const T* first = x + ((at.image * height + at.y * stride) * width + at.x * stride) * length;
        T* shares = weights + pixel * size * size * length;
        EACH_OF(c, item, length, shift) {
            real top = real_part(first[c]);
            for (int k = 1; k < size * size; ++k) {
                real value = real_part(first[(k / size * width + k % size) * length + c]);
                top = value > top ? value : top;
            }
            T total = T(), mean = T();
            for (int k = 0; k < size * size; ++k) {
                // Exponents are relative to the largest real part: no overflow, and the ratio is unaffected.
                T share = grown((first[(k / size * width + k % size) * length + c] - top) * rate);
                shares[k * length + c] = share;
                total = total + share;
            }
            for (int k = 0; k < size * size; ++k) {
                T share = shares[k * length + c] / total;
                shares[k * length + c] = share;
                mean = mean + share * first[(k / size * width + k % size) * length + c];
            }
            y[pixel * length + c] = mean;
        }
    }
}

template <class T>
__device__ inline void unpool(
    const T* g, const T* x, const T* y, const T* weights, T* out, real rate, int rows, int columns, int height, int width, int size,
    int stride, place count, int length, int shift) {
    EACH(item, count << shift) {
        place pixel = item >> shift;
        Pixel at = pixel_of(pixel, height, width);
        Range down = windows_over(at.y, size, stride, rows), across = windows_over(at.x, size, stride, columns);
        EACH_OF(c, item, length, shift) {
            T value = x[pixel * length + c], total = T();
            for (int oy = down.first; oy <= down.last; ++oy)
                for (int ox = across.first; ox <= across.last; ++ox) {
                    place window = (at.image * rows + oy) * columns + ox;
                    int k = (at.y - oy * stride) * size + at.x - ox * stride;
                    T part = g[window * length + c] * weights[(window * size * size + k) * length + c];
                    total = total + (part + part * ((value - y[window * length + c]) * rate));
                }
            out[pixel * length + c] = total;
        }
    }
}

extern "C" __global__ void soft_pool(
    const real* x, real* y, real* weights, real rate, int rows, int columns, int height, int width, int size, int stride, place count,
    int length, int shift) {
    pool(x, y, weights, rate, rows, columns, height, width, size, stride, count, length, shift);
}

extern "C" __global__ void soft_unpool(
    const real* g, const real* x, const real* y, const real* weights, real* out, real rate, int rows, int columns, int height, int width,
    int size, int stride, place count, int length, int shift) {
    unpool(g, x, y, weights, out, rate, rows, columns, height, width, size, stride, count, length, shift);
}

// The kernels for complex numbers, each a pair of real ones; length counts complex numbers.
extern "C" __global__ void complex_soft_pool(
    const real* x, real* y, real* weights, real rate, int rows, int columns, int height, int width, int size, int stride, place count,
    int length, int shift) {
    pool((const Complex*)x, (Complex*)y, (Complex*)weights, rate, rows, columns, height, width, size, stride, count, length, shift);
}

extern "C" __global__ void complex_soft_unpool(
    const real* g, const real* x, const real* y, const real* weights, real* out, real rate, int rows, int columns, int height, int width,
    int size, int stride, place count, int length, int shift) {
    unpool(
        (const Complex*)g, (const Complex*)x, (const Complex*)y, (const Complex*)weights, (Complex*)out, rate, rows, columns, height, width,
        size, stride, count, length, shift);
}
