// Scaling that keeps text readable.
//
// Bilinear scaling, as scale.c does it, is right for faces: it is cheap, and
// what it loses they do not have. Text loses with it: between 1:1 and 2:1 each
// stem of a letter gets another weight, and beyond, halving blurs all of them.
// Here every sample is a weighted mean of all source samples under a Catmull-Rom
// curve (cubic, B = 0, C = 1/2) as wide as four samples of the result, or of the
// source where the picture grows: no source sample is skipped, so nothing
// flickers when it moves by one, and the curve's negative lobes keep edges
// steep. At 1:1 the weights are 0, 1, 0, 0: the picture is copied. Lanczos with
// three lobes is a little steeper still, at half again the cost, and rings twice.
//
// Rows are combined first, into one row of 16 bit numbers with six fractional
// bits, then columns. Weights have 14 bits and add up to exactly one, so that
// flat areas stay what they are. All sums fit 32 bits: the weights' magnitudes
// add up to at most 1.3.
//
// A source sample is touched four times whatever the ratio, vectors of 16 at a
// time with AVX2.
#include "sharp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
  one = 1 << 14,      // a weight of 1
  row_bits = 6,       // fractional bits of the combined row
  row_shift = 14 - row_bits,
  column_shift = 14 + row_bits,
  lane = 8,           // taps of a column are padded to so many
};

// A filter is the weights of every destination row or column.
typedef struct {
  int taps;          // room for each, a multiple of lane
  int32_t *first;    // source sample of the first weight
  int32_t *count;    // weights that are used
  int16_t *weight;   // taps of each
} filter;

static double catmull_rom(double x) {
  x = fabs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return ((-0.5 * x + 2.5) * x - 4) * x + 2;
  return 0;
}

// filter_taps returns the room for a list of weights from size samples to n.
static int filter_taps(int size, int n) {
  double ratio = size > n ? (double)size / n : 1;
  int taps = (int)ceil(4 * ratio) + 1;
  return (taps + lane - 1) / lane * lane;
}

static int make_filter(filter *f, int size, int n) {
  const double step = (double)size / n, width = step > 1 ? step : 1;
  f->taps = filter_taps(size, n);
  f->first = malloc(sizeof *f->first * (size_t)n);
  f->count = malloc(sizeof *f->count * (size_t)n);
  f->weight = calloc((size_t)n * (size_t)f->taps, sizeof *f->weight);
  double *exact = malloc(sizeof *exact * (size_t)f->taps);
  if (!f->first || !f->count || !f->weight || !exact) {
    free(exact);
    return 1;
  }
  for (int i = 0; i < n; i++) {
    // Samples stand for areas, hence the halves.
    const double centre = (i + 0.5) * step - 0.5;
    const int low = (int)ceil(centre - 2 * width), high = (int)floor(centre + 2 * width);
    const int first = low < 0 ? 0 : low, last = high > size - 1 ? size - 1 : high;
    double sum = 0;
    memset(exact, 0, sizeof *exact * (size_t)f->taps);
    for (int k = low; k <= high; k++) {  // past an edge its last sample goes on
      const int at = k < first ? first : k > last ? last : k;
      const double w = catmull_rom((k - centre) / width);
      exact[at - first] += w;
      sum += w;
    }
    int16_t *weight = f->weight + (intptr_t)i * f->taps;
    int rest = one, most = 0;
    for (int k = 0; k <= last - first; k++) {
      weight[k] = (int16_t)lround(exact[k] / sum * one);
      rest -= weight[k];
      if (weight[k] > weight[most]) most = k;
    }
    weight[most] = (int16_t)(weight[most] + rest);
    f->first[i] = first;
    f->count[i] = last - first + 1;
  }
  free(exact);
  return 0;
}

static void free_filter(filter *f) {
  free(f->first);
  free(f->count);
  free(f->weight);
}

static uint8_t clamp8(int v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v); }

// combine_rows writes the weighted sum of count rows to out, columns from x on.
static void combine_rows(int16_t *out, const uint8_t *rows, int stride, const int16_t *weight, int count, int x, int w) {
  for (; x < w; x++) {
    int sum = 1 << (row_shift - 1);
    for (int k = 0; k < count; k++) sum += rows[(intptr_t)k * stride + x] * weight[k];
    out[x] = (int16_t)(sum >> row_shift);
  }
}

