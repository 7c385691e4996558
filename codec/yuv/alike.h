#ifndef MIXDOWN_ALIKE_H
#define MIXDOWN_ALIKE_H

#include <stdint.h>

// mixdown_alike reports whether no sample of a plane of w x h differs by more
// than tolerance.
int mixdown_alike(const uint8_t *a, int stride_a, const uint8_t *b, int stride_b,
                  int w, int h, int tolerance);

#endif
