// Direct convolution with result channels as lanes: neighbouring results of a row are the rows of a register tile, and
// their inputs are broadcast from where they lie. Nothing is padded or packed but the weights, and taps that fall outside
// the tensor are not multiplied.
#pragma once
#include <kw/gemm.h>

namespace kw {
namespace direct {

// A run of steps: inputs from `a`, weights [step][NV vectors] from `b`.
struct Run {
  const float *a, *b;
};

// The results [first, first + rows) of a row, and for each of KW taps which of them it reaches: `count` from `from` on.
// `order` lists the taps so that those that reach the same results are neighbours, the widest first.
template <int KW>
struct Piece {
  int first, rows, from[KW], count[KW], order[KW];
};

// Sizes: groups of channels; panels of result channels; units are rows of results. kc channels are one block; `chunk`
// units keep their partial sums at once.
struct Shape {
  int64_t groups, panels, units, outs, channels, kc, chunk;
};

// tile[ROWS][NV vectors] (+)= sum over runs; AS elements between neighbouring rows, KS between steps of the input.
template <int ROWS, int NV, int AS, int KS>
KW_ONCE void micro(const Run* run, int runs, int64_t kc, float* tile, bool add) {
  typedef gemm::Part<float>::type R;
  constexpr int N = NV * gemm::PARTS, L = gemm::Part<float>::L;
  R acc[ROWS][N];
#pragma GCC unroll 32
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 32
    for (int j = 0; j < N; ++j) acc[i][j] = R{};
#pragma GCC unroll 1
  for (int r = 0; r < runs; ++r) {
    const float *a = run[r].a, *b = run[r].b;
#pragma GCC unroll 1
    for (int64_t k = 0; k < kc; ++k, a += KS, b += NV * 16) {
      R v[N];
#pragma GCC unroll 32
      for (int j = 0; j < N; ++j) v[j] = *reinterpret_cast<const R*>(b + j * L);
#pragma GCC unroll 32
      for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 32
        for (int j = 0; j < N; ++j) acc[i][j] += a[i * AS] * v[j];
    }
  }
#pragma GCC unroll 32
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 32
    for (int j = 0; j < N; ++j) {
      R* to = reinterpret_cast<R*>(tile + i * NV * 16 + j * L);
      *to = add ? *to + acc[i][j] : acc[i][j];
    }
}

constexpr int STEPS = 512;  // summed in one go, about: errors grow with that and with the number of such blocks

// What the generated code fixes: a tile of R x NV vectors; KW taps along the row, TAP elements apart; OUTER further taps;
// COUNTS: every number of results that a tap may reach.
template <int R_, int NV, int AS, int KS, int KW_, int TAP, int OUTER_, int... COUNTS>
struct Tile {
  static constexpr int R = R_, NR = NV * 16, KW = KW_, OUTER = OUTER_, TAPS = KW_ * OUTER_, AREA = R * NR;

  static KW_INLINE void call(int rows, const Run* run, int runs, int64_t kc, float* tile, bool add) {
    (void)((rows == COUNTS && (micro<COUNTS, NV, AS, KS>(run, runs, kc, tile, add), true)) || ...);
  }

