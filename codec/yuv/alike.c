#include "alike.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

// One row at a time: of two pictures of something that moves the first rows
// tell.
int mixdown_alike(const uint8_t *a, int stride_a, const uint8_t *b, int stride_b,
                  int w, int h, int tolerance) {
  for (int y = 0; y < h; y++, a += stride_a, b += stride_b) {
    int x = 0;
#ifdef __SSE2__
    __m128i most = _mm_setzero_si128();
    for (; x + 16 <= w; x += 16) {
      __m128i p = _mm_loadu_si128((const __m128i *)(a + x));
      __m128i q = _mm_loadu_si128((const __m128i *)(b + x));
      // One of the two saturates to zero, the other is the difference.
      most = _mm_max_epu8(most, _mm_or_si128(_mm_subs_epu8(p, q), _mm_subs_epu8(q, p)));
    }
    __m128i beyond = _mm_subs_epu8(most, _mm_set1_epi8((char)tolerance));
    if (_mm_movemask_epi8(_mm_cmpeq_epi8(beyond, _mm_setzero_si128())) != 0xffff) return 0;
#endif
    for (; x < w; x++) {
      int d = a[x] - b[x];
      if (d > tolerance || -d > tolerance) return 0;
    }
  }
  return 1;
}
