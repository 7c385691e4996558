// Calls that Go cannot make itself: libopus' controls are variadic.
#ifndef MIXDOWN_OPUS_ENCODER_H
#define MIXDOWN_OPUS_ENCODER_H

#include <opus.h>

// Each returns OPUS_OK or a negative error.
int mixdown_opus_init(OpusEncoder *e, int complexity, int dtx);
int mixdown_opus_set_rate(OpusEncoder *e, int bitrate_bps, int fec);
int mixdown_opus_set_loss(OpusEncoder *e, int percent);

#endif
