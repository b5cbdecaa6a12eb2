// Transposed convolutions with a stride: all phases of the result in one pass over the input. And convolutions, as the case
// of one phase.
//
// Lanes run along the input, row after row of a padded copy that is read where it lies: every tap is another offset. A
// register tile holds all residues of some result channels along the row, which then lie side by side in the result.
#pragma once
#include <kw/gemm.h>

namespace kw {
namespace phases {

// A tap outside the row: how far back it reads the padded copy, and where its weights are.
struct Tap {
  int back, weight;
};

// Results that share the taps [first, first + taps): planes x rows of lanes from `lane` on; `plane` and `row` are where the
// first of each lies in the result.
struct Phase {
  int64_t first, taps, planes, rows, lane, plane, row;
};

// Pitches are in elements of the padded copy, of which a row has `lanes` that matter. Lane e of a row begins at result
// begin + e * S of `size`; neighbouring planes and rows of lanes are plane_step and row_step results apart.
struct Shape {
  int64_t units, groups, outs, channels, channel_pitch, plane_pitch, row_pitch, lanes;
  int64_t begin, size, planes, rows, plane_step, row_step;
  int64_t front, copy, chunk;                       // elements before and in a padded copy; tiles per panel of weights
  int64_t weight_group, weight_channel, weight_out;  // strides
};

// The part of an input that becomes one part of a padded copy: channels, planes, rows and columns.
struct Part {
  int64_t size[4], stride[4], pitch[4];
};

template <int STEP, class S>
KW_INLINE vec_t<S> row(const S* p, int n) {
  if constexpr (STEP == 1) return load(p, n);
  else return gather(p, STEP, n);
}
template <int STEP, class S>
KW_ONCE void lay(float* to, const S* from, const Part& part) {
  int64_t whole = part.size[3] / 16 * 16;
  int rest = static_cast<int>(part.size[3] - whole);
  for (int64_t c = 0; c < part.size[0]; ++c)
    for (int64_t z = 0; z < part.size[1]; ++z) {
      const S* p = from + c * part.stride[0] + z * part.stride[1];
      float* d = to + c * part.pitch[0] + z * part.pitch[1];
      for (int64_t y = 0; y < part.size[2]; ++y, p += part.stride[2], d += part.pitch[2]) {
        for (int64_t i = 0; i < whole; i += 16) store(d + i, row<STEP>(p + i * STEP, 16));
        if (rest) store(d + whole, row<STEP>(p + whole * STEP, rest), rest);
      }
    }
}

// B lies at `p`, displaced by each step's offset.
template <int NV>
struct Lying {
  const float* p;
  const int* step;
  template <class R, int USE>
  KW_INLINE void next(R (&v)[USE]) {
    const float* q = p + *step++;
#pragma GCC unroll 32
    for (int j = 0; j < USE; ++j) __builtin_memcpy(&v[j], q + j * gemm::Part<float>::L, sizeof(R));
  }
};

// What the generated code fixes: S residues of OC channels are the rows, NV vectors wide. FULL taps along the row reach
// every residue, one more the first REM of them (0: none).
template <int S_, int OC_, int NV_, int FULL_, int REM_>
struct Tile {
  static constexpr int S = S_, OC = OC_, NV = NV_, FULL = FULL_, REM = REM_, MR = S * OC, WIDE = NV * 16;
  static constexpr int BLOCK = 512;                      // steps summed in one go: errors grow with that
  static constexpr int STEPS = FULL + (REM > 0);         // for each channel and tap outside the row
  static constexpr int WEIGHTS = FULL * MR + REM * OC;  // the same
  int back[STEPS], weight[STEPS][S];

