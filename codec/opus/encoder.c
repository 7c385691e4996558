#include "encoder.h"

// mixdown_opus_init makes e a mono encoder at 48 kHz that stays in hybrid mode;
// doc.go says why.
int mixdown_opus_init(OpusEncoder *e, int complexity, int dtx) {
  int err = opus_encoder_init(e, 48000, 1, OPUS_APPLICATION_VOIP);
  if (err == OPUS_OK) err = opus_encoder_ctl(e, OPUS_SET_SIGNAL(OPUS_SIGNAL_VOICE));
  if (err == OPUS_OK) err = opus_encoder_ctl(e, OPUS_SET_BANDWIDTH(OPUS_BANDWIDTH_FULLBAND));
  if (err == OPUS_OK) err = opus_encoder_ctl(e, OPUS_SET_COMPLEXITY(complexity));
  if (err == OPUS_OK) err = opus_encoder_ctl(e, OPUS_SET_DTX(dtx));
  return err;
}

int mixdown_opus_set_rate(OpusEncoder *e, int bitrate_bps, int fec) {
  int err = opus_encoder_ctl(e, OPUS_SET_BITRATE(bitrate_bps));
  if (err == OPUS_OK) err = opus_encoder_ctl(e, OPUS_SET_INBAND_FEC(fec));
  return err;
}

int mixdown_opus_set_loss(OpusEncoder *e, int percent) {
  return opus_encoder_ctl(e, OPUS_SET_PACKET_LOSS_PERC(percent));
}
