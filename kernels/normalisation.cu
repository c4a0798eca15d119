#include "rows.cuh"

// Column sums over the rows of one part, with one thread per part and column.
extern "C" __global__ void moments(const real* x, double* sums, double* squares, place rows, int columns, int part_rows, place parts) {
    EACH(i, parts * columns) {
        place part = i / columns, first = part * part_rows;
        int count = (int)(rows - first < part_rows ? rows - first : part_rows);
        const real* column = x + first * columns + (i - part * columns);
        double total = 0, spread = 0;
        for (int r = 0; r < count; ++r) total += (double)column[(place)r * columns];
        double mean = total / count;
        for (int r = 0; r < count; ++r) {
            double off = (double)column[(place)r * columns] - mean;
            spread += off * off;
        }
        sums[i] = total;
        squares[i] = spread;
    }
}

extern "C" __global__ void pair_sums(
    const real* g, const real* h, double* sums, double* products, place rows, int columns, int part_rows, place parts) {
    EACH(i, parts * columns) {
        place part = i / columns, first = part * part_rows, begin = first * columns + (i - part * columns);
        int count = (int)(rows - first < part_rows ? rows - first : part_rows);
        double total = 0, product = 0;
        for (int r = 0; r < count; ++r) {
            double value = (double)g[begin + (place)r * columns];
            total += value;
            product += value * (double)h[begin + (place)r * columns];
        }
        sums[i] = total;
        products[i] = product;
    }
}

extern "C" __global__ void normalise(
    const real* x, const real* mean, const real* factor, const real* scale, const real* bias, real* y, real* normal, place count, int length,
    int shift) {
    EACH(item, count << shift) {
        place row = (item >> shift) * length;
        EACH_OF(c, item, length, shift) {
            real value = (x[row + c] - mean[c]) * factor[c];
            normal[row + c] = value;
            y[row + c] = value * scale[c] + bias[c];
        }
    }
}

extern "C" __global__ void pull_back(
    const real* g, const real* normal, const real* factor, const real* mean, const real* slope, real* out, place count, int length,
    int shift) {
    EACH(item, count << shift) {
        place row = (item >> shift) * length;
        EACH_OF(c, item, length, shift) out[row + c] = factor[c] * (g[row + c] - mean[c] - slope[c] * normal[row + c]);
    }
}
