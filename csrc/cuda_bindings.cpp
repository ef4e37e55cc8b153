// Where Python meets the CUDA kernels: checks shapes and hands on pointers. legs4d/raster/cuda_lift.py allocates, and says
// what each array holds; half precision comes as int16, unsigned keys as signed ones of the same size.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdexcept>
#include <string>

#include "cuda/lift.h"
#include "cuda/score.h"

namespace nb = nanobind;
using namespace legs4d;

namespace {

template <typename T, size_t N>
using Device = nb::ndarray<T, nb::ndim<N>, nb::c_contig, nb::device::cuda>;
using Floats = Device<float, 1>;
using ConstFloats = Device<const float, 1>;
using Ints = Device<int32_t, 1>;
using ConstInts = Device<const int32_t, 1>;
using Longs = Device<int64_t, 1>;
using ConstLongs = Device<const int64_t, 1>;
using Bytes = Device<uint8_t, 1>;
using Halves = Device<int16_t, 2>;
using ConstHalves = Device<const int16_t, 2>;
using SplatArray = Device<float, 2>;
using ConstSplatArray = Device<const float, 2>;

constexpr size_t kSplatFloats = sizeof(Splat) / sizeof(float);
static_assert(sizeof(Splat) % sizeof(float) == 0);

void check(bool ok, const std::string& message) {
  if (!ok) throw std::invalid_argument(message);
}

cudaStream_t stream_of(uintptr_t stream) { return reinterpret_cast<cudaStream_t>(stream); }

cuda::Image image_of(int cameras, int width, int height) {
  check(cameras > 0 && width > 0 && height > 0 && width < 32768 && height < 32768, "image sides must be 1 to 32767 pixels");
  const cuda::Image image{cameras, width, height};
  check(static_cast<int64_t>(cameras) * image.tiles_x() * image.tiles_y() < (1ll << 31), "too many tiles");
  return image;
}

const Splat* splats_of(const ConstSplatArray& array) {
  check(array.shape(1) == kSplatFloats, "splats have the wrong width");
  return reinterpret_cast<const Splat*>(array.data());
}

void project_gaussians(const Device<const float, 2>& means, const Device<const float, 2>& quats,
                       const Device<const float, 2>& scales, const ConstFloats& opacities,
                       const Device<const float, 3>& viewmats, const Device<const float, 3>& intrinsics, int width,
                       int height, float near_plane, float blur, SplatArray splats, Longs keys, Ints counter,
                       uintptr_t stream) {
  const size_t n = means.shape(0), cameras = viewmats.shape(0);
  check(means.shape(1) == 3 && quats.shape(1) == 4 && scales.shape(1) == 3, "means, quats, scales must be [N,3], [N,4], [N,3]");
  check(quats.shape(0) == n && scales.shape(0) == n && opacities.shape(0) == n,
        "means, quats, scales and opacities must have the same length");
  check(viewmats.shape(1) == 4 && viewmats.shape(2) == 4, "viewmats must be [C,4,4]");
  check(intrinsics.shape(0) == cameras && intrinsics.shape(1) == 3 && intrinsics.shape(2) == 3, "intrinsics must be [C,3,3]");
  check(near_plane > 0, "near plane must be positive");
  check(splats.shape(1) == kSplatFloats && splats.shape(0) >= n * cameras && keys.shape(0) >= n * cameras &&
            counter.shape(0) == 1 && n * cameras < (1ull << 31),
        "splats and keys need a place for every Gaussian and camera");
  cuda::project_all(static_cast<int>(n), means.data(), quats.data(), scales.data(), opacities.data(), viewmats.data(),
                    intrinsics.data(), image_of(static_cast<int>(cameras), width, height), near_plane, blur,
                    reinterpret_cast<Splat*>(splats.data()), reinterpret_cast<uint64_t*>(keys.data()), counter.data(),
                    stream_of(stream));
}

template <typename Key, typename Array, typename ConstArray>
size_t sort(const ConstArray& keys, Array sorted_keys, const ConstInts& values, Ints sorted_values, int bits, Bytes temporary,
            uintptr_t stream) {
  const size_t count = keys.shape(0);
  check(sorted_keys.shape(0) == count && values.shape(0) == count && sorted_values.shape(0) == count,
        "keys and values must have one length");
  size_t bytes = temporary.shape(0);
  // Without temporary memory only its size is told.
  cuda::sort_by_key(bytes ? temporary.data() : nullptr, &bytes, reinterpret_cast<const Key*>(keys.data()),
                    reinterpret_cast<Key*>(sorted_keys.data()), values.data(), sorted_values.data(),
                    static_cast<int64_t>(count), bits, stream_of(stream));
  return bytes;
}

void count_tiles(const ConstSplatArray& splats, const ConstInts& order, Ints tiles, uintptr_t stream) {
  check(tiles.shape(0) == order.shape(0), "there is a count for each splat");
  cuda::count_tiles(static_cast<int64_t>(order.shape(0)), splats_of(splats), order.data(), tiles.data(), stream_of(stream));
}

void list_pairs(const ConstSplatArray& splats, const ConstInts& order, const ConstLongs& keys, const ConstLongs& offsets,
                int cameras, int width, int height, Ints pair_tile, Ints pair_splat, uintptr_t stream) {
  check(keys.shape(0) == order.shape(0) && offsets.shape(0) == order.shape(0), "order, keys, offsets must have one length");
  check(pair_tile.shape(0) == pair_splat.shape(0), "tiles and splats of pairs must have one length");
  cuda::list_pairs(static_cast<int64_t>(order.shape(0)), splats_of(splats), order.data(),
                   reinterpret_cast<const uint64_t*>(keys.data()), offsets.data(), image_of(cameras, width, height),
                   reinterpret_cast<uint32_t*>(pair_tile.data()), pair_splat.data(), stream_of(stream));
}

void find_ranges(const ConstInts& pair_tile, Ints begin, Ints end, uintptr_t stream) {
  check(begin.shape(0) == end.shape(0), "begin and end must have one length");
  cuda::find_ranges(static_cast<int64_t>(pair_tile.shape(0)), reinterpret_cast<const uint32_t*>(pair_tile.data()),
                    begin.data(), end.data(), stream_of(stream));
}

cuda::Image image_of_map(const Device<const int32_t, 4>& index, const Device<const float, 4>& weight) {
  for (int axis = 0; axis < 4; ++axis) check(index.shape(axis) == weight.shape(axis), "index and weight must have one shape");
  return image_of(static_cast<int>(index.shape(0)), static_cast<int>(index.shape(2)), static_cast<int>(index.shape(1)));
}

void count_rows(const Device<const int32_t, 4>& index, const Device<const float, 4>& weight, int num_rows, Ints counts,
                uintptr_t stream) {
  const cuda::Image image = image_of_map(index, weight);
  check(counts.shape(0) == static_cast<size_t>(image.tiles()), "there is a count for each tile");
  cuda::count_rows(image, static_cast<int>(index.shape(3)), num_rows, index.data(), weight.data(), counts.data(),
                   stream_of(stream));
}

void fill_rows(const Device<const int32_t, 4>& index, const Device<const float, 4>& weight, int num_rows,
               const ConstLongs& row_start, Ints rows, Halves mixture, uintptr_t stream) {
  const cuda::Image image = image_of_map(index, weight);
  check(row_start.shape(0) == static_cast<size_t>(image.tiles()) + 1, "row_start must have one more than there are tiles");
  check(mixture.shape(0) == rows.shape(0) && mixture.shape(1) == cuda::kTilePixels, "mixture must be [rows, 256]");
  cuda::fill_rows(image, static_cast<int>(index.shape(3)), num_rows, index.data(), weight.data(), row_start.data(),
                  rows.data(), mixture.data(), stream_of(stream));
}

cuda::TileLists lists_of(const ConstSplatArray& splats, const ConstInts& pair_splat, const ConstInts& begin,
                         const ConstInts& end, const ConstLongs& row_start, const ConstInts& rows,
                         const ConstLongs& sums_start, int first_tile, int num_tiles) {
  const size_t tiles = begin.shape(0);
  check(end.shape(0) == tiles && row_start.shape(0) == tiles + 1 && sums_start.shape(0) == tiles,
        "begin, end, row_start and sums_start must be of the same tiles");
  check(first_tile >= 0 && num_tiles >= 0 && static_cast<size_t>(first_tile) + num_tiles <= tiles, "no such tiles");
  return {splats_of(splats), pair_splat.data(), begin.data(),     end.data(),
          row_start.data(),  rows.data(),       sums_start.data(), first_tile, num_tiles};
}

void sum_tiles(const ConstSplatArray& splats, const ConstInts& pair_splat, const ConstInts& begin, const ConstInts& end,
               const ConstLongs& row_start, const ConstInts& rows, const ConstLongs& sums_start, int first_tile,
               int num_tiles, int cameras, int width, int height, const ConstHalves& mixture, Floats sums, Ints used,
               uintptr_t stream) {
  const cuda::Image image = image_of(cameras, width, height);
  check(begin.shape(0) == static_cast<size_t>(image.tiles()) && used.shape(0) == begin.shape(0), "arrays must be of all tiles");
  check(mixture.shape(0) == rows.shape(0) && mixture.shape(1) == cuda::kTilePixels, "mixture must be [rows, 256]");
  cuda::sum_tiles(lists_of(splats, pair_splat, begin, end, row_start, rows, sums_start, first_tile, num_tiles), image,
                  mixture.data(), sums.data(), used.data(), stream_of(stream));
}

void add_products(const ConstSplatArray& splats, const ConstInts& pair_splat, const ConstInts& begin, const ConstInts& end,
                  const ConstLongs& row_start, const ConstInts& rows, const ConstLongs& sums_start, int first_tile,
                  int num_tiles, const ConstFloats& sums, const ConstInts& used, const ConstHalves& table_high,
                  const ConstHalves& table_low, int columns, Device<float, 2> out, Floats mass, uintptr_t stream) {
  const size_t padded = table_high.shape(1), width = out.shape(1);
  check(table_low.shape(0) == table_high.shape(0) && table_low.shape(1) == padded, "the table's halves must have one shape");
  check(padded % cuda::kColumnGroup == 0 && padded >= width && padded - width < cuda::kColumnGroup && width > 0,
        "the table must be as wide as the result, padded to a multiple of 16");
  check(columns > 0 && columns % 64 == 0, "columns must be a multiple of 64");
  check(mass.shape(0) == out.shape(0) && used.shape(0) == begin.shape(0), "out and mass must be of all Gaussians");
  cuda::add_products(lists_of(splats, pair_splat, begin, end, row_start, rows, sums_start, first_tile, num_tiles),
                     sums.data(), used.data(), table_high.data(), table_low.data(), static_cast<int>(padded),
                     static_cast<int>(width), columns, out.data(), mass.data(), stream_of(stream));
}

void score_strengths(const ConstHalves& codes, const ConstFloats& confidence, int canonical,
                     const Device<const float, 2>& directions, const ConstFloats& offsets, float mean_square,
                     float temperature, Halves strength, uintptr_t stream) {
  const size_t count = codes.shape(0), phrases = offsets.shape(0), prompts = strength.shape(0);
  check(confidence.shape(0) == count && strength.shape(1) == count, "confidence and strength must be of all codes");
  check(directions.shape(0) == phrases + 1 && directions.shape(1) == codes.shape(1) && codes.shape(1) > 0,
        "directions must be [1 + phrases, K], as wide as the codes");
  check(canonical > 0 && prompts > 0 && canonical + prompts == phrases, "there must be a prompt and a canonical phrase");
  const ScoreQuery query{static_cast<int>(codes.shape(1)), static_cast<int>(prompts), canonical, directions.data(),
                         offsets.data(), mean_square, temperature};
  cuda::score_strengths(codes.data(), confidence.data(), static_cast<int64_t>(count), query, strength.data(),
                        stream_of(stream));
}

void histogram_strengths(const Device<const int16_t, 3>& strength, const Device<const float, 2>& weight,
                         const Device<const uint8_t, 1>& group, const Device<float, 5>& histograms, uintptr_t stream) {
  const size_t prompts = strength.shape(0), frames = strength.shape(1), count = strength.shape(2);
  check(weight.shape(0) == frames && weight.shape(1) == count && group.shape(0) == count,
        "weight must be [frames, count], group [count]");
  check(histograms.shape(0) == prompts && histograms.shape(1) == frames && histograms.shape(2) == 2 &&
            histograms.shape(3) == 2 && histograms.shape(4) == static_cast<size_t>(kStrengthBins),
        "histograms must be [prompts, frames, 2, 2, bins]");
  check(prompts < 65536 && frames < 65536 && count < (1u << 31), "too many prompts or frames");
  cuda::histogram_strengths(strength.data(), weight.data(), group.data(), static_cast<int>(prompts),
                            static_cast<int>(frames), static_cast<int>(count), histograms.data(), stream_of(stream));
}

}  // namespace

NB_MODULE(_csrc_cuda, m) {
  m.doc() = "Compiled CUDA kernels of legs4d. Use legs4d.raster.cuda_lift.";
  m.attr("TILE_SIDE") = cuda::kTileSide;
  m.attr("TILE_PIXELS") = cuda::kTilePixels;
  m.attr("CHUNK") = cuda::kChunk;
  m.attr("COLUMN_GROUP") = cuda::kColumnGroup;
  m.attr("SPLAT_FLOATS") = kSplatFloats;
  m.def("most_rows", &cuda::most_rows);
  m.def("project", &project_gaussians);
  m.def("sort64", &sort<uint64_t, Longs, ConstLongs>);
  m.def("sort32", &sort<uint32_t, Ints, ConstInts>);
  m.def("count_tiles", &count_tiles);
  m.def("list_pairs", &list_pairs);
  m.def("find_ranges", &find_ranges);
  m.def("count_rows", &count_rows);
  m.def("fill_rows", &fill_rows);
  m.def("sum_tiles", &sum_tiles);
  m.def("add_products", &add_products);
  m.def("score_strengths", &score_strengths);
  m.def("histogram_strengths", &histogram_strengths);
}
