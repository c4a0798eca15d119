// Trains, and sequential pulses of devices: every operation as in updates.py, in the same order.
#include "random/streams.cuh"

enum { LINEAR, EXPONENTIAL, POWER, PIECEWISE, MEASURED };
enum { MULTIPLICATIVE, ADDITIVE, COMPOSITE };

#define ALL_SLOTS 0x7FFFFFFFu

// Counts are distributed over several sums, by the index of the item, to avoid contention for one address.
__device__ inline void count_up(unsigned long long* sums, place parts, place item, unsigned long long amount) {
    if (amount > 0) atomicAdd(sums + item % parts, amount);
}

extern "C" __global__ void trains(
    const real* values, const double* gain, const place* length, word* words, unsigned long long* over, place parts,
    place n, place lines, word k0, word k1, unsigned long long first, const unsigned long long* moved) {
    first = step_of(first, moved);
    EACH(i, n * lines) {
        place product = i / lines;
        int slots = (int)length[product];
        word all = (1u << slots) - 1, train = 0;
        double probability = gain[product] * fabs((double)values[i]);
        if (probability >= 1) {
            train = all;
        } else if (probability > 0) {
            word threshold = (word)(probability * 4294967296.0);
            unsigned long long when = first + product;
            for (int block = 0; 4 * block < slots; ++block) {
                Words drawn = philox((word)(i - product * lines), (word)block, (word)when, (word)(when >> 32), k0, k1);
                for (int lane = 0; lane < 4; ++lane) train |= (word)(drawn.w[lane] < threshold) << (4 * block + lane);
            }
            train &= all;
        }
        words[i] = values[i] < 0 ? train | ~ALL_SLOTS : train;
        count_up(over, parts, i, probability > 1);
    }
}

// Response of all devices of one kind to a pulse; `sections` are those of each of the two piecewise linear functions.
struct Answer { int law, kind, sections; const real* constants; real spread, added, sloped; };

struct Device { real up, down, shape_up, shape_down, low, high; };

__device__ inline float exponential(float x) { return expf(x); }
__device__ inline double exponential(double x) { return exp(x); }
__device__ inline float power(float x, float y) { return powf(x, y); }
__device__ inline double power(double x, double y) { return pow(x, y); }
__device__ inline float tail(float x) { return erfcf(x); }
__device__ inline double tail(double x) { return erfc(x); }
__device__ inline real magnitude(real x) { return (real)fabs(x); }
__device__ inline real not_negative(real x) { return 0 > x ? (real)0 : x; }

// Mean step at state `w` relative to the device's step.
__device__ inline real factor_of(const Answer& answer, const Device& own, real w, bool upward) {
    const real* constants = answer.constants;
    real width = own.high - own.low;
    if (answer.law == LINEAR) return 1 + (upward ? own.shape_up : own.shape_down) * w;
    if (answer.law == POWER) {
        real room = not_negative((upward ? own.high - w : w - own.low) / width);
        return power(room, upward ? own.shape_up : own.shape_down);
    }
    if (answer.law == EXPONENTIAL) {
        real z = 2 * constants[0] * w / width + constants[1];
        real amplitude = upward ? constants[2] : constants[4], rate = upward ? constants[3] : -constants[5];
        return not_negative(1 - amplitude * exponential(rate * z));
    }
    real position = (w - own.low) / width * (real)answer.sections;
    int left = (int)position;
    left = left < 0 ? 0 : left > answer.sections - 1 ? answer.sections - 1 : left;
    const real* node = constants + (upward ? left : left + answer.sections + 1);
    return node[0] + (position - (real)left) * (node[1] - node[0]);
}

// A step from a measured table, at the chance of the standard normal number xi: as in measured_steps.py.
__device__ inline real drawn_factor(const Answer& answer, const Device& own, real w, bool upward, real xi) {
    const real* constants = answer.constants;
    int places = (int)constants[0], chances = (int)constants[1], first = 2, last = 1 + chances;
    real chance = (real)0.5 * tail(-xi * (real)0.7071067811865476);
    while (last - first > 1) {
        int middle = (first + last) / 2;
        if (constants[middle] <= chance) first = middle;
        else last = middle;
    }
    real gap = constants[last] - constants[first];
    real part = gap > 0 ? (chance - constants[first]) / gap : (real)0;
    part = part < 0 ? (real)0 : part > 1 ? (real)1 : part;
    real place = (w - own.low) / (own.high - own.low) * (real)(places - 1);
    int left = (int)place;
    left = left < 0 ? 0 : left > places - 2 ? places - 2 : left;
    real share = place - (real)left;
    share = share < 0 ? (real)0 : share > 1 ? (real)1 : share;
    const real* row = constants + 2 + chances + chances * (upward ? left : left + places) + first - 2;
    real here = row[0] + part * (row[1] - row[0]), there = row[chances] + part * (row[chances + 1] - row[chances]);
    return here + share * (there - here);
}

