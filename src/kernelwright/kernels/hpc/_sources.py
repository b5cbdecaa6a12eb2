"""The family's space of schedules, and the C++ function of a point in it.

Each source is one file without includes of ours: functions named after the kernel, for GCC or Clang with ``-fopenmp``.
Matrices are row-major; CSR indices are ``int``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

_DTYPES = {"float32": "float", "float64": "double"}


@dataclass(frozen=True)
class Schedule:
    """How a kernel runs: ``lanes`` of a vector, ``rows`` of a matrix at once, ``block`` lines of a plane at once,
    ``serial`` elements up to which one thread does it all; rows up to ``narrow`` elements of a matrix of more than
    ``large`` go one by one.
    """

    dtype: str = "float64"
    lanes: int = 4
    rows: int = 6
    block: int = 32
    serial: int = 16384
    narrow: int = 2048
    large: int = 1 << 20


def schedules(kernel: str, dtype: str = "float64") -> Iterator[Schedule]:
    """The points worth trying, best guess first."""
    wide = 64 if kernel == "axpy" else 32  # bytes
    first = Schedule(dtype, lanes=wide // (8 if dtype == "float64" else 4))
    yield first
    if kernel == "gemv":
        yield from (replace(first, rows=rows) for rows in (1, 4))
    if kernel == "jacobi":
        yield from (replace(first, block=block) for block in (16, 64))


def source(kernel: str, schedule: Schedule | None = None) -> str:
    """The C++ text of a kernel, one of :data:`KERNELS`; for the best guess where no schedule is given."""
    schedule = schedule or next(schedules(kernel))
    values = {
        "REAL": _DTYPES[schedule.dtype],
        "LANES": str(schedule.lanes),
        "ROWS": str(schedule.rows),
        "BLOCK": str(schedule.block),
        "SERIAL": str(schedule.serial),
        "NARROW": str(schedule.narrow),
        "LARGE": str(schedule.large),
    }
    text = _TEXTS[kernel]
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


# A vector that need not lie on its own alignment.
_VECTOR = (
    "typedef @REAL@ lanes __attribute__((vector_size(@LANES@ * sizeof(@REAL@)), aligned(sizeof(@REAL@)), may_alias));\n"
)

_AXPY = (
    """// y = a * x + y
#include <omp.h>
#include <stdint.h>

"""
    + _VECTOR
    + """
static void part_of(long begin, long end, @REAL@ a, const @REAL@* x, @REAL@* y) {
  long i = begin;
  for (; i < end && (uintptr_t)(y + i) % sizeof(lanes); ++i) y[i] += a * x[i];  // no store across a line of the cache
#pragma GCC unroll 4
  for (; i + @LANES@ <= end; i += @LANES@) *(lanes*)(y + i) += a * *(const lanes*)(x + i);
  for (; i < end; ++i) y[i] += a * x[i];
}

void axpy(long n, @REAL@ a, const @REAL@* x, @REAL@* y) {
  if (n <= @SERIAL@) return part_of(0, n, a, x, y);
#pragma omp parallel
  {
    const long part = omp_get_thread_num(), parts = omp_get_num_threads();
    part_of(n * part / parts, n * (part + 1) / parts, a, x, y);
  }
}
"""
)

_GEMV = (
    "// y = A * x, A with m rows of n elements; @ROWS@ rows share each vector of x\n"
    + _VECTOR
    + """
static @REAL@ fold(lanes v) {
  @REAL@ sum = 0;
  for (int l = 0; l < @LANES@; ++l) sum += v[l];
  return sum;
}

// R rows from `row` on.
template <int R>
static void rows_times(const @REAL@* A, long n, const @REAL@* x, @REAL@* y, long row) {
  lanes sum[R][2] = {};
  const @REAL@* at = A + row * n;
  long j = 0;
  for (; j + 2 * @LANES@ <= n; j += 2 * @LANES@)
    for (int half = 0; half < 2; ++half) {
      const lanes v = *(const lanes*)(x + j + half * @LANES@);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) sum[r][half] += *(const lanes*)(at + r * n + j + half * @LANES@) * v;
    }
  for (int r = 0; r < R; ++r) {
    @REAL@ rest = fold(sum[r][0] + sum[r][1]);
    for (long k = j; k < n; ++k) rest += at[r * n + k] * x[k];
    y[row + r] = rest;
  }
}

template <int R>
static void all_rows(long m, long n, const @REAL@* A, const @REAL@* x, @REAL@* y) {
  const long blocks = m / R;
#pragma omp parallel for schedule(static)
  for (long block = 0; block < blocks; ++block) rows_times<R>(A, n, x, y, block * R);
  for (long row = blocks * R; row < m; ++row) rows_times<1>(A, n, x, y, row);
}

void gemv(long m, long n, const @REAL@* A, const @REAL@* x, @REAL@* y) {
  if (m * n <= @SERIAL@)
    for (long row = 0; row < m; ++row) rows_times<1>(A, n, x, y, row);
  else if (n <= @NARROW@ && m * n > @LARGE@)
    all_rows<1>(m, n, A, x, y);  // x stays in the first cache, and one stream of A is read fastest from memory
  else
    all_rows<@ROWS@>(m, n, A, x, y);
}
"""
)

# Rows that belong to a part of the elements, so that long rows do not all fall to one thread.
_ROWS = """#include <omp.h>

