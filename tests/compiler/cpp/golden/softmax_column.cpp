static void softmax_column(const float* KW_RESTRICT x, float* KW_RESTRICT y) {
  kw::parallel_items(16, 7, [&](const int64_t item_begin, const int64_t item_end) {
    alignas(64) float m[64];
    alignas(64) float s[64];
    for (int64_t item = item_begin; item < item_end; ++item) {
      const int64_t j0_begin = item * 64;
      const int64_t j0_end = kw::min<int64_t>(j0_begin + 64, 1000);
      {
        const auto add_point = [&](const int64_t i0, const int64_t j0, const int lanes, auto& acc0) __attribute__((always_inline)) {
          const kw::vf v0 = kw::load(x + i0 * 1000 + j0, lanes);
          acc0.add(v0);
        };
        const auto points = [&](const int64_t j0_0) {
          kw::Max<kw::vf> acc0_0;
          kw::Max<kw::vf> acc0_1;
          kw::Max<kw::vf> acc0_2;
          kw::Max<kw::vf> acc0_3;
          for (int64_t i0 = 0; i0 < 64; ++i0) {
            add_point(i0, j0_0, kw::W, acc0_0);
            add_point(i0, j0_0 + 16, kw::W, acc0_1);
            add_point(i0, j0_0 + 32, kw::W, acc0_2);
            add_point(i0, j0_0 + 48, kw::W, acc0_3);
          }
          {
            const int64_t j0 = j0_0;
            const kw::vf result0 = acc0_0.value();
            kw::store(m + j0 + j0_begin * (-1), result0, kw::W);
          }
          {
            const int64_t j0 = j0_0 + 16;
            const kw::vf result0 = acc0_1.value();
            kw::store(m + j0 + j0_begin * (-1), result0, kw::W);
          }
          {
            const int64_t j0 = j0_0 + 32;
            const kw::vf result0 = acc0_2.value();
            kw::store(m + j0 + j0_begin * (-1), result0, kw::W);
          }
          {
            const int64_t j0 = j0_0 + 48;
            const kw::vf result0 = acc0_3.value();
            kw::store(m + j0 + j0_begin * (-1), result0, kw::W);
          }
        };
        const auto rest = [&](const int64_t j0_0) {
          kw::Max<kw::vf> acc0_0;
          kw::Max<kw::vf> acc0_1;
          kw::Max<kw::vf> acc0_2;
          for (int64_t i0 = 0; i0 < 64; ++i0) {
            add_point(i0, j0_0, kw::W, acc0_0);
            add_point(i0, j0_0 + 16, kw::W, acc0_1);
            add_point(i0, j0_0 + 32, 8, acc0_2);
          }
          {
            const int64_t j0 = j0_0;
            const kw::vf result0 = acc0_0.value();
            kw::store(m + j0 + j0_begin * (-1), result0, kw::W);
          }
          {
            const int64_t j0 = j0_0 + 16;
            const kw::vf result0 = acc0_1.value();
            kw::store(m + j0 + j0_begin * (-1), result0, kw::W);
          }
          {
            const int64_t j0 = j0_0 + 32;
            const kw::vf result0 = acc0_2.value();
            kw::store(m + j0 + j0_begin * (-1), result0, 8);
          }
        };
        int64_t at = j0_begin;
        for (; at + 64 <= j0_end; at += 64) points(at);
        if (at < j0_end) rest(at);
      }
      {
        const auto add_point = [&](const int64_t i0, const int64_t j0, const int lanes, auto& acc0) __attribute__((always_inline)) {
          const kw::vf v0 = kw::load(x + i0 * 1000 + j0, lanes);
          const kw::vf v1 = kw::load(m + j0 + j0_begin * (-1), lanes);
          const kw::vf v2 = v0 - v1;
          const kw::vf v3 = kw::exp(v2);
          acc0.add(v3);
        };
        const auto points = [&](const int64_t j0_0) {
          kw::Sum<kw::vf> acc0_0;
          kw::Sum<kw::vf> acc0_1;
          kw::Sum<kw::vf> acc0_2;
          kw::Sum<kw::vf> acc0_3;
          for (int64_t i0 = 0; i0 < 64; ++i0) {
            add_point(i0, j0_0, kw::W, acc0_0);
            add_point(i0, j0_0 + 16, kw::W, acc0_1);
            add_point(i0, j0_0 + 32, kw::W, acc0_2);
            add_point(i0, j0_0 + 48, kw::W, acc0_3);
          }
          {
            const int64_t j0 = j0_0;
            const kw::vf result0 = acc0_0.value();
            kw::store(s + j0 + j0_begin * (-1), result0, kw::W);
          }
          {
            const int64_t j0 = j0_0 + 16;
            const kw::vf result0 = acc0_1.value();
            kw::store(s + j0 + j0_begin * (-1), result0, kw::W);
          }
          {
            const int64_t j0 = j0_0 + 32;
            const kw::vf result0 = acc0_2.value();
            kw::store(s + j0 + j0_begin * (-1), result0, kw::W);
          }
          {
            const int64_t j0 = j0_0 + 48;
            const kw::vf result0 = acc0_3.value();
            kw::store(s + j0 + j0_begin * (-1), result0, kw::W);
          }
        };
        const auto rest = [&](const int64_t j0_0) {
          kw::Sum<kw::vf> acc0_0;
          kw::Sum<kw::vf> acc0_1;
          kw::Sum<kw::vf> acc0_2;
          for (int64_t i0 = 0; i0 < 64; ++i0) {
            add_point(i0, j0_0, kw::W, acc0_0);
            add_point(i0, j0_0 + 16, kw::W, acc0_1);
            add_point(i0, j0_0 + 32, 8, acc0_2);
          }
          {
            const int64_t j0 = j0_0;
            const kw::vf result0 = acc0_0.value();
            kw::store(s + j0 + j0_begin * (-1), result0, kw::W);
          }
          {
            const int64_t j0 = j0_0 + 16;
            const kw::vf result0 = acc0_1.value();
            kw::store(s + j0 + j0_begin * (-1), result0, kw::W);
          }
          {
            const int64_t j0 = j0_0 + 32;
            const kw::vf result0 = acc0_2.value();
            kw::store(s + j0 + j0_begin * (-1), result0, 8);
          }
        };
        int64_t at = j0_begin;
        for (; at + 64 <= j0_end; at += 64) points(at);
        if (at < j0_end) rest(at);
      }
      {
        for (int64_t i0 = 0; i0 < 64; ++i0) {
          const auto point = [&](const int64_t j0, const int lanes) __attribute__((always_inline)) {
            const kw::vf v0 = kw::load(x + i0 * 1000 + j0, lanes);
            const kw::vf v1 = kw::load(m + j0 + j0_begin * (-1), lanes);
            const kw::vf v2 = v0 - v1;
            const kw::vf v3 = kw::exp(v2);
            const kw::vf v4 = kw::load(s + j0 + j0_begin * (-1), lanes);
            const kw::vf v5 = v3 / v4;
            kw::store(y + i0 * 1000 + j0, v5, lanes);
          };
          int64_t at = j0_begin;
          for (; at + kw::W <= j0_end; at += kw::W) point(at, kw::W);
          if (at < j0_end) point(at, int(j0_end - at));
        }
      }
    }
  });
}
