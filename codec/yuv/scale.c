// Scaling of I420 pictures.
//
// libyuv has hand-written code for 1:1, 2:1, 4:1 and a few more, and is hard to
// beat there. For any other ratio it walks the columns one by one in plain C on
// x86, and beyond 2:1 its box filter is slower still. A grid of nine scales
// 640x360 to 426x240 270 times a second, so those ratios have a kernel here:
//
//   1. While the picture is more than twice too large in both directions, its
//      rows are averaged 2x2 (a "level"), row by row and only as they are
//      needed, so nothing of the size of a picture is ever stored.
//   2. Two neighbouring rows are blended into one (vertical bilinear).
//   3. Of that row, 16 destination samples at a time are gathered with two byte
//      shuffles, and each pair of neighbours is weighed and added with one
//      multiply-add (horizontal bilinear). Shuffles and weights depend on the
//      column only and are worked out once per plane.
//
// Eight destination samples at a ratio of at most 2:1 reach over at most 16
// source bytes, which is exactly what a byte shuffle can choose from.
//
// The kernel needs AVX2; processors without it, other architectures, and
// pictures of a few samples take libyuv's way.
#include "scale.h"

#include <libyuv.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2")))

enum {
  max_src = 8192,    // luma columns of a source; bounds the stack use to about 64 kB
  max_dst = 4096,    // and of a destination
  min_side = 32,     // one vector: shorter rows have no room for the overlapping tail
  max_levels = 8,
  pad = 64,          // vectors may read and write this far past a scratch row's end
};

// A level is the source after some number of halvings, of which two
// neighbouring rows are kept: an even one and an odd one.
typedef struct {
  int w, h;
  const uint8_t *plane;  // level 0 only
  int stride;            // level 0 only
  uint8_t *row[2];       // the others
  int have[2];           // which rows those are
} level;

// A group is eight destination columns.
typedef struct {
  int32_t offset;       // of the first source byte
  uint8_t shuffle[16];  // picks the left and right neighbour of each sample
  uint8_t weight[16];   // of the left and right neighbour; they add up to 128
} group;

// halve averages 2x2 samples of two rows of sw samples. An odd last
// column is averaged with itself.
AVX2 static void halve(uint8_t *dst, const uint8_t *a, const uint8_t *b, int sw) {
  const __m256i ones = _mm256_set1_epi8(1), two = _mm256_set1_epi16(2);
  int x = 0;
  for (; x + 64 <= sw; x += 64) {
    __m256i lo = _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_loadu_si256((const __m256i *)(a + x)), ones),
                                  _mm256_maddubs_epi16(_mm256_loadu_si256((const __m256i *)(b + x)), ones));
    __m256i hi = _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_loadu_si256((const __m256i *)(a + x + 32)), ones),
                                  _mm256_maddubs_epi16(_mm256_loadu_si256((const __m256i *)(b + x + 32)), ones));
    lo = _mm256_srli_epi16(_mm256_add_epi16(lo, two), 2);
    hi = _mm256_srli_epi16(_mm256_add_epi16(hi, two), 2);
    __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi16(lo, hi), 0xd8);
    _mm256_storeu_si256((__m256i *)(dst + x / 2), packed);
  }
  for (; x < sw; x += 2) {
    int right = x + 1 < sw ? x + 1 : x;
    dst[x / 2] = (uint8_t)((a[x] + a[right] + b[x] + b[right] + 2) >> 2);
  }
}

// level_row returns row y of levels[n], working it out when it is not at hand.
static const uint8_t *level_row(level *levels, int n, int y) {
  level *l = &levels[n];
  if (n == 0) return l->plane + (intptr_t)y * l->stride;
  int slot = y & 1;
  if (l->have[slot] != y) {
    int last = levels[n - 1].h - 1;
    const uint8_t *a = level_row(levels, n - 1, 2 * y);
    const uint8_t *b = 2 * y + 1 <= last ? level_row(levels, n - 1, 2 * y + 1) : a;
    halve(l->row[slot], a, b, levels[n - 1].w);
    l->have[slot] = y;
  }
  return l->row[slot];
}

