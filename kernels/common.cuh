// Shared by all CUDA twins. `real` is the floating-point type of the caller, selected by -DREAL=float or -DREAL=double.
// The sources are compiled without fused multiply-adds, so that every operation is rounded as on the CPU.
#pragma once

typedef REAL real;
typedef unsigned int word;
typedef long long place;

// One thread processes the items i, i + threads, i + 2 threads, ...: results do not depend on the number of threads.
#define EACH(i, size) \
    for (place i = blockIdx.x * (place)blockDim.x + threadIdx.x; i < (size); i += (place)gridDim.x * blockDim.x)
