//go:build !nodlopen

#include "openh264.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// What follows describes the binary interface of OpenH264 2.1 to 2.6: objects
// begin with a pointer to a table of functions, as C++ compilers lay them out on
// everything but Windows. Between these versions structures only grew at their
// end, with one exception (see layer). So memory for the largest is handed in,
// and fields are touched only where all versions have them.

struct version {
  unsigned major, minor, revision, reserved;
};

// Numbers of options, formats and modes, by their meaning.
enum {
  encoder_rate = 4,
  encoder_bitrate = 5,
  encoder_complexity = 19,
  encoder_trace_level = 25,

  decoder_trace_level = 9,

  format_i420 = 23,
  camera = 0,
  rate_control_bitrate = 1,
  profile_baseline = 66,
  constant_ids = 0,
  all_layers = 4,
  stream_avc = 0,
  frame_idr = 1,
};

struct slicing {
  int mode;
  unsigned count, macroblocks[35], bytes;
};

struct spatial_layer {
  int width, height;
  float fps;
  int bitrate, max_bitrate, profile, level, quantizer;
  struct slicing slicing;
  bool has_signal_type;
  unsigned char format;
  bool full_range, has_colour;
  unsigned char primaries, transfer, matrix;
  bool has_aspect;
  int aspect;
  unsigned short aspect_width, aspect_height;
};

struct encoder_settings {
  int usage, width, height, bitrate, rate_control;
  float fps;
  int temporal_layers, spatial_layers;
  struct spatial_layer layers[4];
  int complexity;
  unsigned intra_period;
  int references, id_strategy;
  bool prefix_units, ssei, simulcast;
  int padding, cabac;
  bool frame_skip;
  int max_bitrate, max_quantizer, min_quantizer;
  unsigned max_unit;
  bool long_term;
  int long_term_count;
  unsigned long_term_period;
  unsigned short threads;
  bool balance;
  int filter_off, filter_alpha, filter_beta;
  bool denoise, background, adaptive, crop, scene_change, lossless_link;
  unsigned char later[256];  // what newer versions have
};

struct picture {
  int format, stride[4];
  unsigned char *data[4];
  int width, height;
  long long ms;
  unsigned char later[64];
};

// One layer of a coded frame. Since 2.6 three floats follow.
struct layer {
  unsigned char temporal, spatial, quality;
  int type;
  unsigned char kind;
  int sub_sequence, units, *lengths;
  unsigned char *data;
};
struct layer_2_6 {
  struct layer layer;
  float psnr[3];
};

enum { max_layers = 128 };

struct frame_info {
  int layers;
  struct layer_2_6 layer[max_layers];  // the largest that it can be
  int type, bytes;
  long long ms;
  unsigned char later[64];
};

struct bitrate {
  int layer, bps;
};

typedef struct encoder_functions {
  int (*initialize)(void *, const void *);
  int (*initialize_ext)(void *, const struct encoder_settings *);
  int (*defaults)(void *, struct encoder_settings *);
  int (*uninitialize)(void *);
  int (*encode)(void *, const struct picture *, void *);
  int (*encode_sets)(void *, void *);
  int (*force_intra)(void *, bool idr, int layer);
  int (*set)(void *, int, void *);
  int (*get)(void *, int, void *);
} encoder_functions;

struct decoder_settings {
  char *dump;
  unsigned load;
  unsigned char layer;
  int concealment;
  bool parse_only;
  struct {
    unsigned size;
    int type;
  } stream;
  unsigned char later[64];
};

struct decoded {
  int status;
  unsigned long long in, out;
  int width, height, format, stride[2];
  unsigned char *data[3];
  unsigned char later[64];
};

typedef struct decoder_functions {
  long (*initialize)(void *, const struct decoder_settings *);
  long (*uninitialize)(void *);
  int (*decode_old)(void *, const unsigned char *, int, unsigned char **, int *, int *, int *);
  int (*decode)(void *, const unsigned char *, int, unsigned char **, struct decoded *);
  int (*decode2)(void *, const unsigned char *, int, unsigned char **, struct decoded *);
  int (*flush)(void *, unsigned char **, struct decoded *);
  int (*parse)(void *, const unsigned char *, int, void *);
  int (*decode_ex)(void *, const unsigned char *, int, unsigned char *, int, int *, int *, int *, int *);
  long (*set)(void *, int, void *);
  long (*get)(void *, int, void *);
} decoder_functions;