// blend_rows writes a*(256-f) + b*f, 0 <= f < 256, rounded, to dst, less 128:
// the multiply-add wants one of its factors signed. w is at least min_side.
AVX2 static void blend_rows(int8_t *dst, const uint8_t *a, const uint8_t *b, int f, int w) {
  const __m256i sign = _mm256_set1_epi8((char)0x80);
  // The last vector overlaps the one before, so that no row is read past its end.
  if (f == 0) {
    for (int x = 0; x < w; x += 32) {
      if (x > w - 32) x = w - 32;
      _mm256_storeu_si256((__m256i *)(dst + x), _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(a + x)), sign));
    }
    return;
  }
  const __m256i weights = _mm256_set1_epi16((short)(f << 8 | (256 - f)));
  const __m256i half = _mm256_set1_epi16(128);
  for (int x = 0; x < w; x += 32) {
    if (x > w - 32) x = w - 32;
    __m256i va = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(a + x)), sign);
    __m256i vb = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(b + x)), sign);
    __m256i lo = _mm256_maddubs_epi16(weights, _mm256_unpacklo_epi8(va, vb));
    __m256i hi = _mm256_maddubs_epi16(weights, _mm256_unpackhi_epi8(va, vb));
    lo = _mm256_srai_epi16(_mm256_add_epi16(lo, half), 8);
    hi = _mm256_srai_epi16(_mm256_add_epi16(hi, half), 8);
    _mm256_storeu_si256((__m256i *)(dst + x), _mm256_packs_epi16(lo, hi));
  }
}

// gather16 is 16 destination samples of a blended row.
AVX2 static inline __m128i gather16(const int8_t *row, const group *l, const group *r) {
  __m256i src = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(row + l->offset))),
                                        _mm_loadu_si128((const __m128i *)(row + r->offset)), 1);
  __m256i shuffle = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)l->shuffle)),
                                            _mm_loadu_si128((const __m128i *)r->shuffle), 1);
  __m256i weight = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)l->weight)),
                                           _mm_loadu_si128((const __m128i *)r->weight), 1);
  __m256i sum = _mm256_maddubs_epi16(weight, _mm256_shuffle_epi8(src, shuffle));
  sum = _mm256_srai_epi16(_mm256_add_epi16(sum, _mm256_set1_epi16(64)), 7);
  __m128i out = _mm_packs_epi16(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  return _mm_xor_si128(out, _mm_set1_epi8((char)0x80));
}

AVX2 static void gather_row(uint8_t *dst, const int8_t *row, const group *groups, int dw) {
  int x = 0;
  const group *g = groups;
  for (; x + 16 <= dw; x += 16, g += 2)
    _mm_storeu_si128((__m128i *)(dst + x), gather16(row, g, g + 1));
  if (x < dw)  // g is the overlapping tail's pair of groups, see make_groups
    _mm_storeu_si128((__m128i *)(dst + dw - 16), gather16(row, g, g + 1));
}

// source_position is where destination sample i of n lies in a row of size
// samples (a level's), as a fixed point number with 16 fractional bits. step is
// the ratio with 32 fractional bits. Samples stand for areas, hence the halves.
static int64_t source_position(int i, int64_t step, int size) {
  int64_t pos = (step * i + step / 2 - ((int64_t)1 << 31)) >> 16;
  int64_t last = (int64_t)(size - 1) << 16;
  return pos < 0 ? 0 : pos > last ? last : pos;
}

// make_group prepares the eight destination columns from x on.
static void make_group(group *g, int x, int64_t step, int size) {
  g->offset = (int32_t)(source_position(x, step, size) >> 16);
  for (int k = 0; k < 8; k++) {
    int64_t pos = source_position(x + k, step, size);
    int left = (int)(pos >> 16) - g->offset;
    int f = (int)(pos >> 9) & 127;
    g->shuffle[2 * k] = (uint8_t)left;
    g->shuffle[2 * k + 1] = (uint8_t)(f ? left + 1 : left);  // never past the last sample
    g->weight[2 * k] = (uint8_t)(128 - f);
    g->weight[2 * k + 1] = (uint8_t)f;
  }
}

