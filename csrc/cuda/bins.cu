// Which Gaussians each tile needs, nearest first. All splats are sorted by camera and depth, then listed once per tile
// that they reach, then sorted by tile alone: that sort is stable and keeps the depths in order, so that the long list
// (pairs of tile and splat) is moved by two digits only.
#include <cub/device/device_radix_sort.cuh>

#include "check.h"
#include "lift.h"

namespace legs4d::cuda {
namespace {

constexpr int kThreads = 256;

__device__ int tiles_of(const Splat& s) {
  return (s.x1 / kTileSide - s.x0 / kTileSide + 1) * (s.y1 / kTileSide - s.y0 / kTileSide + 1);
}

__global__ void count_tiles_kernel(int64_t count, const Splat* splats, const int32_t* order, int32_t* tiles) {
  const int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
  if (i < count) tiles[i] = tiles_of(splats[order[i]]);
}

__global__ void list_pairs_kernel(int64_t count, const Splat* splats, const int32_t* order, const uint64_t* keys,
                                  const int64_t* offsets, int tiles_x, int tiles_y, uint32_t* pair_tile,
                                  int32_t* pair_splat) {
  const int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
  if (i >= count) return;
  const int32_t which = order[i];
  const Splat s = splats[which];
  const uint32_t first = static_cast<uint32_t>(keys[i] >> 32) * tiles_x * tiles_y;
  int64_t at = offsets[i];
  for (int ty = s.y0 / kTileSide; ty <= s.y1 / kTileSide; ++ty)
    for (int tx = s.x0 / kTileSide; tx <= s.x1 / kTileSide; ++tx, ++at) {
      pair_tile[at] = first + ty * tiles_x + tx;
      pair_splat[at] = which;
    }
}

__global__ void find_ranges_kernel(int64_t pairs, const uint32_t* pair_tile, int32_t* begin, int32_t* end) {
  const int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
  if (i >= pairs) return;
  const uint32_t tile = pair_tile[i];
  if (i == 0 || pair_tile[i - 1] != tile) begin[tile] = static_cast<int32_t>(i);
  if (i == pairs - 1 || pair_tile[i + 1] != tile) end[tile] = static_cast<int32_t>(i + 1);
}

template <typename Key>
void sort(void* temporary, size_t* temporary_bytes, const Key* keys, Key* sorted_keys, const int32_t* values,
          int32_t* sorted_values, int64_t count, int bits, cudaStream_t stream) {
  check(cub::DeviceRadixSort::SortPairs(temporary, *temporary_bytes, keys, sorted_keys, values, sorted_values, count, 0,
                                        bits, stream),
        "sorting");
}

}  // namespace

void sort_by_key(void* temporary, size_t* temporary_bytes, const uint64_t* keys, uint64_t* sorted_keys,
                 const int32_t* values, int32_t* sorted_values, int64_t count, int bits, cudaStream_t stream) {
  sort(temporary, temporary_bytes, keys, sorted_keys, values, sorted_values, count, bits, stream);
}

void sort_by_key(void* temporary, size_t* temporary_bytes, const uint32_t* keys, uint32_t* sorted_keys,
                 const int32_t* values, int32_t* sorted_values, int64_t count, int bits, cudaStream_t stream) {
  sort(temporary, temporary_bytes, keys, sorted_keys, values, sorted_values, count, bits, stream);
}

void count_tiles(int64_t count, const Splat* splats, const int32_t* order, int32_t* tiles, cudaStream_t stream) {
  if (!count) return;
  count_tiles_kernel<<<blocks_for(count, kThreads), kThreads, 0, stream>>>(count, splats, order, tiles);
  check(cudaGetLastError(), "counting tiles");
}

void list_pairs(int64_t count, const Splat* splats, const int32_t* order, const uint64_t* keys, const int64_t* offsets,
                Image image, uint32_t* pair_tile, int32_t* pair_splat, cudaStream_t stream) {
  if (!count) return;
  list_pairs_kernel<<<blocks_for(count, kThreads), kThreads, 0, stream>>>(
      count, splats, order, keys, offsets, image.tiles_x(), image.tiles_y(), pair_tile, pair_splat);
  check(cudaGetLastError(), "listing tiles");
}

void find_ranges(int64_t pairs, const uint32_t* pair_tile, int32_t* begin, int32_t* end, cudaStream_t stream) {
  if (!pairs) return;
  find_ranges_kernel<<<blocks_for(pairs, kThreads), kThreads, 0, stream>>>(pairs, pair_tile, begin, end);
  check(cudaGetLastError(), "finding each tile's splats");
}

}  // namespace legs4d::cuda