// The table is the first thing in an object.
static const encoder_functions *encoder_of(void *enc) { return *(const encoder_functions **)enc; }
static const decoder_functions *decoder_of(void *dec) { return *(const decoder_functions **)dec; }

const char *mixdown_h264_load(mixdown_h264_library *lib, const char *path) {
  lib->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!lib->handle) return dlerror();
  void (*version)(struct version *);
  // C has no pointer that holds both data and functions; POSIX says that these do.
  *(void **)&version = dlsym(lib->handle, "WelsGetCodecVersionEx");
  *(void **)&lib->create_encoder = dlsym(lib->handle, "WelsCreateSVCEncoder");
  *(void **)&lib->destroy_encoder = dlsym(lib->handle, "WelsDestroySVCEncoder");
  *(void **)&lib->create_decoder = dlsym(lib->handle, "WelsCreateDecoder");
  *(void **)&lib->destroy_decoder = dlsym(lib->handle, "WelsDestroyDecoder");
  if (!version || !lib->create_encoder || !lib->destroy_encoder || !lib->create_decoder || !lib->destroy_decoder) {
    dlclose(lib->handle);
    lib->handle = NULL;
    return "this is another library than OpenH264";
  }
  struct version v = {0};
  version(&v);
  lib->major = (int)v.major;
  lib->minor = (int)v.minor;
  lib->revision = (int)v.revision;
  return NULL;
}

static void configure(struct encoder_settings *p, const mixdown_h264_settings *s) {
  p->usage = camera;  // as a screen, it would make key frames by itself
  p->width = s->width;
  p->height = s->height;
  p->bitrate = s->bitrate;
  p->rate_control = rate_control_bitrate;
  p->fps = s->fps;
  p->temporal_layers = 1;
  p->spatial_layers = 1;
  p->complexity = s->complexity;
  p->intra_period = 0;  // only when asked for
  p->references = 1;
  p->id_strategy = constant_ids;
  p->cabac = 0;
  p->frame_skip = true;
  p->max_quantizer = 51;
  // As for VP8: a picture that rests is not to become so fine that the first which
  // moves again costs a second of the bitrate.
  p->min_quantizer = 16;
  p->threads = 1;
  p->balance = false;
  // Its detection of backgrounds never makes them any sharper than they were when
  // they came to rest (38.6 dB for 43.9), and moving pictures are 0.5 dB worse.
  p->denoise = p->adaptive = p->scene_change = p->background = false;
  struct spatial_layer *l = &p->layers[0];
  l->width = s->width;
  l->height = s->height;
  l->fps = s->fps;
  l->bitrate = s->bitrate;
  l->profile = profile_baseline;
  l->level = 0;  // the least that will do
  l->slicing.mode = 0;
  l->slicing.count = 1;
}

mixdown_h264_encoder *mixdown_h264_encoder_new(const mixdown_h264_library *lib, mixdown_h264_settings s, int *err) {
  mixdown_h264_encoder *e = calloc(1, sizeof *e);
  struct encoder_settings *p = calloc(1, sizeof *p);
  *err = -1;
  if (!e || !p) goto fail;
  e->lib = lib;
  e->width = s.width;
  e->height = s.height;
  if (!(e->info = calloc(1, sizeof(struct frame_info)))) goto fail;
  if ((*err = lib->create_encoder(&e->enc))) goto fail;
  const encoder_functions *f = encoder_of(e->enc);
  int quiet = 0;
  f->set(e->enc, encoder_trace_level, &quiet);  // it would write to stderr
  if ((*err = f->defaults(e->enc, p))) goto fail;
  configure(p, &s);
  if ((*err = f->initialize_ext(e->enc, p))) goto fail;
  free(p);
  return e;
fail:
  free(p);
  mixdown_h264_encoder_free(e);
  return NULL;
}

