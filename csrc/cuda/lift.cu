// The two products of lifting, on tensor cores. What enters them is rounded to half precision, scaled so that nothing that
// counts is lost: a product's relative error stays under 2^-11, sums are kept in single precision.
#include <cuda_fp16.h>
#include <mma.h>

#include <algorithm>

#include "check.h"
#include "lift.h"

namespace legs4d::cuda {
namespace {

namespace wmma = nvcuda::wmma;
using Accumulator = wmma::fragment<wmma::accumulator, 16, 16, 16, float>;
using Left = wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major>;
using RightByColumns = wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::col_major>;
using RightByRows = wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::row_major>;

constexpr int kThreads = kTilePixels;
constexpr int kWarps = kThreads / 32;
constexpr int kBlock = 16;               // side of a tensor core's matrix
constexpr int kMaxRows = 64;             // rows of a tile taken at once
constexpr int kColumns = 64;             // columns of the table taken at once
constexpr int kPixelStride = kTilePixels + 8, kRowStride = kMaxRows + 8, kOutStride = kColumns + 4;  // no bank conflicts
// The least weight that counts is alpha · transmittance = 4e-7, below what half precision resolves; the greatest is 1.
constexpr float kWeightScale = 1024.0f;

static_assert(kChunk % kBlock == 0 && kRowGroup % kBlock == 0 && kColumnGroup % kBlock == 0 && kMaxRows % kRowGroup == 0);

// A tile's Gaussians and rows.
struct Tile {
  int index, begin, end, rows;
  int64_t first_row, sums;

  __device__ explicit Tile(const TileLists& t) {
    index = t.first_tile + blockIdx.x;
    begin = t.begin[index];
    end = t.end[index];
    first_row = t.row_start[index];
    rows = static_cast<int>(t.row_start[index + 1] - first_row);
    sums = t.sums_start[index];
  }
};

struct SumShared {
  half mixture[kMaxRows * kPixelStride];  // [row, pixel]
  half weights[kChunk * kPixelStride];    // [Gaussian, pixel]
  Splat splats[kChunk];
};

// The rays of a tile, one a thread; a warp has 8 × 4 pixels, so that it is passed by many Gaussians.
struct Ray {
  int left, top;  // of the warp's pixels
  int column;     // in the tile's 256
  float x, y, transmittance = 1.0f;
  bool ended;

  __device__ Ray(const Image& image, int tiles_x, int tiles_y, int tile) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int in_x = warp % 2 * 8, in_y = warp / 2 * 4;
    left = tile % tiles_x * kTileSide + in_x;
    top = tile / tiles_x % tiles_y * kTileSide + in_y;
    const int px = left + lane % 8, py = top + lane / 8;
    column = (in_y + lane / 8) * kTileSide + in_x + lane % 8;
    x = px + 0.5f;
    y = py + 0.5f;
    ended = px >= image.width || py >= image.height;
  }

