static void transpose(const float* KW_RESTRICT x, float* KW_RESTRICT y) {
  kw::parallel_items(11 * 2, 1, [&](const int64_t item_begin, const int64_t item_end) {
    for (int64_t item = item_begin; item < item_end; ++item) {
      const int64_t i_begin = item % 2 * 512;
      const int64_t i_end = kw::min<int64_t>(i_begin + 512, 1000);
      const int64_t i_rest = item / 2;
      const int64_t j_begin = i_rest * 64;
      const int64_t j_end = kw::min<int64_t>(j_begin + 64, 700);
      {
        const auto block = [&](const int64_t j, const int64_t i_0, const int lanes, const int across) __attribute__((always_inline)) {
          kw::vf block0[kw::W];
          kw::transpose(block0, x + i_0 + j * 1000, 1000, lanes, across);
          for (int across_at = 0; across_at < across; ++across_at) {
            const int64_t i = i_0 + across_at;
            kw::store(y + i * 700 + j, block0[across_at], lanes);
          }
        };
        for (int64_t at = j_begin; at < j_end; at += kw::W) {
          int64_t next = i_begin;
          if (at + kw::W <= j_end) for (; next + kw::W <= i_end; next += kw::W) block(at, next, kw::W, kw::W);
          for (; next < i_end; next += kw::W) block(at, next, int(kw::min<int64_t>(kw::W, j_end - at)), int(kw::min<int64_t>(kw::W, i_end - next)));
        }
      }
    }
  });
}
