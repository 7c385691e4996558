// Loops over raw libvpx and libopus. See floor.go.
#ifndef MIXDOWN_FLOOR_H
#define MIXDOWN_FLOOR_H

#include <stddef.h>
#include <stdint.h>

// Each returns the thread's CPU time in nanoseconds, or -1.
int64_t floor_vp8_encode(const uint8_t *i420, int frames, int width, int height, int fps, int kbps, int layers, int speed);
int64_t floor_vp8_decode(const uint8_t *data, const int32_t *sizes, int frames);
int64_t floor_opus_encode(const int16_t *pcm, int frames, int bps, int complexity);
int64_t floor_opus_decode(const uint8_t *data, const int32_t *sizes, int packets);

#endif