__device__ inline real moved(const Answer& answer, const Device& own, real w, bool upward, real noise) {
    real step = upward ? own.up : -own.down;
    if (answer.law == MEASURED) {
        w = w + step * drawn_factor(answer, own, w, upward, noise);
        w = own.low > w ? own.low : w;
        return own.high < w ? own.high : w;
    }
    real factor = factor_of(answer, own, w, upward);
    if (answer.kind == ADDITIVE) {
        w = w + step * (factor + noise);
    } else if (answer.kind == MULTIPLICATIVE) {
        w = w + step * factor * (1 + noise);
    } else {
        real change = step * factor;
        w = w + (change + noise * (magnitude(change) + answer.added + answer.sloped * magnitude(w)));
    }
    w = own.low > w ? own.low : w;
    return own.high < w ? own.high : w;
}

// State after `hits` pulses in one direction; pulse k takes word k mod 4 of block k div 4.
__device__ inline real moved_by(
    const Answer& answer, const Device& own, real w, bool upward, int hits, word index, unsigned long long when, word k0, word k1) {
    Words drawn = {{0, 0, 0, 0}};
    for (int k = 0; k < hits; ++k) {
        real noise = answer.spread;
        if (noise != 0) {
            if (k % 4 == 0) drawn = philox(index, (word)(k / 4), (word)when, (word)(when >> 32), k0, k1);
            noise = noise * normal(drawn.w[0]);
            // Shift the words: a dynamic index would place them in memory.
            drawn.w[0] = drawn.w[1], drawn.w[1] = drawn.w[2], drawn.w[2] = drawn.w[3];
        }
        w = moved(answer, own, w, upward, noise);
    }
    return w;
}

// Products are taken in groups of 128, four words of one bit each: most lines fire in few products, and then four words decide on all of them.
enum { GROUP_WORDS = 4 };

// Bit b of word (group, line, part) is set if the line fires in product 128 group + 32 part + b.
extern "C" __global__ void firing(const word* words, word* fires, place n, place lines, place groups) {
    EACH(i, groups * GROUP_WORDS * lines) {
        place line = i % lines, part = i / lines, first = 32 * part;
        word mask = 0;
        for (int b = 0; b < 32 && first + b < n; ++b)
            mask |= (word)((words[(first + b) * lines + line] & ALL_SLOTS) != 0) << b;
        fires[(part / GROUP_WORDS * lines + line) * GROUP_WORDS + part % GROUP_WORDS] = mask;
    }
}

// A thread processes one device through the products in their order.
extern "C" __global__ void apply_pulses(
    real* state, const word* rows, const word* columns, const word* row_fires, const word* column_fires, int* received,
    place groups, place height, place width, int one_sided,
    const real* up, const real* down, const real* shape_up, const real* shape_down, const real* low, const real* high,
    const real* constants, int sections, real spread, real added, real sloped, int law, int kind,
    word k0, word k1, unsigned long long first, const unsigned long long* moved, unsigned long long* pulses, place parts) {
    first = step_of(first, moved);
    Answer answer = {law, kind, sections, constants, spread, added, sloped};
    EACH(i, height * width) {
        place j = i / width, k = i - j * width;
        Device own = {up[i], down[i], shape_up[i], shape_down[i], low[i], high[i]};
        unsigned long long fired = 0;
        real w = state[i];
        for (place group = 0; group < groups; ++group) {
            word both[GROUP_WORDS], some = 0;
            for (int part = 0; part < GROUP_WORDS; ++part) {
                both[part] = row_fires[(group * height + j) * GROUP_WORDS + part] & column_fires[(group * width + k) * GROUP_WORDS + part];
                some |= both[part];
            }
            if (some == 0) continue;
            for (int part = 0; part < GROUP_WORDS; ++part) {
                word left = both[0];
                // Shift the words: a dynamic index would place them in memory.
                both[0] = both[1], both[1] = both[2], both[2] = both[3];
                for (; left != 0; left &= left - 1) {
                    place product = 32 * (GROUP_WORDS * group + part) + __ffs(left) - 1;
                    word one = rows[product * height + j], other = columns[product * width + k];
                    int hits = __popc(one & other & ALL_SLOTS);
                    bool upward = (one ^ other) >> 31 == 0;
                    if (hits == 0 || (one_sided && !upward)) continue;
                    fired += hits;
                    if (own.low >= own.high) continue;
                    w = moved_by(answer, own, w, upward, hits, (word)i, first + product, k0, k1);
                }
            }
        }
        if (fired == 0) continue;
        state[i] = w;
        received[i] += (int)fired;
        count_up(pulses, parts, i, fired);
    }
}

extern "C" __global__ void apply_counts(
    real* state, const int* counts, place size,
    const real* up, const real* down, const real* shape_up, const real* shape_down, const real* low, const real* high,
    const real* constants, int sections, real spread, real added, real sloped, int law, int kind,
    word k0, word k1, unsigned long long first, const unsigned long long* moved, unsigned long long* pulses, place parts) {
    unsigned long long when = step_of(first, moved);
    Answer answer = {law, kind, sections, constants, spread, added, sloped};
    EACH(i, size) {
        int hits = counts[i] < 0 ? -counts[i] : counts[i];
        if (hits == 0) continue;
        Device own = {up[i], down[i], shape_up[i], shape_down[i], low[i], high[i]};
        if (own.low < own.high) state[i] = moved_by(answer, own, state[i], counts[i] > 0, hits, (word)i, when, k0, k1);
        count_up(pulses, parts, i, hits);
    }
}
