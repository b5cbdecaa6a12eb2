static void cumsum(const float* KW_RESTRICT x, float* KW_RESTRICT y) {
  kw::parallel_items(8, 2247, [&](const int64_t item_begin, const int64_t item_end) {
    for (int64_t item = item_begin; item < item_end; ++item) {
      const int64_t a0 = item;
      {
        kw::Carry<kw::Sum, kw::vf, double> state;
        const auto point = [&](const int64_t at, const int lanes) __attribute__((always_inline)) {
          const int64_t a1 = at;
          const kw::vf v0 = kw::load(x + a0 * 100 + a1, lanes);
          const kw::vf scanned = state.next<false, false>(v0, lanes);
          kw::store(y + a0 * 100 + a1, scanned, lanes);
        };
        int64_t at = 0;
        for (; at + kw::W <= 100; at += kw::W) point(at, kw::W);
        if (at < 100) point(at, int(100 - at));
      }
    }
  });
}
