// Rows of numbers, and the windows of images whose pixels are such rows.
#pragma once
#include "common.cuh"

// A row is shared by 1 << shift adjacent threads: consecutive threads process consecutive numbers, and the row index needs no division.
#define EACH_OF(c, item, length, shift) \
    for (int c = (int)((item) & ((1 << (shift)) - 1)); c < (length); c += 1 << (shift))

struct Pixel { place image; int y, x; };

__device__ inline Pixel pixel_of(place number, int rows, int columns) {
    int all = rows * columns;
    place image = number / all;
    int rest = (int)(number - image * all);
    Pixel found = {image, rest / columns, rest % columns};
    return found;
}

// First and last of the windows along an axis that cover a pixel, which is counted from the start of the padding.
struct Range { int first, last; };

__device__ inline Range windows_over(int pixel, int size, int stride, int windows) {
    int last = pixel / stride;
    Range found = {pixel < size ? 0 : (pixel - size) / stride + 1, last < windows ? last : windows - 1};
    return found;
}
