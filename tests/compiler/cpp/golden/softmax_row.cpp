static void softmax_row(const float* KW_RESTRICT x, float* KW_RESTRICT y) {
  kw::parallel_items(64, 30, [&](const int64_t item_begin, const int64_t item_end) {
    alignas(64) float m[1];
    alignas(64) float s[1];
    for (int64_t item = item_begin; item < item_end; ++item) {
      const int64_t i0 = item;
      {
        const auto point = [&](const int64_t j0, const int lanes, auto& acc0) __attribute__((always_inline)) {
          const kw::vf v0 = kw::load(x + i0 * 1000 + j0, lanes);
          acc0.add(v0, lanes);
        };
        kw::Max<kw::vf> acc0_0;
        kw::Max<kw::vf> acc0_1;
        kw::Max<kw::vf> acc0_2;
        kw::Max<kw::vf> acc0_3;
        {
          int64_t at = 0;
          for (; at + 64 <= 1000; at += 64) {
            point(at, kw::W, acc0_0);
            point(at + 16, kw::W, acc0_1);
            point(at + 32, kw::W, acc0_2);
            point(at + 48, kw::W, acc0_3);
          }
          for (; at + kw::W <= 1000; at += kw::W) point(at, kw::W, acc0_0);
          if (at < 1000) point(at, int(1000 - at), acc0_0);
        }
        acc0_0.merge(acc0_1);
        acc0_0.merge(acc0_2);
        acc0_0.merge(acc0_3);
        const float result0 = acc0_0.fold();
        kw::put(m + 0, result0);
      }
      {
        const auto point = [&](const int64_t j0, const int lanes, auto& acc0) __attribute__((always_inline)) {
          const kw::vf v0 = kw::load(x + i0 * 1000 + j0, lanes);
          const float v1 = kw::get(m + 0);
          const kw::vf v2 = kw::splat<kw::vf>(v1);
          const kw::vf v3 = v0 - v2;
          const kw::vf v4 = kw::exp(v3);
          acc0.add(v4, lanes);
        };
        kw::Sum<kw::vf> acc0_0;
        kw::Sum<kw::vf> acc0_1;
        kw::Sum<kw::vf> acc0_2;
        kw::Sum<kw::vf> acc0_3;
        {
          int64_t at = 0;
          for (; at + 64 <= 1000; at += 64) {
            point(at, kw::W, acc0_0);
            point(at + 16, kw::W, acc0_1);
            point(at + 32, kw::W, acc0_2);
            point(at + 48, kw::W, acc0_3);
          }
          for (; at + kw::W <= 1000; at += kw::W) point(at, kw::W, acc0_0);
          if (at < 1000) point(at, int(1000 - at), acc0_0);
        }
        acc0_0.merge(acc0_1);
        acc0_0.merge(acc0_2);
        acc0_0.merge(acc0_3);
        const float result0 = acc0_0.fold();
        kw::put(s + 0, result0);
      }
      {
        const auto point = [&](const int64_t j0, const int lanes) __attribute__((always_inline)) {
          const kw::vf v0 = kw::load(x + i0 * 1000 + j0, lanes);
          const float v1 = kw::get(m + 0);
          const kw::vf v2 = kw::splat<kw::vf>(v1);
          const kw::vf v3 = v0 - v2;
          const kw::vf v4 = kw::exp(v3);
          const float v5 = kw::get(s + 0);
          const kw::vf v6 = kw::splat<kw::vf>(v5);
          const kw::vf v7 = v4 / v6;
          kw::store(y + i0 * 1000 + j0, v7, lanes);
        };
        int64_t at = 0;
        for (; at + kw::W <= 1000; at += kw::W) point(at, kw::W);
        if (at < 1000) point(at, int(1000 - at));
      }
    }
  });
}
