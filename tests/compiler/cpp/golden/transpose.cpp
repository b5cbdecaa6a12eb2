static void transpose(const float* KW_RESTRICT x, float* KW_RESTRICT y) {
  kw::parallel_items(16 * 11, 15, [&](const int64_t item_begin, const int64_t item_end) {
    for (int64_t item = item_begin; item < item_end; ++item) {
      const int64_t j_begin = item % 11 * 64;
      const int64_t j_end = kw::min<int64_t>(j_begin + 64, 700);
      const int64_t j_rest = item / 11;
      const int64_t i_begin = j_rest * 64;
      const int64_t i_end = kw::min<int64_t>(i_begin + 64, 1000);
      {
        for (int64_t i_0 = i_begin; i_0 < i_end; i_0 += kw::W) {
          const int count = int(kw::min<int64_t>(kw::W, i_end - i_0));
          const auto block = [&](const int64_t j, const int lanes, const int across) __attribute__((always_inline)) {
            kw::vf block0[kw::W];
            kw::transpose(block0, x + i_0 + j * 1000, 1000, lanes, across);
            for (int across_at = 0; across_at < across; ++across_at) {
              const int64_t i = i_0 + across_at;
              kw::store(y + i * 700 + j, block0[across_at], lanes);
            }
          };
          int64_t at = j_begin;
          if (count == kw::W) for (; at + kw::W <= j_end; at += kw::W) block(at, kw::W, kw::W);
          for (; at < j_end; at += kw::W) block(at, int(kw::min<int64_t>(kw::W, j_end - at)), count);
        }
      }
    }
  });
}
