// Scaling of I420 pictures. See scale.c.
#ifndef MIXDOWN_YUV_SCALE_H
#define MIXDOWN_YUV_SCALE_H

#include <stdint.h>

// How to scale: by whatever is best, or by libyuv alone (for comparison).
enum { MIXDOWN_BEST = 0, MIXDOWN_LIBYUV = 1 };

// mixdown_scale scales all of src to all of dst. Chroma planes have
// (width+1)/2 x (height+1)/2 samples. It returns 0, or 1 when libyuv failed.
int mixdown_scale(const uint8_t *sy, const uint8_t *su, const uint8_t *sv, int sstride, int sstride_uv, int sw, int sh,
                  uint8_t *dy, uint8_t *du, uint8_t *dv, int dstride, int dstride_uv, int dw, int dh, int how);

#endif