static const struct layer *layer_at(const mixdown_h264_encoder *e, int i) {
  const struct frame_info *info = e->info;
  if (e->lib->minor >= 6) return &info->layer[i].layer;
  return (const struct layer *)info->layer + i;
}

int mixdown_h264_encode(mixdown_h264_encoder *e, const uint8_t *y, const uint8_t *u, const uint8_t *v, int stride_y,
                        int stride_uv, int64_t ms, int key) {
  const encoder_functions *f = encoder_of(e->enc);
  e->parts = 0;
  e->key = 0;
  if (key) {
    int err = f->force_intra(e->enc, true, -1);
    if (err) return err;
  }
  // The library reads the planes only; the pointers are not kept past this call.
  struct picture p = {
      .format = format_i420,
      .stride = {stride_y, stride_uv, stride_uv},
      .data = {(unsigned char *)y, (unsigned char *)u, (unsigned char *)v},
      .width = e->width,
      .height = e->height,
      .ms = ms,
  };
  struct frame_info *info = e->info;
  info->layers = 0;
  int err = f->encode(e->enc, &p, info);
  if (err) return err;
  for (int i = 0; i < info->layers && i < max_layers; i++) {
    const struct layer *l = layer_at(e, i);
    size_t size = 0;
    for (int n = 0; n < l->units; n++) size += (size_t)l->lengths[n];
    if (!size) continue;
    if (e->parts == mixdown_h264_max_parts) return -1;
    e->data[e->parts] = l->data;
    e->size[e->parts++] = size;
    e->key |= l->type == frame_idr;
  }
  return 0;
}

int mixdown_h264_set_bitrate(mixdown_h264_encoder *e, int bitrate) {
  struct bitrate b = {all_layers, bitrate};
  return encoder_of(e->enc)->set(e->enc, encoder_bitrate, &b);
}

int mixdown_h264_set_rate(mixdown_h264_encoder *e, float fps) {
  return encoder_of(e->enc)->set(e->enc, encoder_rate, &fps);
}

int mixdown_h264_set_complexity(mixdown_h264_encoder *e, int complexity) {
  return encoder_of(e->enc)->set(e->enc, encoder_complexity, &complexity);
}

void mixdown_h264_encoder_free(mixdown_h264_encoder *e) {
  if (!e) return;
  if (e->enc) {
    encoder_of(e->enc)->uninitialize(e->enc);
    e->lib->destroy_encoder(e->enc);
  }
  free(e->info);
  free(e);
}

mixdown_h264_decoder *mixdown_h264_decoder_new(const mixdown_h264_library *lib, int *err) {
  mixdown_h264_decoder *d = calloc(1, sizeof *d);
  *err = -1;
  if (!d) return NULL;
  d->lib = lib;
  if ((*err = (int)lib->create_decoder(&d->dec))) goto fail;
  const decoder_functions *f = decoder_of(d->dec);
  int quiet = 0;
  f->set(d->dec, decoder_trace_level, &quiet);
  // No concealment: a damaged picture is not shown, and a key frame asked for.
  struct decoder_settings s = {.layer = 255, .concealment = 0, .stream = {8, stream_avc}};
  if ((*err = (int)f->initialize(d->dec, &s))) goto fail;
  return d;
fail:
  mixdown_h264_decoder_free(d);
  return NULL;
}

int mixdown_h264_decode(mixdown_h264_decoder *d, const uint8_t *data, int size) {
  d->y = NULL;  // any frame may overwrite it
  unsigned char *planes[3] = {NULL};
  struct decoded out = {0};
  int err = decoder_of(d->dec)->decode(d->dec, data, size, planes, &out);
  if (err) return err;
  if (out.status != 1 || !planes[0] || !planes[1] || !planes[2] || out.format != format_i420) return 0;
  d->y = planes[0];
  d->u = planes[1];
  d->v = planes[2];
  d->stride_y = out.stride[0];
  d->stride_uv = out.stride[1];
  d->width = out.width;
  d->height = out.height;
  return 0;
}

void mixdown_h264_decoder_free(mixdown_h264_decoder *d) {
  if (!d) return;
  if (d->dec) {
    decoder_of(d->dec)->uninitialize(d->dec);
    d->lib->destroy_decoder(d->dec);
  }
  free(d);
}