static void combine_columns(uint8_t *dst, const int16_t *row, const filter *f, int x, int dw) {
  for (; x < dw; x++) {
    const int16_t *from = row + f->first[x], *weight = f->weight + (intptr_t)x * f->taps;
    int sum = 1 << (column_shift - 1);
    for (int k = 0; k < f->count[x]; k++) sum += from[k] * weight[k];
    dst[x] = clamp8(sum >> column_shift);
  }
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2")))

// combine_rows_fast does the columns that whole vectors reach and returns how
// many those are.
AVX2 static int combine_rows_fast(int16_t *out, const uint8_t *rows, int stride, const int16_t *weight, int count, int w) {
  int x = 0;
  for (; x + 16 <= w; x += 16) {
    __m256i lo = _mm256_set1_epi32(1 << (row_shift - 1)), hi = lo;
    for (int k = 0; k < count; k += 2) {
      const uint8_t *a = rows + (intptr_t)k * stride + x;
      const uint8_t *b = k + 1 < count ? a + stride : a;  // its weight is 0 then
      const __m256i pair = _mm256_set1_epi32((int)((uint32_t)(uint16_t)weight[k] | (uint32_t)(uint16_t)(k + 1 < count ? weight[k + 1] : 0) << 16));
      const __m256i va = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)a));
      const __m256i vb = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)b));
      lo = _mm256_add_epi32(lo, _mm256_madd_epi16(_mm256_unpacklo_epi16(va, vb), pair));
      hi = _mm256_add_epi32(hi, _mm256_madd_epi16(_mm256_unpackhi_epi16(va, vb), pair));
    }
    lo = _mm256_srai_epi32(lo, row_shift);
    hi = _mm256_srai_epi32(hi, row_shift);
    _mm256_storeu_si256((__m256i *)(out + x), _mm256_packs_epi32(lo, hi));
  }
  return x;
}

// dot is the four partial sums of one destination column.
AVX2 static inline __m128i dot(const int16_t *row, const filter *f, int x) {
  const int16_t *from = row + f->first[x], *weight = f->weight + (intptr_t)x * f->taps;
  __m128i sum = _mm_setzero_si128();
  for (int k = 0; k < f->count[x]; k += lane)
    sum = _mm_add_epi32(sum, _mm_madd_epi16(_mm_loadu_si128((const __m128i *)(from + k)), _mm_loadu_si128((const __m128i *)(weight + k))));
  return sum;
}

AVX2 static int combine_columns_fast(uint8_t *dst, const int16_t *row, const filter *f, int dw) {
  int x = 0;
  for (; x + 4 <= dw; x += 4) {
    __m128i sums = _mm_hadd_epi32(_mm_hadd_epi32(dot(row, f, x), dot(row, f, x + 1)), _mm_hadd_epi32(dot(row, f, x + 2), dot(row, f, x + 3)));
    sums = _mm_srai_epi32(_mm_add_epi32(sums, _mm_set1_epi32(1 << (column_shift - 1))), column_shift);
    const __m128i words = _mm_packs_epi32(sums, sums);
    const int bytes = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    memcpy(dst + x, &bytes, 4);
  }
  return x;
}
#endif

int mixdown_scale_sharp(const uint8_t *src, int sstride, int sw, int sh, uint8_t *dst, int dstride, int dw, int dh, int plain) {
  filter across = {0}, down = {0};
  // Vectors read up to a whole list past the row's end, with weights of 0.
  int16_t *row = calloc((size_t)sw + (size_t)filter_taps(sw, dw) + lane, sizeof *row);
  const int failed = !row || make_filter(&across, sw, dw) || make_filter(&down, sh, dh);
#if defined(__x86_64__) && defined(__GNUC__)
  const int fast = !plain && __builtin_cpu_supports("avx2");
#else
  (void)plain;
#endif
  for (int y = 0; y < dh && !failed; y++) {
    const uint8_t *rows = src + (intptr_t)down.first[y] * sstride;
    const int16_t *weight = down.weight + (intptr_t)y * down.taps;
    uint8_t *out = dst + (intptr_t)y * dstride;
    int done_rows = 0, done_columns = 0;
#if defined(__x86_64__) && defined(__GNUC__)
    if (fast) done_rows = combine_rows_fast(row, rows, sstride, weight, down.count[y], sw);
#endif
    combine_rows(row, rows, sstride, weight, down.count[y], done_rows, sw);
#if defined(__x86_64__) && defined(__GNUC__)
    if (fast) done_columns = combine_columns_fast(out, row, &across, dw);
#endif
    combine_columns(out, row, &across, done_columns, dw);
  }
  free(row);
  free_filter(&across);
  free_filter(&down);
  return failed;
}