// scale_plane scales one plane through the given number of halvings. Sizes are
// within what scale_fits allows.
static void scale_plane(const uint8_t *src, int sstride, int sw, int sh, uint8_t *dst, int dstride, int dw, int dh, int halvings) {
  uint8_t rows[2 * (max_src + max_levels * pad)];
  int8_t blended[max_src + pad];
  group groups[max_dst / 8 + 4];
  level levels[max_levels + 1];

  levels[0] = (level){.w = sw, .h = sh, .plane = src, .stride = sstride};
  uint8_t *next = rows;
  for (int n = 1; n <= halvings; n++) {
    level *l = &levels[n];
    *l = (level){.w = (levels[n - 1].w + 1) / 2, .h = (levels[n - 1].h + 1) / 2, .have = {-1, -1}};
    for (int k = 0; k < 2; k++) {
      l->row[k] = next;
      next += l->w + pad / 2;
    }
  }
  const int w = levels[halvings].w, h = levels[halvings].h;

  // The ratio is that of the whole picture: halving an odd size rounds up,
  // and the difference must not shift the picture.
  const int64_t step_x = ((int64_t)sw << 32) / ((int64_t)dw << halvings);
  const int64_t step_y = ((int64_t)sh << 32) / ((int64_t)dh << halvings);
  int n = 0, x = 0;
  for (; x + 16 <= dw; x += 16, n += 2) {
    make_group(&groups[n], x, step_x, w);
    make_group(&groups[n + 1], x + 8, step_x, w);
  }
  if (x < dw) {
    make_group(&groups[n], dw - 16, step_x, w);
    make_group(&groups[n + 1], dw - 8, step_x, w);
  }
  memset(blended + w, 0, pad);  // read by the last loads, chosen by no shuffle

  int64_t have = -1;  // the position that is in blended: upscaling may repeat it
  for (int y = 0; y < dh; y++) {
    int64_t pos = source_position(y, step_y, h);
    int top = (int)(pos >> 16), f = (int)(pos >> 8) & 255;
    if (pos >> 8 != have) {
      const uint8_t *a = level_row(levels, halvings, top);
      const uint8_t *b = f ? level_row(levels, halvings, top + 1) : a;
      blend_rows(blended, a, b, f, w);
      have = pos >> 8;
    }
    gather_row(dst + (intptr_t)y * dstride, blended, groups, dw);
  }
}

// scale_fits tells whether our kernel can do it, and with how many halvings.
static int scale_fits(int sw, int sh, int dw, int dh, int *halvings) {
  // Chroma has the same ratio but for the rounding of odd sizes, so both
  // planes must fit: hence the halves.
  int csw = (sw + 1) / 2, csh = (sh + 1) / 2, cdw = (dw + 1) / 2, cdh = (dh + 1) / 2;
  int n = 0;
  while (n < max_levels && (sw > (2 * dw) << n) && (sh > (2 * dh) << n)) n++;
  *halvings = n;
  return sw <= max_src && dw <= max_dst && (csw >> n) >= min_side && csh >> n >= 2 && cdw >= 16 && cdh >= 1 &&
         sw <= (2 * dw) << n && sh <= (2 * dh) << n && csw <= (2 * cdw) << n && csh <= (2 * cdh) << n;
}
#endif

// libyuv_is_fast tells which ratios libyuv has its own code for.
static int libyuv_is_fast(int sw, int sh, int dw, int dh) {
  return (sw == dw && sh == dh) || (sw == 2 * dw && sh == 2 * dh && dw % 2 == 0 && dh % 2 == 0) ||
         (2 * sw == dw && 2 * sh == dh);
}

int mixdown_scale(const uint8_t *sy, const uint8_t *su, const uint8_t *sv, int sstride, int sstride_uv, int sw, int sh,
                  uint8_t *dy, uint8_t *du, uint8_t *dv, int dstride, int dstride_uv, int dw, int dh, int how) {
#if defined(__x86_64__) && defined(__GNUC__)
  int halvings;
  if (how == MIXDOWN_BEST && !libyuv_is_fast(sw, sh, dw, dh) && scale_fits(sw, sh, dw, dh, &halvings) &&
      __builtin_cpu_supports("avx2")) {
    int csw = (sw + 1) / 2, csh = (sh + 1) / 2, cdw = (dw + 1) / 2, cdh = (dh + 1) / 2;
    scale_plane(sy, sstride, sw, sh, dy, dstride, dw, dh, halvings);
    scale_plane(su, sstride_uv, csw, csh, du, dstride_uv, cdw, cdh, halvings);
    scale_plane(sv, sstride_uv, csw, csh, dv, dstride_uv, cdw, cdh, halvings);
    return 0;
  }
#else
  (void)how;
  (void)libyuv_is_fast;
#endif
  return I420Scale(sy, sstride, su, sstride_uv, sv, sstride_uv, sw, sh, dy, dstride, du, dstride_uv, dv, dstride_uv, dw, dh,
                   kFilterBox) != 0;
}
