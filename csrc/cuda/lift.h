// Lifting on CUDA: sums over pixels of (weight with which a Gaussian fills a pixel) · (what the pixel says).
//
// A pixel mixes a few rows of a table ("pixel→row map"), and the 256 pixels of a tile mix only some tens of rows, so all
// that a tile needs to know of a Gaussian are its weights summed over the pixels, once per row: a small matrix product
// [Gaussians × pixels] · [pixels × rows], made by tensor cores. A second product with the rows' values [rows × D] gives
// what the tile adds to each Gaussian.
//
// Every function works on the given stream, on device pointers that the caller allocates; none waits for the device.
// All return nothing and throw std::runtime_error with CUDA's own words when a launch fails.
#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "../cpu/projection.h"

namespace legs4d::cuda {

constexpr int kTileSide = 16;
constexpr int kTilePixels = kTileSide * kTileSide;
constexpr int kRowGroup = 16;    // a tile's rows are padded to a multiple of this
constexpr int kChunk = 64;       // Gaussians that a block takes at once; a tile's sums are padded to a multiple of this
constexpr int kColumnGroup = 16; // the table's width is padded to a multiple of this

struct Image {
  int cameras, width, height;
  int tiles_x() const { return (width + kTileSide - 1) / kTileSide; }
  int tiles_y() const { return (height + kTileSide - 1) / kTileSide; }
  int tiles() const { return cameras * tiles_x() * tiles_y(); }
};

// -- which Gaussians each tile needs, nearest first ---------------------------------------------------------------

// For every camera [4,4] [3,3] and Gaussian in its image, appends a splat and its sort key (camera, depth).
// `splats`, `keys` have room for cameras · count; `counter` [1] is zero at the start.
void project_all(int count, const float* means, const float* quats, const float* scales, const float* opacities,
                 const float* viewmats, const float* intrinsics, Image image, float near_plane, float blur, Splat* splats,
                 uint64_t* keys, int32_t* counter, cudaStream_t stream);

// Sort keys ascending with their values, stable, by the lowest `bits`. Call with temporary = null to learn its size.
void sort_by_key(void* temporary, size_t* temporary_bytes, const uint64_t* keys, uint64_t* sorted_keys,
                 const int32_t* values, int32_t* sorted_values, int64_t count, int bits, cudaStream_t stream);
void sort_by_key(void* temporary, size_t* temporary_bytes, const uint32_t* keys, uint32_t* sorted_keys,
                 const int32_t* values, int32_t* sorted_values, int64_t count, int bits, cudaStream_t stream);

// tiles[i]: how many tiles the splat order[i] reaches.
void count_tiles(int64_t count, const Splat* splats, const int32_t* order, int32_t* tiles, cudaStream_t stream);

// Writes a pair (tile, splat) for each of them, from offsets[i] on; `keys` are those that `order` was sorted by.
void list_pairs(int64_t count, const Splat* splats, const int32_t* order, const uint64_t* keys, const int64_t* offsets,
                Image image, uint32_t* pair_tile, int32_t* pair_splat, cudaStream_t stream);

// begin[t], end[t]: where the sorted pairs of tile t are; both must be zero at the start.
void find_ranges(int64_t pairs, const uint32_t* pair_tile, int32_t* begin, int32_t* end, cudaStream_t stream);

// -- the pixel→row map, tile by tile ------------------------------------------------------------------------------

// counts[t]: different rows that the pixels of tile t mix, padded to a multiple of kRowGroup. index, weight [C,H,W,K].
void count_rows(Image image, int k, int num_rows, const int32_t* index, const float* weight, int32_t* counts,
                cudaStream_t stream);

// From row_start[t] (in rows) on: the tile's rows (-1: padding) and for each row its weight in the 256 pixels (half).
void fill_rows(Image image, int k, int num_rows, const int32_t* index, const float* weight, const int64_t* row_start,
               int32_t* rows, void* mixture, cudaStream_t stream);

// Most rows that the two above can tell apart on this device.
int most_rows(int device);

// -- the two products ---------------------------------------------------------------------------------------------

struct TileLists {
  const Splat* splats;
  const int32_t *pair_splat, *begin, *end;  // of all tiles
  const int64_t* row_start;                 // [tiles + 1]
  const int32_t* rows;
  const int64_t* sums_start;                // where the sums of a tile begin, in floats, [tiles]
  int first_tile, num_tiles;                // those to work on
};

// sums: per tile [pairs, padded to kChunk][its rows]; used[t]: pairs of tile t until all its rays had ended.
void sum_tiles(TileLists tiles, Image image, const void* mixture, float* sums, int32_t* used, cudaStream_t stream);

// Adds sums · table to out [N, width] and the sums of sums to mass [N]. The table [rows, padded width] comes in two
// halves, value = high + low. One block takes `columns` (a multiple of 64) of the table's columns.
void add_products(TileLists tiles, const float* sums, const int32_t* used, const void* table_high, const void* table_low,
                  int padded_width, int width, int columns, float* out, float* mass, cudaStream_t stream);

}  // namespace legs4d::cuda