  // Tiles have S * OC rows, residue by residue.
  static KW_ONCE void sum(float* tile, const float* x, const float* w, const int* step, int64_t n) {
    for (int64_t k = 0; k < n * FULL; k += BLOCK)
      gemm::micro<float, MR, NV, NV, false, gemm::PanelA<float, MR>>(
          min<int64_t>(BLOCK, n * FULL - k), w + k * MR, 0, Lying<NV>{x, step + k}, tile, k > 0);
    if constexpr (REM > 0) {
      w += n * FULL * MR, step += n * FULL;
      for (int64_t k = 0; k < n; k += BLOCK)
        gemm::micro<float, REM * OC, NV, NV, false, gemm::PanelA<float, REM * OC>>(
            min<int64_t>(BLOCK, n - k), w + k * REM * OC, 0, Lying<NV>{x, step + k}, tile, true);
    }
  }

  // Residues side by side: [OC][lane][S].
  static KW_ONCE void weave(float* to, const float* tile) {
#pragma GCC unroll 1
    for (int i = 0; i < OC * NV; ++i) {
      float* d = to + i * 16 * S;
      const float* s = tile + i * 16;
      if constexpr (S == 2 || S == 4) {
        vf v[S];
#pragma GCC unroll 4
        for (int j = 0; j < S; ++j) v[j] = load(s + j * OC * WIDE);
        if constexpr (S == 2) {
          store(d, gemm::interleave_low(v[0], v[1]));
          store(d + 16, gemm::interleave_high(v[0], v[1]));
        } else {
          vf a = gemm::interleave_low(v[0], v[2]), b = gemm::interleave_high(v[0], v[2]);
          vf e = gemm::interleave_low(v[1], v[3]), f = gemm::interleave_high(v[1], v[3]);
          store(d, gemm::interleave_low(a, e)), store(d + 16, gemm::interleave_high(a, e));
          store(d + 32, gemm::interleave_low(b, f)), store(d + 48, gemm::interleave_high(b, f));
        }
      } else {
        for (int e = 0; e < 16; ++e)
          for (int j = 0; j < S; ++j) d[e * S + j] = s[j * OC * WIDE + e];
      }
    }
  }

