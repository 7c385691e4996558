#define _POSIX_C_SOURCE 200809L
#include "floor.h"

#include <opus.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vpx/vp8cx.h>
#include <vpx/vp8dx.h>
#include <vpx/vpx_decoder.h>
#include <vpx/vpx_encoder.h>

static int64_t cpu_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int configure(vpx_codec_ctx_t *ctx, int width, int height, int kbps, int layers, int speed) {
  vpx_codec_enc_cfg_t c;
  if (vpx_codec_enc_config_default(vpx_codec_vp8_cx(), &c, 0)) return -1;
  c.g_w = (unsigned)width, c.g_h = (unsigned)height;
  c.g_timebase.num = 1, c.g_timebase.den = 90000;
  c.g_threads = 1, c.g_lag_in_frames = 0, c.g_error_resilient = VPX_ERROR_RESILIENT_DEFAULT;
  c.kf_mode = VPX_KF_DISABLED, c.rc_end_usage = VPX_CBR, c.rc_target_bitrate = (unsigned)kbps;
  c.rc_min_quantizer = 8, c.rc_max_quantizer = 56, c.rc_undershoot_pct = 100, c.rc_overshoot_pct = 15;
  c.rc_buf_initial_sz = 500, c.rc_buf_optimal_sz = 600, c.rc_buf_sz = 1000, c.rc_dropframe_thresh = 30;
  if (layers == 2) {
    c.ts_number_layers = 2, c.ts_periodicity = 2, c.ts_layer_id[1] = 1;
    c.ts_rate_decimator[0] = 2, c.ts_rate_decimator[1] = 1;
    c.ts_target_bitrate[0] = (unsigned)kbps * 7 / 10, c.ts_target_bitrate[1] = (unsigned)kbps;
  }
  if (vpx_codec_enc_init(ctx, vpx_codec_vp8_cx(), &c, 0)) return -1;
  if (vpx_codec_control(ctx, VP8E_SET_CPUUSED, -speed) || vpx_codec_control(ctx, VP8E_SET_STATIC_THRESHOLD, 300u) ||
      vpx_codec_control(ctx, VP8E_SET_MAX_INTRA_BITRATE_PCT, 450u)) {
    vpx_codec_destroy(ctx);
    return -1;
  }
  return 0;
}

int64_t floor_vp8_encode(const uint8_t *i420, int frames, int width, int height, int fps, int kbps, int layers, int speed) {
  const int top = VP8_EFLAG_NO_REF_GF | VP8_EFLAG_NO_REF_ARF | VP8_EFLAG_NO_UPD_LAST | VP8_EFLAG_NO_UPD_GF |
                  VP8_EFLAG_NO_UPD_ARF | VP8_EFLAG_NO_UPD_ENTROPY;
  vpx_codec_ctx_t ctx;
  vpx_image_t img;
  int64_t spent = 0;
  if (configure(&ctx, width, height, kbps, layers, speed)) return -1;
  for (int n = 0; n < frames; n++) {
    uint8_t *picture = (uint8_t *)i420 + (size_t)n * (size_t)width * (size_t)height * 3 / 2;
    vpx_img_wrap(&img, VPX_IMG_FMT_I420, (unsigned)width, (unsigned)height, 1, picture);
    int64_t begin = cpu_now();
    int layer = layers == 2 ? n & 1 : 0;
    if (layers == 2) vpx_codec_control(&ctx, VP8E_SET_TEMPORAL_LAYER_ID, layer);
    int err = vpx_codec_encode(&ctx, &img, (vpx_codec_pts_t)n * 90000 / fps, (unsigned long)(90000 / fps), layer ? top : 0,
                               VPX_DL_REALTIME);
    vpx_codec_iter_t iter = NULL;
    while (!err && vpx_codec_get_cx_data(&ctx, &iter)) {
    }
    spent += cpu_now() - begin;
    if (err) {
      spent = -1;
      break;
    }
  }
  vpx_codec_destroy(&ctx);
  return spent;
}

int64_t floor_vp8_decode(const uint8_t *data, const int32_t *sizes, int frames) {
  vpx_codec_ctx_t ctx;
  vpx_codec_dec_cfg_t cfg = {.threads = 1};
  if (vpx_codec_dec_init(&ctx, vpx_codec_vp8_dx(), &cfg, 0)) return -1;
  int64_t begin = cpu_now(), failed = 0;
  for (int n = 0; n < frames && !failed; data += sizes[n++]) {
    vpx_codec_iter_t iter = NULL;
    failed = vpx_codec_decode(&ctx, data, (unsigned)sizes[n], NULL, 0) || !vpx_codec_get_frame(&ctx, &iter);
  }
  int64_t spent = cpu_now() - begin;
  vpx_codec_destroy(&ctx);
  return failed ? -1 : spent;
}

int64_t floor_opus_encode(const int16_t *pcm, int frames, int bps, int complexity) {
  int err = 0;
  OpusEncoder *e = opus_encoder_create(48000, 1, OPUS_APPLICATION_VOIP, &err);
  if (!e) return -1;
  opus_encoder_ctl(e, OPUS_SET_BITRATE(bps));
  opus_encoder_ctl(e, OPUS_SET_COMPLEXITY(complexity));
  opus_encoder_ctl(e, OPUS_SET_SIGNAL(OPUS_SIGNAL_VOICE));
  opus_encoder_ctl(e, OPUS_SET_BANDWIDTH(OPUS_BANDWIDTH_FULLBAND));
  unsigned char packet[1275];
  int64_t begin = cpu_now(), failed = 0;
  for (int n = 0; n < frames && !failed; n++, pcm += 960) failed = opus_encode(e, pcm, 960, packet, sizeof packet) < 0;
  int64_t spent = cpu_now() - begin;
  opus_encoder_destroy(e);
  return failed ? -1 : spent;
}

int64_t floor_opus_decode(const uint8_t *data, const int32_t *sizes, int packets) {
  int err = 0;
  OpusDecoder *d = opus_decoder_create(48000, 1, &err);
  if (!d) return -1;
  int16_t pcm[5760];
  int64_t begin = cpu_now(), failed = 0;
  for (int n = 0; n < packets && !failed; data += sizes[n++]) failed = opus_decode(d, data, sizes[n], pcm, 5760, 0) < 0;
  int64_t spent = cpu_now() - begin;
  opus_decoder_destroy(d);
  return failed ? -1 : spent;
}
