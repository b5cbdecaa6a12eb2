static void max_sweep(const float* KW_RESTRICT x, float* KW_RESTRICT y, char* scratch) {
  auto* KW_RESTRICT partial0 = reinterpret_cast<float*>(scratch + 0);
  kw::parallel_items(32 * 2, 1, [&](const int64_t item_begin, const int64_t item_end) {
    for (int64_t item = item_begin; item < item_end; ++item) {
      const int64_t a1_begin = item % 2 * 1024;
      const int64_t a1_end = a1_begin + 1024;
      const int64_t a1_rest = item / 2;
      const int64_t a0_part = a1_rest;
      const int64_t a0_begin = a0_part * 64;
      const int64_t a0_end = kw::min<int64_t>(a0_begin + 64, 2048);
      {
        const auto add_point = [&](const int64_t a0, const int64_t a1, const int lanes, auto& acc0) __attribute__((always_inline)) {
          __builtin_prefetch(x + a0 * 2048 + a1 + 16384, 0, 2);
          const kw::vf v0 = kw::load(x + a0 * 2048 + a1, lanes);
          acc0.add(v0);
        };
        kw::Max<kw::vf> acc0[64];
        int64_t down = a0_begin;
        for (; down + 8 <= a0_end; down += 8) {
          int v = 0;
          int64_t at = a1_begin;
          for (; at + kw::W <= a1_end; at += kw::W, ++v) {
            auto state0 = acc0[v];
            add_point(down, at, kw::W, state0);
            add_point(down + 1, at, kw::W, state0);
            add_point(down + 2, at, kw::W, state0);
            add_point(down + 3, at, kw::W, state0);
            add_point(down + 4, at, kw::W, state0);
            add_point(down + 5, at, kw::W, state0);
            add_point(down + 6, at, kw::W, state0);
            add_point(down + 7, at, kw::W, state0);
            acc0[v] = state0;
          }
          if (at < a1_end) {
            auto state0 = acc0[v];
            add_point(down, at, int(a1_end - at), state0);
            add_point(down + 1, at, int(a1_end - at), state0);
            add_point(down + 2, at, int(a1_end - at), state0);
            add_point(down + 3, at, int(a1_end - at), state0);
            add_point(down + 4, at, int(a1_end - at), state0);
            add_point(down + 5, at, int(a1_end - at), state0);
            add_point(down + 6, at, int(a1_end - at), state0);
            add_point(down + 7, at, int(a1_end - at), state0);
            acc0[v] = state0;
          }
        }
        for (; down < a0_end; ++down) {
          int v = 0;
          int64_t at = a1_begin;
          for (; at + kw::W <= a1_end; at += kw::W, ++v) {
            auto state0 = acc0[v];
            add_point(down, at, kw::W, state0);
            acc0[v] = state0;
          }
          if (at < a1_end) {
            auto state0 = acc0[v];
            add_point(down, at, int(a1_end - at), state0);
            acc0[v] = state0;
          }
        }
        {
          int v = 0;
          for (int64_t at = a1_begin; at < a1_end; at += kw::W, ++v) {
            const int lanes = int(kw::min<int64_t>(kw::W, a1_end - at));
            {
              const int64_t a1 = at;
              const kw::vf result0 = acc0[v].value();
              kw::store(partial0 + a0_part * 2048 + a1, result0, lanes);
            }
          }
        }
      }
    }
  });
  kw::parallel_items(2, 25, [&](const int64_t item_begin, const int64_t item_end) {
    for (int64_t item = item_begin; item < item_end; ++item) {
      const int64_t a1_begin = item * 1024;
      const int64_t a1_end = a1_begin + 1024;
      {
        const auto add_point = [&](const int64_t a0_part, const int64_t a1, const int lanes, auto& acc0) __attribute__((always_inline)) {
          const kw::vf v0 = kw::load(partial0 + a0_part * 2048 + a1, lanes);
          acc0.add(v0);
        };
        const auto points = [&](const int64_t a1_0) {
          kw::Max<kw::vf> acc0_0;
          kw::Max<kw::vf> acc0_1;
          kw::Max<kw::vf> acc0_2;
          kw::Max<kw::vf> acc0_3;
          for (int64_t a0_part = 0; a0_part < 32; ++a0_part) {
            add_point(a0_part, a1_0, kw::W, acc0_0);
            add_point(a0_part, a1_0 + 16, kw::W, acc0_1);
            add_point(a0_part, a1_0 + 32, kw::W, acc0_2);
            add_point(a0_part, a1_0 + 48, kw::W, acc0_3);
          }
          {
            const int64_t a1 = a1_0;
            const kw::vf result0 = acc0_0.value();
            kw::store(y + a1, result0, kw::W);
          }
          {
            const int64_t a1 = a1_0 + 16;
            const kw::vf result0 = acc0_1.value();
            kw::store(y + a1, result0, kw::W);
          }
          {
            const int64_t a1 = a1_0 + 32;
            const kw::vf result0 = acc0_2.value();
            kw::store(y + a1, result0, kw::W);
          }
          {
            const int64_t a1 = a1_0 + 48;
            const kw::vf result0 = acc0_3.value();
            kw::store(y + a1, result0, kw::W);
          }
        };
        int64_t at = a1_begin;
        for (; at + 64 <= a1_end; at += 64) points(at);
      }
    }
  });
}
