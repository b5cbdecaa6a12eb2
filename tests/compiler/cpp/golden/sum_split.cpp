static void sum_split(const float* KW_RESTRICT x, float* KW_RESTRICT y, char* scratch) {
  auto* KW_RESTRICT partial0 = reinterpret_cast<float*>(scratch + 0);
  kw::parallel_items(32, 1, [&](const int64_t item_begin, const int64_t item_end) {
    for (int64_t item = item_begin; item < item_end; ++item) {
      const int64_t a0_part = item;
      const int64_t a0_begin = a0_part * 32768;
      const int64_t a0_end = kw::min<int64_t>(a0_begin + 32768, 1048576);
      {
        const auto point = [&](const int64_t a0, const int lanes, auto& acc0) __attribute__((always_inline)) {
          const kw::vf v0 = kw::load(x + a0, lanes);
          acc0.add(v0, lanes);
        };
        kw::Total<kw::vf> all0;
        for (int64_t block = a0_begin; block < a0_end; block += 16384) {
          const int64_t block_end = kw::min<int64_t>(block + 16384, a0_end);
          kw::Sum<kw::vf> acc0_0;
          kw::Sum<kw::vf> acc0_1;
          kw::Sum<kw::vf> acc0_2;
          kw::Sum<kw::vf> acc0_3;
          {
            int64_t at = block;
            for (; at + 64 <= block_end; at += 64) {
              point(at, kw::W, acc0_0);
              point(at + 16, kw::W, acc0_1);
              point(at + 32, kw::W, acc0_2);
              point(at + 48, kw::W, acc0_3);
            }
            for (; at + kw::W <= block_end; at += kw::W) point(at, kw::W, acc0_0);
            if (at < block_end) point(at, int(block_end - at), acc0_0);
          }
          acc0_0.merge(acc0_1);
          acc0_0.merge(acc0_2);
          acc0_0.merge(acc0_3);
          all0.merge_fold(acc0_0);
        }
        const float result0 = all0.fold();
        kw::put(partial0 + a0_part, result0);
      }
    }
  });
  kw::parallel_items(1, 4217, [&](const int64_t item_begin, const int64_t item_end) {
    for (int64_t item = item_begin; item < item_end; ++item) {
      {
        const auto point = [&](const int64_t a0_part, const int lanes, auto& acc0) __attribute__((always_inline)) {
          const kw::vf v0 = kw::load(partial0 + a0_part, lanes);
          acc0.add(v0, lanes);
        };
        kw::Sum<kw::vf> acc0_0;
        kw::Sum<kw::vf> acc0_1;
        {
          int64_t at = 0;
          for (; at + 32 <= 32; at += 32) {
            point(at, kw::W, acc0_0);
            point(at + 16, kw::W, acc0_1);
          }
          for (; at + kw::W <= 32; at += kw::W) point(at, kw::W, acc0_0);
        }
        acc0_0.merge(acc0_1);
        const float result0 = acc0_0.fold();
        kw::put(y + 0, result0);
      }
    }
  });
}
