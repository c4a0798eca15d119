#include "common.cuh"

extern "C" __global__ void move_within(real* state, const real* change, const real* low, const real* high, bool* touched, place size) {
    EACH(i, size) {
        real value = state[i] + change[i];
        value = value < low[i] ? low[i] : value;
        state[i] = value > high[i] ? high[i] : value;
        touched[i] = change[i] != 0;
    }
}
