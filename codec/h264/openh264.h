// OpenH264, loaded at run time: its interface as far as it is used here, and one
// call per frame. See openh264.c.
#ifndef MIXDOWN_H264_OPENH264_H
#define MIXDOWN_H264_OPENH264_H

#include <stddef.h>
#include <stdint.h>

// The functions of a library that was loaded, and its version.
typedef struct {
  void *handle;
  int major, minor, revision;
  int (*create_encoder)(void **);
  void (*destroy_encoder)(void *);
  long (*create_decoder)(void **);
  void (*destroy_decoder)(void *);
} mixdown_h264_library;

enum { mixdown_h264_max_parts = 4 };

// An encoder and the frame it made last, in parts, which lie in the library's
// memory until the next encode; parts is 0 when there is none.
typedef struct mixdown_h264_encoder {
  const mixdown_h264_library *lib;
  void *enc;
  void *info;  // the library's description of a frame
  int width, height;
  int parts;
  const uint8_t *data[mixdown_h264_max_parts];
  size_t size[mixdown_h264_max_parts];
  int key;
} mixdown_h264_encoder;

// A decoder and the picture it decoded last, which lies in the library's memory
// until the next decode; y is NULL when there is none.
typedef struct {
  const mixdown_h264_library *lib;
  void *dec;
  const uint8_t *y, *u, *v;
  int stride_y, stride_uv, width, height;
} mixdown_h264_decoder;

typedef struct {
  int width, height, bitrate, complexity;
  float fps;
} mixdown_h264_settings;

// Returns NULL, or what the loader said, which is valid until the next call.
const char *mixdown_h264_load(mixdown_h264_library *lib, const char *path);

// Each function that returns an int returns 0 or the library's error.

mixdown_h264_encoder *mixdown_h264_encoder_new(const mixdown_h264_library *lib, mixdown_h264_settings s, int *err);
int mixdown_h264_encode(mixdown_h264_encoder *e, const uint8_t *y, const uint8_t *u, const uint8_t *v, int stride_y,
                        int stride_uv, int64_t ms, int key);
int mixdown_h264_set_bitrate(mixdown_h264_encoder *e, int bitrate);
int mixdown_h264_set_rate(mixdown_h264_encoder *e, float fps);
int mixdown_h264_set_complexity(mixdown_h264_encoder *e, int complexity);
void mixdown_h264_encoder_free(mixdown_h264_encoder *e);

mixdown_h264_decoder *mixdown_h264_decoder_new(const mixdown_h264_library *lib, int *err);
int mixdown_h264_decode(mixdown_h264_decoder *d, const uint8_t *data, int size);
void mixdown_h264_decoder_free(mixdown_h264_decoder *d);

#endif
