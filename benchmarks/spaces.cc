// Kernels with knobs, as templates: every choice of their values is one instance (see features.py).
#include <stdint.h>
#include <string.h>
#include <time.h>

template <int width>
struct Vector {
  typedef float type __attribute__((vector_size(4 * width), aligned(4), may_alias));
};

// c = a @ b: tiles of `rows` x `vectors` of some lanes in registers, `depth` steps at a time.
constexpr int M = 240, N = 480, K = 512;
template <int lanes, int rows, int vectors, int depth>
void product(const float* a, const float* b, float* c) {
  using V = typename Vector<lanes>::type;
  constexpr int width = lanes * vectors;
  memset(c, 0, sizeof(float) * M * N);
  for (int k0 = 0; k0 < K; k0 += depth)
    for (int i = 0; i < M; i += rows)
      for (int j = 0; j < N; j += width) {
        V sum[rows][vectors];
        for (int r = 0; r < rows; ++r)
          for (int v = 0; v < vectors; ++v) sum[r][v] = *(const V*)(c + (i + r) * N + j + lanes * v);
        for (int k = k0; k < k0 + depth; ++k)
          for (int r = 0; r < rows; ++r)
            for (int v = 0; v < vectors; ++v) sum[r][v] += a[(i + r) * K + k] * *(const V*)(b + k * N + j + lanes * v);
        for (int r = 0; r < rows; ++r)
          for (int v = 0; v < vectors; ++v) *(V*)(c + (i + r) * N + j + lanes * v) = sum[r][v];
      }
}

// y = x transposed, in tiles; along: the inner loop reads along rows, or writes along them; ahead: rows prefetched.
constexpr int SIDE = 768;
template <int high, int wide, bool along, int ahead>
void transposition(const float* x, const float*, float* y) {
  for (int i0 = 0; i0 < SIDE; i0 += high)
    for (int j0 = 0; j0 < SIDE; j0 += wide) {
      if (ahead)
        for (int i = i0; i < i0 + high; ++i) __builtin_prefetch(x + i * SIDE + (j0 + ahead * wide) % SIDE);
      if (along) {
        for (int i = i0; i < i0 + high; ++i)
          for (int j = j0; j < j0 + wide; ++j) y[j * SIDE + i] = x[i * SIDE + j];
      } else {
        for (int j = j0; j < j0 + wide; ++j)
          for (int i = i0; i < i0 + high; ++i) y[j * SIDE + i] = x[i * SIDE + j];
      }
    }
}

// y = 3 x 3 convolution of x with w: `results` x `high` x `vectors` of some lanes in registers, some channels at a time.
constexpr int CHANNELS = 32, RESULTS = 32, SIZE = 32, STRIDE = 48, HEIGHT = 34;
template <int lanes, int results, int vectors, int high, int channels>
void convolution(const float* x, const float* w, float* y) {
  using V = typename Vector<lanes>::type;
  memset(y, 0, sizeof(float) * RESULTS * SIZE * SIZE);
  for (int c0 = 0; c0 < CHANNELS; c0 += channels)
    for (int o = 0; o < RESULTS; o += results)
      for (int i = 0; i < SIZE; i += high)
        for (int j = 0; j < SIZE; j += lanes * vectors) {
          V sum[results][high][vectors] = {};
          for (int c = c0; c < c0 + channels; ++c)
            for (int d = 0; d < 9; ++d)
              for (int h = 0; h < high; ++h)
                for (int v = 0; v < vectors; ++v) {
                  const V value = *(const V*)(x + (c * HEIGHT + i + h + d / 3) * STRIDE + j + lanes * v + d % 3);
                  for (int r = 0; r < results; ++r) sum[r][h][v] += w[((o + r) * CHANNELS + c) * 9 + d] * value;
                }
          for (int r = 0; r < results; ++r)
            for (int h = 0; h < high; ++h)
              for (int v = 0; v < vectors; ++v)
                *(V*)(y + ((o + r) * SIZE + i + h) * SIZE + j + lanes * v) += sum[r][h][v];
        }
}

using Kernel = void (*)(const float*, const float*, float*);
static const Kernel kernels[] = {INSTANCES};

extern "C" void run(int number, const float* a, const float* b, float* c) { kernels[number](a, b, c); }

// Nanoseconds of this thread that `calls` calls take.
extern "C" int64_t spend(int number, int calls, const float* a, const float* b, float* c) {
  timespec begin, end;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
  for (int call = 0; call < calls; ++call) kernels[number](a, b, c);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
  return (end.tv_sec - begin.tv_sec) * 1000000000 + end.tv_nsec - begin.tv_nsec;
}
