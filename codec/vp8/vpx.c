#include "vpx.h"

#include <stdlib.h>

mixdown_vp8_decoder *mixdown_vp8_decoder_new(int *err) {
  mixdown_vp8_decoder *d = calloc(1, sizeof *d);
  if (!d) {
    *err = VPX_CODEC_MEM_ERROR;
    return NULL;
  }
  vpx_codec_dec_cfg_t cfg = {.threads = 1};
  *err = vpx_codec_dec_init(&d->ctx, vpx_codec_vp8_dx(), &cfg, 0);
  if (*err) {
    free(d);
    return NULL;
  }
  return d;
}

int mixdown_vp8_decode(mixdown_vp8_decoder *d, const uint8_t *data, unsigned size) {
  // A key frame of another size frees the old picture, and any frame may
  // overwrite it.
  d->y = NULL;
  int err = vpx_codec_decode(&d->ctx, data, size, NULL, 0);
  if (err) return err;
  // Without this, a frame whose tail is missing passes for good: libvpx reads
  // zeros beyond the end and only makes a note of it.
  int damaged = 0;
  if (!vpx_codec_control(&d->ctx, VP8D_GET_FRAME_CORRUPTED, &damaged) && damaged) return VPX_CODEC_CORRUPT_FRAME;
  vpx_codec_iter_t iter = NULL;
  const vpx_image_t *img = vpx_codec_get_frame(&d->ctx, &iter);
  if (!img) return 0;
  d->y = img->planes[VPX_PLANE_Y];
  d->u = img->planes[VPX_PLANE_U];
  d->v = img->planes[VPX_PLANE_V];
  d->stride_y = img->stride[VPX_PLANE_Y];
  d->stride_uv = img->stride[VPX_PLANE_U];
  d->width = (int)img->d_w;
  d->height = (int)img->d_h;
  return 0;
}

void mixdown_vp8_decoder_free(mixdown_vp8_decoder *d) {
  if (!d) return;
  vpx_codec_destroy(&d->ctx);
  free(d);
}

// set_rates gives the base layer 70% of the rate: its frames refer to a picture
// twice as old, and both layers build on what they show. On a grid of nine
// cameras at 1.5 Mb/s that was 0.5 dB better than 60%; 80% gave another 0.3,
// but dropping layer 1 would then hardly relieve anybody.
//
// Without layer 1 at all, libvpx sees half the frames, believes that half of
// those are of layer 0, and so would give each twice its share.
static void set_rates(vpx_codec_enc_cfg_t *cfg, int bitrate_kbps, int base_only) {
  cfg->rc_target_bitrate = (unsigned)bitrate_kbps;
  if (cfg->ts_number_layers == 2) {
    cfg->ts_target_bitrate[0] = (unsigned)(bitrate_kbps * (base_only ? 5 : 7) / 10);
    cfg->ts_target_bitrate[1] = (unsigned)bitrate_kbps;  // layers add up
  }
}

static int configure(vpx_codec_enc_cfg_t *cfg, const mixdown_vp8_settings *s) {
  int err = vpx_codec_enc_config_default(vpx_codec_vp8_cx(), cfg, 0);
  if (err) return err;
  cfg->g_w = (unsigned)s->width;
  cfg->g_h = (unsigned)s->height;
  cfg->g_timebase.num = 1;
  cfg->g_timebase.den = 90000;
  cfg->g_threads = 1;
  cfg->g_lag_in_frames = 0;
  cfg->g_error_resilient = VPX_ERROR_RESILIENT_DEFAULT;
  cfg->kf_mode = VPX_KF_DISABLED;  // only when asked for
  cfg->rc_end_usage = VPX_CBR;
  // A picture that rests becomes ever finer, and the first that moves again is as
  // fine: from 2 that cost 850 ms of the bitrate at once, from 8 it is 350. Moving
  // pictures never come near, and look the same.
  cfg->rc_min_quantizer = 8;
  cfg->rc_max_quantizer = 56;
  cfg->rc_undershoot_pct = 100;
  cfg->rc_overshoot_pct = 15;
  cfg->rc_buf_initial_sz = 500;  // milliseconds, like the next two
  cfg->rc_buf_optimal_sz = 600;
  cfg->rc_buf_sz = 1000;
  cfg->rc_dropframe_thresh = 30;  // per cent of the buffer: at 180 ms a frame is dropped
  cfg->rc_resize_allowed = 0;
  if (s->layers == 2) {
    cfg->ts_number_layers = 2;
    cfg->ts_periodicity = 2;
    cfg->ts_rate_decimator[0] = 2;
    cfg->ts_rate_decimator[1] = 1;
    cfg->ts_layer_id[0] = 0;
    cfg->ts_layer_id[1] = 1;
  }
  set_rates(cfg, s->bitrate_kbps, 0);
  return 0;
}