  // The weights of channels of one panel for one phase, and (`step`) the offsets of the phase's steps.
  template <class W>
  KW_ONCE void pack(float* to, const W* w, const Shape& s, const Phase& phase, const Tap* tap, int64_t outs) const {
    for (int part = 0; part < 2; ++part)
      for (int64_t c = 0; c < s.channels; ++c)
        for (int64_t t = phase.first; t < phase.first + phase.taps; ++t)
          for (int f = part ? FULL : 0; f < (part ? STEPS : FULL); ++f)
            for (int j = 0; j < (part ? REM : S); ++j)
              for (int o = 0; o < OC; ++o)
                *to++ = o < outs ? get(w + c * s.weight_channel + o * s.weight_out + tap[t].weight + weight[f][j]) : 0;
  }
  KW_ONCE void offsets(int* to, const Shape& s, const Phase& phase, const Tap* tap) const {
    for (int part = 0; part < 2; ++part)
      for (int64_t c = 0; c < s.channels; ++c)
        for (int64_t t = phase.first; t < phase.first + phase.taps; ++t)
          for (int f = part ? FULL : 0; f < (part ? STEPS : FULL); ++f)
            *to++ = static_cast<int>(c * s.channel_pitch - tap[t].back - back[f]);
  }
};

// The results of one tile: `from` counts lanes within a plane, of which the phase has `rows` rows.
template <class Tl, class Finish>
KW_INLINE void finish_tile(const Shape& s, const Phase& phase, int64_t unit, int64_t plane, int64_t from, int64_t out,
                           const float* woven, const Finish& finish) {
  int64_t end = min(from + Tl::WIDE, (phase.rows - 1) * s.row_pitch + s.lanes);
  int outs = static_cast<int>(min<int64_t>(Tl::OC, s.outs - out));
  for (int64_t lane = from; lane < end;) {
    int64_t row = lane / s.row_pitch, e = lane % s.row_pitch, run = min(end - lane, s.lanes - e);
    int64_t first = s.begin + e * Tl::S, skip = max<int64_t>(0, -first), last = min(first + run * Tl::S, s.size);
    if (run > 0 && first + skip < last)
      finish((unit * s.planes + phase.plane + plane * s.plane_step) * s.rows + phase.row + row * s.row_step,
             woven + (lane - from) * Tl::S + skip, out, outs, first + skip, static_cast<int>(last - first - skip));
    lane += min(end - lane, s.row_pitch - e);
  }
}

// Threads pack the weights together, then share the tiles of all units (groups of images) evenly. `enter(unit, to)` lays
// the unit's input out between zeros.
template <class Tl, int PHASES, class W, class Enter, class Finish>
KW_INLINE void product(const Tl& tl, const Shape& s, const Phase (&phase)[PHASES], const Tap* tap, int threads,
                       char* scratch, const W* w, const Enter& enter, const Finish& finish) {
  int64_t taps = phase[PHASES - 1].first + phase[PHASES - 1].taps, panels = ceil_div(s.outs, Tl::OC);
  int64_t each = s.channels * Tl::WEIGHTS, group_size = taps * each * panels, tiles[PHASES], all = 0;
  for (int i = 0; i < PHASES; ++i) {
    tiles[i] = ceil_div((phase[i].rows - 1) * s.row_pitch + s.lanes, Tl::WIDE);
    all += tiles[i] * phase[i].planes;
  }
  float* packed = reinterpret_cast<float*>(scratch);
  int* steps = reinterpret_cast<int*>(packed + ceil_div(s.groups * group_size, 16) * 16);
  float* copies = reinterpret_cast<float*>(steps + ceil_div(taps * s.channels * Tl::STEPS, 16) * 16);
  parallel(threads, [&](int thread, int count) KW_ONCE {
    int64_t items = s.groups * PHASES * panels;
    for (int64_t i = items * thread / count; i < items * (thread + 1) / count; ++i) {
      int64_t group = i / (PHASES * panels), p = i / panels % PHASES, panel = i % panels;
      const Phase& ph = phase[p];
      if (group == 0 && panel == 0) tl.offsets(steps + ph.first * s.channels * Tl::STEPS, s, ph, tap);
      tl.pack(packed + group * group_size + (ph.first * panels + panel * ph.taps) * each,
              w + group * s.weight_group + panel * Tl::OC * s.weight_out, s, ph, tap, s.outs - panel * Tl::OC);
    }
    float* copy = copies + thread * s.copy;
    for (int64_t i = 0; i < s.copy; i += 16) store(copy + i, vf{});
    barrier(count);
    int64_t entered = -1, end = s.units * all * (thread + 1) / count;
    for (int64_t i = s.units * all * thread / count; i < end;) {
      int64_t unit = i / all, rest = i % all, p = 0;
      for (; rest >= tiles[p] * phase[p].planes; ++p) rest -= tiles[p] * phase[p].planes;
      const Phase& ph = phase[p];
      int64_t plane = rest / tiles[p], q = rest % tiles[p], run = min(min(tiles[p] - q, end - i), s.chunk);
      if (unit != entered) enter(unit, copy + s.front);
      entered = unit;
      const float* from = packed + unit % s.groups * group_size + ph.first * panels * each;
      const float* x = copy + s.front + ph.lane + plane * s.plane_pitch;
      const int* step = steps + ph.first * s.channels * Tl::STEPS;
      for (int64_t panel = 0; panel < panels; ++panel)
        for (int64_t t = q; t < q + run; ++t) {
          alignas(64) float tile[Tl::MR * Tl::WIDE], woven[Tl::S > 1 ? Tl::MR * Tl::WIDE : 16];
          Tl::sum(tile, x + t * Tl::WIDE, from + panel * ph.taps * each, step, s.channels * ph.taps);
          if constexpr (Tl::S > 1) Tl::weave(woven, tile);
          finish_tile<Tl>(s, ph, unit, plane, t * Tl::WIDE, panel * Tl::OC, Tl::S > 1 ? woven : tile, finish);
        }
      i += run;
    }
  });
}

}  // namespace phases
}  // namespace kw
