static void layer_norm(const kw::bf16* KW_RESTRICT x, const float* KW_RESTRICT g, kw::bf16* KW_RESTRICT y) {
  kw::parallel_items(32, 126, [&](const int64_t item_begin, const int64_t item_end) {
    alignas(64) float m[1];
    alignas(64) float r[1];
    for (int64_t item = item_begin; item < item_end; ++item) {
      const int64_t i0 = item;
      {
        const auto point = [&](const int64_t j0, const int lanes, auto& acc0) __attribute__((always_inline)) {
          const kw::vf v0 = kw::load(x + i0 * 768 + j0, lanes);
          acc0.add(v0, lanes);
        };
        kw::Sum<kw::vf> acc0_0;
        kw::Sum<kw::vf> acc0_1;
        kw::Sum<kw::vf> acc0_2;
        kw::Sum<kw::vf> acc0_3;
        {
          int64_t at = 0;
          for (; at + 64 <= 768; at += 64) {
            point(at, kw::W, acc0_0);
            point(at + 16, kw::W, acc0_1);
            point(at + 32, kw::W, acc0_2);
            point(at + 48, kw::W, acc0_3);
          }
          for (; at + kw::W <= 768; at += kw::W) point(at, kw::W, acc0_0);
        }
        acc0_0.merge(acc0_1);
        acc0_0.merge(acc0_2);
        acc0_0.merge(acc0_3);
        const float result0 = acc0_0.fold();
        const float v0 = result0 * 0.0013020834f;
        kw::put(m + 0, v0);
      }
      {
        const auto point = [&](const int64_t j0, const int lanes, auto& acc0) __attribute__((always_inline)) {
          const kw::vf v0 = kw::load(x + i0 * 768 + j0, lanes);
          const float v1 = kw::get(m + 0);
          const kw::vf v2 = kw::splat<kw::vf>(v1);
          const kw::vf v3 = v0 - v2;
          const kw::vf v4 = v3 * v3;
          acc0.add(v4, lanes);
        };
        kw::Sum<kw::vf> acc0_0;
        kw::Sum<kw::vf> acc0_1;
        kw::Sum<kw::vf> acc0_2;
        kw::Sum<kw::vf> acc0_3;
        {
          int64_t at = 0;
          for (; at + 64 <= 768; at += 64) {
            point(at, kw::W, acc0_0);
            point(at + 16, kw::W, acc0_1);
            point(at + 32, kw::W, acc0_2);
            point(at + 48, kw::W, acc0_3);
          }
          for (; at + kw::W <= 768; at += kw::W) point(at, kw::W, acc0_0);
        }
        acc0_0.merge(acc0_1);
        acc0_0.merge(acc0_2);
        acc0_0.merge(acc0_3);
        const float result0 = acc0_0.fold();
        const float v0 = result0 * 0.0013020834f;
        const float v1 = v0 + 1e-05f;
        const float v2 = kw::rsqrt(v1);
        kw::put(r + 0, v2);
      }
      {
        const auto point = [&](const int64_t j0, const int lanes) __attribute__((always_inline)) {
          const kw::vf v0 = kw::load(x + i0 * 768 + j0, lanes);
          const float v1 = kw::get(m + 0);
          const kw::vf v2 = kw::splat<kw::vf>(v1);
          const kw::vf v3 = v0 - v2;
          const float v4 = kw::get(r + 0);
          const kw::vf v5 = kw::splat<kw::vf>(v4);
          const kw::vf v6 = v3 * v5;
          const kw::vf v7 = kw::load(g + j0, lanes);
          const kw::vf v8 = v6 * v7;
          kw::store(y + i0 * 768 + j0, v8, lanes);
        };
        int64_t at = 0;
        for (; at + kw::W <= 768; at += kw::W) point(at, kw::W);
      }
    }
  });
}
