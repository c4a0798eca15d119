#include "rows.cuh"

// Patches are copied unchanged, in the largest units that fit.
struct alignas(16) Quad { word part[4]; };

template <class Unit>
__device__ inline void cut(
    const Unit* x, Unit* out, int rows, int columns, int height, int width, int channels, int kernel, int stride, int padding, place count,
    int length, int shift) {
    int run = kernel * channels, line = width * channels;
    EACH(item, count << shift) {
        place patch = item >> shift;
        Pixel at = pixel_of(patch, rows, columns);
        int top = at.y * stride - padding, left = (at.x * stride - padding) * channels;
        EACH_OF(i, item, length, shift) {
            int ky = i / run, y = top + ky, j = left + i - ky * run;
            bool inside = y >= 0 && y < height && j >= 0 && j < line;
            out[patch * length + i] = inside ? x[(at.image * height + y) * line + j] : Unit();
        }
    }
}

extern "C" __global__ void patches(
    const real* x, real* out, int rows, int columns, int height, int width, int channels, int kernel, int stride, int padding, place count,
    int length, int shift) {
    cut(x, out, rows, columns, height, width, channels, kernel, stride, padding, count, length, shift);
}

// Copies with channels and length counted in units of 16 bytes, to which everything is aligned.
extern "C" __global__ void patches_by_quads(
    const real* x, real* out, int rows, int columns, int height, int width, int channels, int kernel, int stride, int padding, place count,
    int length, int shift) {
    cut((const Quad*)x, (Quad*)out, rows, columns, height, width, channels, kernel, stride, padding, count, length, shift);
}

// Every pixel gathers from the windows that cover it, in the order in which the CPU visits windows.
extern "C" __global__ void fold(
    const real* p, real* out, int rows, int columns, int height, int width, int channels, int kernel, int stride, int padding, place count,
    int length, int shift) {
    int size = kernel * kernel * channels;
    EACH(item, count << shift) {
        place pixel = item >> shift;
        Pixel at = pixel_of(pixel, height, width);
        int y = at.y + padding, x = at.x + padding;
        Range down = windows_over(y, kernel, stride, rows), across = windows_over(x, kernel, stride, columns);
        EACH_OF(c, item, length, shift) {
            real total = 0;
            for (int oy = down.first; oy <= down.last; ++oy) {
                int inside = ((y - oy * stride) * kernel + x - across.first * stride) * channels + c;
                const real* part = p + ((at.image * rows + oy) * columns + across.first) * size + inside;
                // In the next window to the right, the pixel is one stride further to the left.
                for (int ox = across.first; ox <= across.last; ++ox, part += size - stride * channels) total += *part;
            }
            out[pixel * length + c] = total;
        }
    }
}
