#include "rows.cuh"

// Places of maxima are bytes, or 32-bit words for windows with more than 256 places.
__device__ inline word place_at(const unsigned char* where, int wide, place i) { return wide ? ((const word*)where)[i] : where[i]; }

extern "C" __global__ void max_pool(
    const real* x, real* y, unsigned char* where, int wide, int rows, int columns, int height, int width, int size, int stride, place count,
    int length, int shift) {
    EACH(item, count << shift) {
        place pixel = item >> shift;
        Pixel at = pixel_of(pixel, rows, columns);
        const real* first = x + ((at.image * height + at.y * stride) * width + at.x * stride) * length;
        EACH_OF(c, item, length, shift) {
            real best = first[c];
            word found = 0;
            for (int ky = 0; ky < size; ++ky)
                for (int kx = 0; kx < size; ++kx) {
                    real value = first[(ky * width + kx) * length + c];
                    // Comparisons with NaN are false: a NaN among the values is taken over, and one already found is not replaced.
                    if (value <= best || best != best) continue;
                    best = value;
                    found = ky * size + kx;
                }
            y[pixel * length + c] = best;
            if (wide) ((word*)where)[pixel * length + c] = found;
            else where[pixel * length + c] = (unsigned char)found;
        }
    }
}

// Change of the maximum from x to x + d: the step of the new maximum less its former lag.
extern "C" __global__ void max_pool_shift(
    const real* x, const real* d, real* y, unsigned char* where, int wide, int rows, int columns, int height, int width, int size,
    int stride, place count, int length, int shift) {
    EACH(item, count << shift) {
        place pixel = item >> shift;
        Pixel at = pixel_of(pixel, rows, columns);
        place first = ((at.image * height + at.y * stride) * width + at.x * stride) * length;
        EACH_OF(c, item, length, shift) {
            real old = x[first + c], own = old, moved = d[first + c], top = old + moved;
            word found = 0;
            for (int ky = 0; ky < size; ++ky)
                for (int kx = 0; kx < size; ++kx) {
                    place i = first + (ky * width + kx) * length + c;
                    real before = x[i], after = before + d[i];
                    if (!(before <= old || old != old)) old = before;
                    if (after <= top || top != top) continue;
                    top = after;
                    own = before;
                    moved = d[i];
                    found = ky * size + kx;
                }
            y[pixel * length + c] = moved + (own - old);
            if (wide) ((word*)where)[pixel * length + c] = found;
            else where[pixel * length + c] = (unsigned char)found;
        }
    }
}

// The transposes: every pixel gathers from the windows that cover it, in the order in which the CPU visits windows.
extern "C" __global__ void max_unpool(
    const real* g, const unsigned char* where, real* out, int wide, int rows, int columns, int height, int width, int size, int stride,
    place count, int length, int shift) {
    EACH(item, count << shift) {
        place pixel = item >> shift;
        Pixel at = pixel_of(pixel, height, width);
        Range down = windows_over(at.y, size, stride, rows), across = windows_over(at.x, size, stride, columns);
        EACH_OF(c, item, length, shift) {
            real total = 0;
            for (int oy = down.first; oy <= down.last; ++oy)
                for (int ox = across.first; ox <= across.last; ++ox) {
                    place i = ((at.image * rows + oy) * columns + ox) * length + c;
                    word own = (at.y - oy * stride) * size + at.x - ox * stride;
                    if (place_at(where, wide, i) == own) total += g[i];
                }
            out[pixel * length + c] = total;
        }
    }
}

extern "C" __global__ void average_pool(
    const real* x, real* y, real part, int rows, int columns, int height, int width, int size, int stride, place count, int length,
    int shift) {
    EACH(item, count << shift) {
        place pixel = item >> shift;
        Pixel at = pixel_of(pixel, rows, columns);
        const real* first = x + ((at.image * height + at.y * stride) * width + at.x * stride) * length;
        EACH_OF(c, item, length, shift) {
            real total = 0;
            for (int ky = 0; ky < size; ++ky)
                for (int kx = 0; kx < size; ++kx) total += first[(ky * width + kx) * length + c];
            y[pixel * length + c] = total * part;
        }
    }
}

extern "C" __global__ void average_unpool(
    const real* g, real* out, real part, int rows, int columns, int height, int width, int size, int stride, place count, int length,
    int shift) {
    EACH(item, count << shift) {
        place pixel = item >> shift;
        Pixel at = pixel_of(pixel, height, width);
        Range down = windows_over(at.y, size, stride, rows), across = windows_over(at.x, size, stride, columns);
        EACH_OF(c, item, length, shift) {
            real total = 0;
            for (int oy = down.first; oy <= down.last; ++oy)
                for (int ox = across.first; ox <= across.last; ++ox)
                    total += g[((at.image * rows + oy) * columns + ox) * length + c] * part;
            out[pixel * length + c] = total;
        }
    }
}
