// libvpx, one call per frame. See vpx.c.
#ifndef MIXDOWN_VP8_VPX_H
#define MIXDOWN_VP8_VPX_H

#include <stddef.h>
#include <stdint.h>
#include <vpx/vp8cx.h>
#include <vpx/vp8dx.h>
#include <vpx/vpx_decoder.h>
#include <vpx/vpx_encoder.h>

// A decoder and the picture it decoded last, which lies in libvpx's memory
// until the next decode; y is NULL when there is none.
typedef struct {
  vpx_codec_ctx_t ctx;
  const uint8_t *y, *u, *v;
  int stride_y, stride_uv, width, height;
} mixdown_vp8_decoder;

// An encoder and the frame it made last, which lies in libvpx's memory until
// the next encode; data is NULL when there is none.
typedef struct {
  vpx_codec_ctx_t ctx;
  vpx_codec_enc_cfg_t cfg;
  vpx_image_t img;
  const uint8_t *data;
  size_t size;
  int key;
  int quantizer;  // of that frame, 0..63
} mixdown_vp8_encoder;

typedef struct {
  int width, height, bitrate_kbps, layers, speed, screen, static_threshold;
} mixdown_vp8_settings;

// Each function that returns an int returns 0 or libvpx's error (vpx_codec_err_t).

mixdown_vp8_decoder *mixdown_vp8_decoder_new(int *err);
int mixdown_vp8_decode(mixdown_vp8_decoder *d, const uint8_t *data, unsigned size);
void mixdown_vp8_decoder_free(mixdown_vp8_decoder *d);

mixdown_vp8_encoder *mixdown_vp8_encoder_new(mixdown_vp8_settings s, int *err);
int mixdown_vp8_encode(mixdown_vp8_encoder *e, const uint8_t *y, const uint8_t *u, const uint8_t *v, int stride_y,
                       int stride_uv, int64_t pts, unsigned long duration, int key, int layer);
int mixdown_vp8_set_bitrate(mixdown_vp8_encoder *e, int bitrate_kbps, int base_only);
int mixdown_vp8_set_speed(mixdown_vp8_encoder *e, int speed);
void mixdown_vp8_encoder_free(mixdown_vp8_encoder *e);

#endif