// The first row of part `part` of `parts`, each with about as many elements.
static long first_row(long n, const int* row_ptr, int part, int parts) {
  const long wanted = (row_ptr[n] - (long)row_ptr[0] + n) * part / parts + row_ptr[0];
  long low = 0, high = n;
  while (low < high) {
    const long middle = (low + high) / 2;
    if (row_ptr[middle] + middle < wanted) low = middle + 1;
    else high = middle;
  }
  return part == parts ? n : low;
}

static @REAL@ row_times(const int* col_idx, const @REAL@* val, const @REAL@* x, long begin, long end) {
  @REAL@ even = 0, odd = 0;
  long k = begin;
  for (; k + 2 <= end; k += 2) {
    even += val[k] * x[col_idx[k]];
    odd += val[k + 1] * x[col_idx[k + 1]];
  }
  return k < end ? even + odd + val[k] * x[col_idx[k]] : even + odd;
}
"""

_SPMV = (
    "// y = A * x, A with n rows in CSR form\n"
    + _ROWS
    + """
void spmv(long n, const int* row_ptr, const int* col_idx, const @REAL@* val, const @REAL@* x, @REAL@* y) {
#pragma omp parallel if (n > @SERIAL@ / 8)
  {
    const int part = omp_get_thread_num(), parts = omp_get_num_threads();
    const long end = first_row(n, row_ptr, part + 1, parts);
    for (long row = first_row(n, row_ptr, part, parts); row < end; ++row)
      y[row] = row_times(col_idx, val, x, row_ptr[row], row_ptr[row + 1]);
  }
}
"""
)

_JACOBI = """// One sweep of the seven-point stencil inside: next = (sum of the six neighbours of u) / 6
void jacobi(long nx, long ny, long nz, const @REAL@* __restrict__ u, @REAL@* __restrict__ next) {
  const long plane = ny * nz;
  const @REAL@ sixth = (@REAL@)1 / 6;
  // Blocks of lines: three planes of a block stay in the cache while the next plane is computed.
#pragma omp parallel for collapse(2) schedule(static) if (nx * plane > @SERIAL@)
  for (long i = 1; i < nx - 1; ++i)
    for (long block = 1; block < ny - 1; block += @BLOCK@) {
      const long end = block + @BLOCK@ < ny - 1 ? block + @BLOCK@ : ny - 1;
      for (long j = block; j < end; ++j) {
        const @REAL@* at = u + i * plane + j * nz;
        @REAL@* to = next + i * plane + j * nz;
#pragma omp simd
        for (long k = 1; k < nz - 1; ++k)
          to[k] = ((at[k - plane] + at[k + plane]) + (at[k - nz] + at[k + nz]) + (at[k - 1] + at[k + 1])) * sixth;
      }
    }
}
"""

_CG = (
    "// Solves A * x = b for a symmetric positive definite A in CSR form, from a start in x\n"
    + _ROWS
    + """#include <cmath>
#include <vector>

// Three passes over memory in each iteration: A * p with its product with p, the updates of x and r with the square of
// r, and the next direction. Every thread keeps its own rows throughout.
int cg(long n, const int* row_ptr, const int* col_idx, const @REAL@* val, const @REAL@* b, @REAL@* x, @REAL@ tol,
       int max_iter) {
  std::vector<@REAL@> direction(n), residual(n), product(n);
  @REAL@ *p = direction.data(), *r = residual.data(), *q = product.data();
  double rr = 0, pq = 0, next = 0;
  int done = 0;
#pragma omp parallel if (n > @SERIAL@ / 8)
  {
    const int part = omp_get_thread_num(), parts = omp_get_num_threads();
    const long begin = first_row(n, row_ptr, part, parts), end = first_row(n, row_ptr, part + 1, parts);
    double own = 0;
    for (long i = begin; i < end; ++i) {
      p[i] = r[i] = b[i] - row_times(col_idx, val, x, row_ptr[i], row_ptr[i + 1]);
      own += (double)r[i] * r[i];
    }
#pragma omp atomic
    rr += own;
#pragma omp barrier
    for (int step = 0; step < max_iter && std::sqrt(rr) > tol; ++step) {
      own = 0;
      for (long i = begin; i < end; ++i) {
        q[i] = row_times(col_idx, val, p, row_ptr[i], row_ptr[i + 1]);
        own += (double)p[i] * q[i];
      }
#pragma omp atomic
      pq += own;
#pragma omp barrier
      const @REAL@ alpha = rr / pq;
      own = 0;
#pragma omp simd reduction(+ : own)
      for (long i = begin; i < end; ++i) {
        x[i] += alpha * p[i];
        r[i] -= alpha * q[i];
        own += (double)r[i] * r[i];
      }
#pragma omp atomic
      next += own;
#pragma omp barrier
      const @REAL@ beta = next / rr;
#pragma omp simd
      for (long i = begin; i < end; ++i) p[i] = r[i] + beta * p[i];
#pragma omp barrier
#pragma omp single
      {
        rr = next;
        next = pq = 0;
        done = step + 1;
      }
    }
  }
  return done;
}
"""
)

_TEXTS = {"axpy": _AXPY, "gemv": _GEMV, "spmv": _SPMV, "jacobi": _JACOBI, "cg": _CG}
KERNELS = tuple(_TEXTS)
__all__ = ["KERNELS", "Schedule", "schedules", "source"]