  // One piece and one block of channels. `at` and `which`: the n further taps that are inside, as offsets and numbers.
  static KW_ONCE void sum(const Piece<KW>& piece, const float* x, const int64_t* at, const int* which, int n,
                          const float* w, int64_t kc, float* tile, bool add) {
    Run run[TAPS];
    const int most = static_cast<int>(max<int64_t>(1, STEPS / kc));
    for (int j = 0; j < KW;) {
      int from = piece.from[piece.order[j]], rows = piece.count[piece.order[j]], runs = 0;
      for (; j < KW && piece.from[piece.order[j]] == from && piece.count[piece.order[j]] == rows; ++j) {
        int tap = piece.order[j];
        for (int o = 0; o < n; ++o)
          run[runs++] = {x + at[o] + int64_t(piece.first + from) * AS + tap * TAP, w + (which[o] * KW + tap) * kc * NR};
      }
      if (!rows || !runs) continue;
      if (!add && rows < piece.rows)
        for (int i = 0; i < piece.rows * NR; i += 16) store(tile + i, vf{});
      add |= rows < piece.rows;
      for (int r = 0; r < runs; r += most, add = true) call(rows, run + r, min(most, runs - r), kc, tile + from * NR, add);
    }
    if (!add)
      for (int i = 0; i < piece.rows * NR; i += 16) store(tile + i, vf{});
  }
};

// Weights to [place][lane]: `steps` source offsets in the order in which they lie, `place` where each belongs.
template <int NR, class S>
KW_ONCE void pack(float* to, const S* src, const int64_t* lane, int width, const int64_t* step, const int64_t* place,
                  int64_t n) {
  for (int g = 0; g < NR; g += 16) {
    int w = max(0, min(16, width - g));
    bool run = w == 16 && lane[g + w - 1] - lane[g] == w - 1;
    for (int64_t i = 0; i < n;) {
      if (!run && w && i + 16 <= n && step[i + 15] - step[i] == 15) {
        vf rows[16];
#pragma GCC unroll 16
        for (int r = 0; r < 16; ++r) rows[r] = load(src + lane[g + (r < w ? r : 0)] + step[i]);
        gemm::transpose(rows);
#pragma GCC unroll 16
        for (int r = 0; r < 16; ++r) store(to + place[i + r] + g, rows[r]);
        i += 16;
        continue;
      }
      if (run) store(to + place[i] + g, load(src + lane[g] + step[i]));
      else
        for (int j = 0; j < 16; ++j) to[place[i] + g + j] = j < w ? get(src + lane[g + j] + step[i]) : 0;
      ++i;
    }
  }
}

// A tile [rows][NR] to [NR][PITCH].
template <int NR, int PITCH>
KW_ONCE void turn(float* to, const float* tile, int rows) {
  for (int r = 0; r < rows; r += 16)
    for (int g = 0; g < NR; g += 16) {
      vf v[16];
#pragma GCC unroll 16
      for (int e = 0; e < 16; ++e) v[e] = load(tile + min(r + e, rows - 1) * NR + g);
      gemm::transpose(v);
#pragma GCC unroll 16
      for (int e = 0; e < 16; ++e) store(to + (g + e) * PITCH + r, v[e]);
    }
}

// Threads share (groups x panels x units) evenly. `unit(group, unit, at, which)` lists the further taps of a unit that are
// inside; `finish(unit, tile, first, rows, out, width)` ends a tile; `pack(group, panel, c, kc, to)` brings the weights of
// channels [c, c + kc) to `to`. SHARED: threads pack all weights together before; else each block is packed where it is
// used, while it is in the nearest caches, which needs all units of a thread to be one chunk.
template <class Tl, bool SHARED, int PIECES, class Pack, class Unit, class Finish>
KW_INLINE void product(const Shape& s, const Piece<Tl::KW> (&pieces)[PIECES], int threads, char* scratch, const float* x,
                       int64_t step, const Pack& pack, const Unit& unit, const Finish& finish) {
  constexpr int64_t EACH = Tl::TAPS * Tl::NR;
  int64_t items = s.groups * s.panels, size = s.channels * EACH, all = items * s.units;
  int64_t partials = (s.channels <= s.kc ? 1 : s.chunk * PIECES) * Tl::AREA, block = SHARED ? 0 : s.kc * EACH;
  float* packed = reinterpret_cast<float*>(scratch);
  parallel(threads, [&](int thread, int count) KW_ONCE {
    float* own = packed + (SHARED ? items * size : 0) + thread * (partials + block);
    float* partial = own + block;
    if (SHARED) {
      for (int64_t i = items * thread / count; i < items * (thread + 1) / count; ++i)
        pack(i / s.panels, i % s.panels, 0, s.channels, packed + i * size);
      barrier(count);
    }
    for (int64_t i = all * thread / count, end = all * (thread + 1) / count; i < end;) {
      int64_t item = i / s.units, u0 = i % s.units, u1 = min(min(s.units, u0 + end - i), u0 + s.chunk);
      int64_t group = item / s.panels, panel = item % s.panels, out = panel * Tl::NR;
      for (int64_t c = 0; c < s.channels; c += s.kc) {
        int64_t kc = min(s.kc, s.channels - c);
        const float* w = SHARED ? packed + item * size + c * EACH : own;
        if (!SHARED) pack(group, panel, c, kc, own);
        for (int64_t u = u0; u < u1; ++u) {
          int64_t at[Tl::OUTER];
          int which[Tl::OUTER], n = unit(group, u, at, which);
          for (int p = 0; p < PIECES; ++p) {
            float* tile = s.channels <= s.kc ? partial : partial + ((u - u0) * PIECES + p) * Tl::AREA;
            Tl::sum(pieces[p], x + c * step, at, which, n, w, kc, tile, c > 0);
            if (c + kc >= s.channels)
              finish(group * s.units + u, tile, pieces[p].first, pieces[p].rows, out,
                     static_cast<int>(min<int64_t>(Tl::NR, s.outs - out)));
          }
        }
      }
      i += u1 - u0;
    }
  });
}

}  // namespace direct
}  // namespace kw
