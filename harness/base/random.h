/* base/random.h - seeded random numbers that are the same on every machine: xoshiro256** (Blackman and Vigna,
 * "Scrambled linear pseudorandom number generators", 2021), its state filled by splitmix64 from one 64-bit seed. For
 * sampling and resampling, never for secrets. A zeb_random belongs to one thread. */
#ifndef ZEB_BASE_RANDOM_H
#define ZEB_BASE_RANDOM_H

#include <stdint.h>

typedef struct zeb_random {
    uint64_t state[4];
} zeb_random;

/* One step of splitmix64: also the way to derive independent seeds (set, order, schedule) from one. */
static inline uint64_t zeb_random_mix(uint64_t *seed) {
    uint64_t z = (*seed += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline void zeb_random_seed(zeb_random *random, uint64_t seed) {
    for (int i = 0; i < 4; i++)
        random->state[i] = zeb_random_mix(&seed);
}

/* 64 random bits. */
static inline uint64_t zeb_random_next(zeb_random *random) {
    uint64_t *s = random->state;
    uint64_t five = s[1] * 5, result = ((five << 7) | (five >> 57)) * 9, shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return result;
}

/* Uniform in 0..bound-1 without bias (Lemire 2019, "Fast random integer generation in an interval"); 0 for bound 0. */
static inline uint64_t zeb_random_below(zeb_random *random, uint64_t bound) {
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)zeb_random_next(random) * bound;
    if ((uint64_t)product < bound) {
        uint64_t threshold = bound == 0 ? 0 : (0 - bound) % bound;
        while ((uint64_t)product < threshold)
            product = (wide)zeb_random_next(random) * bound;
    }
    return (uint64_t)(product >> 64);
}

/* Uniform in [0, 1), a multiple of 2^-53. */
static inline double zeb_random_unit(zeb_random *random) {
    return (double)(zeb_random_next(random) >> 11) * 0x1p-53;
}

#endif
