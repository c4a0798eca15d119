#include "common.cuh"

// One thread per line counts the slots that are set in all its trains; the top bit of a word is a sign.
extern "C" __global__ void line_pulses(const word* words, place* out, place n, place lines) {
    EACH(j, lines) {
        place total = 0;
        for (place b = 0; b < n; ++b) total += __popc(words[b * lines + j] & 0x7FFFFFFFu);
        out[j] = total;
    }
}