static int control(vpx_codec_ctx_t *ctx, const mixdown_vp8_settings *s) {
  int err = vpx_codec_control(ctx, VP8E_SET_CPUUSED, -s->speed);
  if (!err) err = vpx_codec_control(ctx, VP8E_SET_STATIC_THRESHOLD, (unsigned)s->static_threshold);
  if (!err) err = vpx_codec_control(ctx, VP8E_SET_SCREEN_CONTENT_MODE, s->screen ? 1u : 0u);
  if (!err) err = vpx_codec_control(ctx, VP8E_SET_NOISE_SENSITIVITY, 0u);
  if (!err) err = vpx_codec_control(ctx, VP8E_SET_TOKEN_PARTITIONS, VP8_ONE_TOKENPARTITION);
  if (!err) err = vpx_codec_control(ctx, VP8E_SET_ENABLEAUTOALTREF, 0u);
  // A key frame may take 4.5 times a frame's share, 150 ms of the buffer.
  if (!err) err = vpx_codec_control(ctx, VP8E_SET_MAX_INTRA_BITRATE_PCT, 450u);
  return err;
}

mixdown_vp8_encoder *mixdown_vp8_encoder_new(mixdown_vp8_settings s, int *err) {
  mixdown_vp8_encoder *e = calloc(1, sizeof *e);
  if (!e) {
    *err = VPX_CODEC_MEM_ERROR;
    return NULL;
  }
  *err = configure(&e->cfg, &s);
  if (!*err) *err = vpx_codec_enc_init(&e->ctx, vpx_codec_vp8_cx(), &e->cfg, 0);
  if (*err) {
    free(e);
    return NULL;
  }
  *err = control(&e->ctx, &s);
  if (*err) {
    mixdown_vp8_encoder_free(e);
    return NULL;
  }
  e->img.fmt = VPX_IMG_FMT_I420;
  e->img.w = e->img.d_w = (unsigned)s.width;
  e->img.h = e->img.d_h = (unsigned)s.height;
  e->img.x_chroma_shift = e->img.y_chroma_shift = 1;
  e->img.bit_depth = 8;
  e->img.bps = 12;
  return e;
}

// Layer 0 leaves the alternate reference alone (nobody needs a third picture
// in real time); layer 1 refers to the last base picture only and updates
// nothing.
enum {
  base_flags = VP8_EFLAG_NO_REF_ARF | VP8_EFLAG_NO_UPD_ARF,
  top_flags = VP8_EFLAG_NO_REF_GF | VP8_EFLAG_NO_REF_ARF | VP8_EFLAG_NO_UPD_LAST | VP8_EFLAG_NO_UPD_GF |
              VP8_EFLAG_NO_UPD_ARF | VP8_EFLAG_NO_UPD_ENTROPY,
};

int mixdown_vp8_encode(mixdown_vp8_encoder *e, const uint8_t *y, const uint8_t *u, const uint8_t *v, int stride_y,
                       int stride_uv, int64_t pts, unsigned long duration, int key, int layer) {
  e->data = NULL;
  vpx_enc_frame_flags_t flags = 0;
  if (e->cfg.ts_number_layers == 2) {
    int err = vpx_codec_control(&e->ctx, VP8E_SET_TEMPORAL_LAYER_ID, layer);
    if (err) return err;
    flags = layer ? top_flags : base_flags;
  }
  if (key) flags = VPX_EFLAG_FORCE_KF;
  // libvpx reads the planes only; the pointers are not kept past this call.
  e->img.planes[VPX_PLANE_Y] = (uint8_t *)y;
  e->img.planes[VPX_PLANE_U] = (uint8_t *)u;
  e->img.planes[VPX_PLANE_V] = (uint8_t *)v;
  e->img.stride[VPX_PLANE_Y] = stride_y;
  e->img.stride[VPX_PLANE_U] = e->img.stride[VPX_PLANE_V] = stride_uv;
  int err = vpx_codec_encode(&e->ctx, &e->img, pts, duration, flags, VPX_DL_REALTIME);
  e->img.planes[VPX_PLANE_Y] = e->img.planes[VPX_PLANE_U] = e->img.planes[VPX_PLANE_V] = NULL;
  if (err) return err;
  vpx_codec_iter_t iter = NULL;
  for (const vpx_codec_cx_pkt_t *p; (p = vpx_codec_get_cx_data(&e->ctx, &iter));) {
    if (p->kind != VPX_CODEC_CX_FRAME_PKT) continue;
    e->data = p->data.frame.buf;
    e->size = p->data.frame.sz;
    e->key = (p->data.frame.flags & VPX_FRAME_IS_KEY) != 0;
    break;  // one frame in, at most one out: there is no lag
  }
  return e->data ? vpx_codec_control(&e->ctx, VP8E_GET_LAST_QUANTIZER_64, &e->quantizer) : 0;
}

int mixdown_vp8_set_bitrate(mixdown_vp8_encoder *e, int bitrate_kbps, int base_only) {
  set_rates(&e->cfg, bitrate_kbps, base_only);
  return vpx_codec_enc_config_set(&e->ctx, &e->cfg);
}

int mixdown_vp8_set_speed(mixdown_vp8_encoder *e, int speed) {
  return vpx_codec_control(&e->ctx, VP8E_SET_CPUUSED, -speed);
}

void mixdown_vp8_encoder_free(mixdown_vp8_encoder *e) {
  if (!e) return;
  vpx_codec_destroy(&e->ctx);
  free(e);
}