  // Lays one Gaussian over the ray; returns the weight with which it fills the pixel.
  __device__ float weight_of(const Splat& s) {
    if (s.x1 < left || s.x0 > left + 7 || s.y1 < top || s.y0 > top + 3 || ended) return 0.0f;
    const float dx = x - s.x, dy = y - s.y;
    const float sigma = 0.5f * (s.a * dx * dx + s.c * dy * dy) + s.b * dx * dy;
    const float alpha = fminf(s.opacity * __expf(-sigma), kAlphaMax);
    if (!(sigma >= 0.0f) || alpha < kAlphaMin) return 0.0f;
    const float after = transmittance * (1.0f - alpha);
    if (after <= kTransmittanceMin) {
      ended = true;
      return 0.0f;
    }
    const float weight = alpha * transmittance;
    transmittance = after;
    return weight;
  }
};

// to[i * kPixelStride + p] for `rows` rows of 256 halves, 16 bytes at a time.
__device__ void load_mixture(const half* from, int rows, half* to) {
  constexpr int kPerRow = kTilePixels / 8;
  for (int i = threadIdx.x; i < rows * kPerRow; i += kThreads)
    *reinterpret_cast<uint4*>(to + i / kPerRow * kPixelStride + i % kPerRow * 8) = reinterpret_cast<const uint4*>(from)[i];
}

__global__ void __launch_bounds__(kThreads) sum_tiles_kernel(TileLists lists, Image image, int tiles_x, int tiles_y,
                                                             const half* mixture, float* sums, int32_t* used) {
  extern __shared__ __align__(128) unsigned char memory[];
  SumShared& shared = *reinterpret_cast<SumShared*>(memory);
  const Tile tile(lists);
  int done = 0;
  for (int first = 0; first < tile.rows; first += kMaxRows) {
    const int rows = min(kMaxRows, tile.rows - first);
    __syncthreads();  // the last group's mixture is still being read
    load_mixture(mixture + (tile.first_row + first) * kTilePixels, rows, shared.mixture);
    Ray ray(image, tiles_x, tiles_y, tile.index);
    done = 0;
    for (int begin = tile.begin; begin < tile.end; begin += kChunk) {
      if (__syncthreads_and(ray.ended)) break;  // also: nobody reads the last chunk any more
      const int count = min(kChunk, tile.end - begin);
      if (threadIdx.x < count) shared.splats[threadIdx.x] = lists.splats[lists.pair_splat[begin + threadIdx.x]];
      __syncthreads();
      for (int i = 0; i < kChunk; ++i) {
        const float weight = i < count ? ray.weight_of(shared.splats[i]) : 0.0f;
        shared.weights[i * kPixelStride + ray.column] = __float2half(kWeightScale * weight);
      }
      __syncthreads();
      const int row_blocks = rows / kBlock, blocks = kChunk / kBlock * row_blocks;
      float* to = sums + tile.sums + static_cast<int64_t>(begin - tile.begin) * tile.rows + first;
      for (int block = threadIdx.x / 32; block < blocks; block += kWarps) {
        const int m = block / row_blocks, n = block % row_blocks;
        Accumulator sum;
        wmma::fill_fragment(sum, 0.0f);
        for (int k = 0; k < kTilePixels; k += kBlock) {
          Left left;
          RightByColumns right;
          wmma::load_matrix_sync(left, shared.weights + m * kBlock * kPixelStride + k, kPixelStride);
          wmma::load_matrix_sync(right, shared.mixture + n * kBlock * kPixelStride + k, kPixelStride);
          wmma::mma_sync(sum, left, right, sum);
        }
        for (int e = 0; e < sum.num_elements; ++e) sum.x[e] *= 1.0f / kWeightScale;
        wmma::store_matrix_sync(to + static_cast<int64_t>(m) * kBlock * tile.rows + n * kBlock, sum, tile.rows,
                                wmma::mem_row_major);
      }
      done += count;
    }
  }
  if (threadIdx.x == 0) used[tile.index] = done;
}

struct ProductShared {
  half sums_high[kChunk * kRowStride], sums_low[kChunk * kRowStride];          // [Gaussian, row]
  half table_high[kMaxRows * kRowStride], table_low[kMaxRows * kRowStride];    // [row, column]
  float out[kChunk * kOutStride];                                              // [Gaussian, column]
  int32_t gaussians[kChunk];                                                   // -1: nothing to add
};

static_assert(kColumns == kMaxRows, "the table's stride is that of the sums");

// The table's values at the tile's rows [first, first + rows) and columns [column, column + kColumns).
__device__ void load_table(const TileLists& lists, const Tile& tile, int first, int rows, const half* high, const half* low,
                           int padded_width, int column, ProductShared* shared) {
  constexpr int kPerRow = kColumns / 8;
  for (int i = threadIdx.x; i < rows * kPerRow; i += kThreads) {
    const int row = lists.rows[tile.first_row + first + i / kPerRow], c = column + i % kPerRow * 8;
    const int to = i / kPerRow * kRowStride + i % kPerRow * 8;
    uint4 h{}, l{};
    if (row >= 0 && c < padded_width) {
      const int64_t at = static_cast<int64_t>(row) * padded_width + c;
      h = *reinterpret_cast<const uint4*>(high + at);
      l = *reinterpret_cast<const uint4*>(low + at);
    }
    *reinterpret_cast<uint4*>(shared->table_high + to) = h;
    *reinterpret_cast<uint4*>(shared->table_low + to) = l;
  }
}

// Sums of `count` Gaussians from `begin` on, in two halves; four threads to a Gaussian. Returns the Gaussian's total.
__device__ float load_sums(const Tile& tile, const float* sums, int begin, int count, int first, int rows,
                           ProductShared* shared) {
  const int i = threadIdx.x / 4, part = threadIdx.x % 4;
  const float4* from =
      reinterpret_cast<const float4*>(sums + tile.sums + static_cast<int64_t>(begin + i) * tile.rows + first);
  float total = 0.0f;
  for (int r = part; r < rows / 4; r += 4) {
    const float4 v = i < count ? from[r] : float4{};
    const float values[4] = {v.x, v.y, v.z, v.w};
    for (int e = 0; e < 4; ++e) {
      const half high = __float2half(values[e]);
      shared->sums_high[i * kRowStride + 4 * r + e] = high;
      shared->sums_low[i * kRowStride + 4 * r + e] = __float2half(values[e] - __half2float(high));
      total += values[e];
    }
  }
  total += __shfl_xor_sync(~0u, total, 1);
  return total + __shfl_xor_sync(~0u, total, 2);
}

__device__ void multiply(int rows, ProductShared* shared) {
  constexpr int kAcross = kColumns / kBlock;
  for (int block = threadIdx.x / 32; block < kChunk / kBlock * kAcross; block += kWarps) {
    const int m = block / kAcross * kBlock, n = block % kAcross * kBlock;
    Accumulator sum;
    wmma::fill_fragment(sum, 0.0f);
    for (int k = 0; k < rows; k += kBlock) {
      Left high, low;
      RightByRows table_high, table_low;
      wmma::load_matrix_sync(high, shared->sums_high + m * kRowStride + k, kRowStride);
      wmma::load_matrix_sync(low, shared->sums_low + m * kRowStride + k, kRowStride);
      wmma::load_matrix_sync(table_high, shared->table_high + k * kRowStride + n, kRowStride);
      wmma::load_matrix_sync(table_low, shared->table_low + k * kRowStride + n, kRowStride);
      wmma::mma_sync(sum, low, table_high, sum);
      wmma::mma_sync(sum, high, table_low, sum);
      wmma::mma_sync(sum, high, table_high, sum);
    }
    wmma::store_matrix_sync(shared->out + m * kOutStride + n, sum, kOutStride, wmma::mem_row_major);
  }
}

// Four neighbouring sums at once where the device can.
__device__ void add_four(float* to, float4 value) {
#if __CUDA_ARCH__ >= 900
  atomicAdd(reinterpret_cast<float4*>(to), value);
#else
  atomicAdd(to, value.x);
  atomicAdd(to + 1, value.y);
  atomicAdd(to + 2, value.z);
  atomicAdd(to + 3, value.w);
#endif
}

__device__ void add_out(const ProductShared& shared, int column, int width, float* out) {
  constexpr int kPerRow = kColumns / 4;
  for (int i = threadIdx.x; i < kChunk * kPerRow; i += kThreads) {
    const int gaussian = shared.gaussians[i / kPerRow], c = column + i % kPerRow * 4;
    if (gaussian < 0 || c >= width) continue;
    const float4 value = *reinterpret_cast<const float4*>(shared.out + i / kPerRow * kOutStride + i % kPerRow * 4);
    float* to = out + static_cast<int64_t>(gaussian) * width + c;
    if (width % 4 == 0) {
      add_four(to, value);
    } else {
      const float values[4] = {value.x, value.y, value.z, value.w};
      for (int e = 0; e < 4 && c + e < width; ++e) atomicAdd(to + e, values[e]);
    }
  }
}

__global__ void __launch_bounds__(kThreads) add_products_kernel(TileLists lists, const float* sums, const int32_t* used,
                                                                const half* table_high, const half* table_low,
                                                                int padded_width, int width, int columns, float* out,
                                                                float* mass) {
  extern __shared__ __align__(128) unsigned char memory[];
  ProductShared& shared = *reinterpret_cast<ProductShared*>(memory);
  const Tile tile(lists);
  const int count = used[tile.index], first_column = blockIdx.y * columns;
  const int last_column = min(width, first_column + columns);
  // A tile nearly always has at most kMaxRows rows; then a table that fits is loaded once.
  const bool resident = tile.rows <= kMaxRows && last_column - first_column <= kColumns;
  for (int begin = 0; begin < count; begin += kChunk)
    for (int first = 0; first < tile.rows; first += kMaxRows) {
      const int rows = min(kMaxRows, tile.rows - first), part = min(kChunk, count - begin);
      __syncthreads();
      const float total = load_sums(tile, sums, begin, part, first, rows, &shared);
      if (threadIdx.x % 4 == 0) {
        const int i = threadIdx.x / 4;
        const bool adds = i < part && total > 0.0f;
        const int gaussian = adds ? lists.splats[lists.pair_splat[tile.begin + begin + i]].gaussian : -1;
        shared.gaussians[i] = gaussian;
        if (adds && blockIdx.y == 0) atomicAdd(mass + gaussian, total);
      }
      for (int column = first_column; column < last_column; column += kColumns) {
        if (!resident || begin == 0)
          load_table(lists, tile, first, rows, table_high, table_low, padded_width, column, &shared);
        __syncthreads();
        multiply(rows, &shared);
        __syncthreads();
        add_out(shared, column, width, out);
      }
    }
}

template <typename Kernel>
void allow_shared(Kernel kernel, size_t bytes) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
        "asking for shared memory");
}

}  // namespace

void sum_tiles(TileLists tiles, Image image, const void* mixture, float* sums, int32_t* used, cudaStream_t stream) {
  if (!tiles.num_tiles) return;
  allow_shared(sum_tiles_kernel, sizeof(SumShared));
  sum_tiles_kernel<<<tiles.num_tiles, kThreads, sizeof(SumShared), stream>>>(
      tiles, image, image.tiles_x(), image.tiles_y(), static_cast<const half*>(mixture), sums, used);
  check(cudaGetLastError(), "summing a tile's weights");
}

void add_products(TileLists tiles, const float* sums, const int32_t* used, const void* table_high, const void* table_low,
                  int padded_width, int width, int columns, float* out, float* mass, cudaStream_t stream) {
  if (!tiles.num_tiles) return;
  allow_shared(add_products_kernel, sizeof(ProductShared));
  const dim3 blocks(tiles.num_tiles, (width + columns - 1) / columns);
  add_products_kernel<<<blocks, kThreads, sizeof(ProductShared), stream>>>(
      tiles, sums, used, static_cast<const half*>(table_high), static_cast<const half*>(table_low), padded_width, width,
      columns, out, mass);
  check(cudaGetLastError(), "adding the products");
}

}  // namespace legs4d::cuda
