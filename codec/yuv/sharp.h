// Sharp scaling of I420 pictures. See sharp.c.
#ifndef MIXDOWN_YUV_SHARP_H
#define MIXDOWN_YUV_SHARP_H

#include <stdint.h>

// mixdown_scale_sharp scales all of one plane to all of another. plain leaves
// vector instructions out (for comparison: the result is the same, bit for
// bit). It returns 0, or 1 when there is no memory.
int mixdown_scale_sharp(const uint8_t *src, int sstride, int sw, int sh, uint8_t *dst, int dstride, int dw, int dh, int plain);

#endif
