// What all CUDA twins share. `real` is the floating type of the caller, chosen by -DREAL=float or -DREAL=double.
// The sources are compiled without fused multiply-adds, so that every operation is rounded as it is on the CPU.
#pragma once

typedef REAL real;
typedef unsigned int word;
typedef long long place;

// One thread takes the items i, i + threads, i + 2 threads, ...: results do not depend on how many threads there are.
#define EACH(i, size) \
    for (place i = blockIdx.x * (place)blockDim.x + threadIdx.x; i < (size); i += (place)gridDim.x * blockDim.x)
