// The only place where Python meets the kernels: checks shapes, allocates outputs, releases the GIL.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <optional>
#include <stdexcept>
#include <string>

#include "cpu/motion.h"
#include "cpu/nodes.h"
#include "cpu/parallel.h"
#include "cpu/picture.h"
#include "cpu/rasterize.h"
#include "cpu/score.h"
#include "cpu/ssim.h"

namespace nb = nanobind;
using namespace legs4d;

namespace {

using Floats1 = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Floats2 = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Floats3 = nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Floats4 = nb::ndarray<const float, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using Ints4 = nb::ndarray<const int32_t, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using Longs1 = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Longs2 = nb::ndarray<const int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Bytes1 = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Doubles4 = nb::ndarray<double, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using Shorts2 = nb::ndarray<const uint16_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Bytes2 = nb::ndarray<const uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

void check(bool ok, const std::string& message) {
  if (!ok) throw std::invalid_argument(message);
}

// Ctrl-C, and other signals that Python has handlers for, in the midst of a kernel: of 4K pictures one takes seconds.
void look_at_signals() {
  nb::gil_scoped_acquire acquire;
  if (PyErr_CheckSignals() != 0) throw nb::python_error();
}

template <typename T>
nb::ndarray<nb::numpy, T> owned(T* data, std::initializer_list<size_t> shape) {
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
  return nb::ndarray<nb::numpy, T>(data, shape, owner);
}

template <typename T>
nb::ndarray<nb::numpy, T> zeros(std::initializer_list<size_t> shape) {
  size_t size = 1;
  for (size_t n : shape) size *= n;
  return owned(new T[size](), shape);
}

GaussianArrays gaussian_arrays(const Floats2& means, const Floats2& quats, const Floats2& scales, const Floats1& opacities,
                               const Floats2& channels) {
  const size_t n = means.shape(0);
  check(means.shape(1) == 3 && quats.shape(1) == 4 && scales.shape(1) == 3, "means, quats, scales must be [N,3], [N,4], [N,3]");
  check(quats.shape(0) == n && scales.shape(0) == n && opacities.shape(0) == n && channels.shape(0) == n,
        "means, quats, scales, opacities and channels must have the same length");
  check(n < (1u << 30), "more than 2^30 Gaussians");
  return {static_cast<int>(n), means.data(), quats.data(), scales.data(), opacities.data(), channels.data(),
          static_cast<int>(channels.shape(1))};
}

std::vector<View> view_list(const Floats3& viewmats, const Floats3& intrinsics) {
  check(viewmats.shape(1) == 4 && viewmats.shape(2) == 4, "viewmats must be [C,4,4]");
  check(intrinsics.shape(0) == viewmats.shape(0) && intrinsics.shape(1) == 3 && intrinsics.shape(2) == 3,
        "intrinsics must be [C,3,3]");
  std::vector<View> views(viewmats.shape(0));
  for (size_t c = 0; c < views.size(); ++c) {
    const float *m = viewmats.data() + 16 * c, *k = intrinsics.data() + 9 * c;
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 3; ++j) views[c].rotation[3 * i + j] = m[4 * i + j];
      views[c].translation[i] = m[4 * i + 3];
    }
    views[c].fx = k[0], views[c].fy = k[4], views[c].cx = k[2], views[c].cy = k[5];
  }
  return views;
}

// A rendering together with its image-sized results' shapes.
struct PyRendering {
  Rendering rendering;

  size_t cameras() const { return rendering.num_cameras(); }
  size_t height() const { return rendering.image().height; }
  size_t width() const { return rendering.image().width; }
  size_t channels() const { return rendering.num_channels(); }

  const float* background_data(const std::optional<Floats2>& background) const {
    if (!background) return nullptr;
    check(background->shape(0) == cameras() && background->shape(1) == channels(),
          "background must be [cameras, channels], the depth channel included");
    return background->data();
  }
};

PyRendering make_rendering(const Floats2& means, const Floats2& quats, const Floats2& scales, const Floats1& opacities,
                           const Floats2& channels, const Floats3& viewmats, const Floats3& intrinsics, int width, int height,
                           float near_plane, float blur, bool antialiased, bool depth_channel,
                           const std::optional<Bytes1>& frozen, const std::optional<Bytes2>& active_tiles, int threads) {
  const GaussianArrays gaussians = gaussian_arrays(means, quats, scales, opacities, channels);
  std::vector<View> views = view_list(viewmats, intrinsics);
  check(width > 0 && height > 0 && width < 32768 && height < 32768, "image sides must be 1 to 32767 pixels");
  check(near_plane > 0, "near plane must be positive");
  check(threads > 0, "threads must be positive");
  if (frozen) check(frozen->shape(0) == static_cast<size_t>(gaussians.count), "frozen must be [N]");
  if (active_tiles) {
    const size_t tiles = static_cast<size_t>((width + kTile - 1) / kTile) * ((height + kTile - 1) / kTile);
    check(active_tiles->shape(0) == views.size() && active_tiles->shape(1) == tiles, "active_tiles must be [C, tiles]");
  }
  const uint8_t* frozen_data = frozen ? frozen->data() : nullptr;
  const uint8_t* tile_data = active_tiles ? active_tiles->data() : nullptr;
  nb::gil_scoped_release release;
  return {Rendering(gaussians, std::move(views), {width, height, near_plane, blur, antialiased}, depth_channel, frozen_data,
                    tile_data, threads)};
}

nb::tuple forward(const PyRendering& self, const std::optional<Floats2>& background) {
  const float* behind = self.background_data(background);
  const size_t pixels = self.cameras() * self.height() * self.width();
  float* out = new float[pixels * self.channels()];  // every element is written
  auto result = owned(out, {self.cameras(), self.height(), self.width(), self.channels()});
  float* transmittance = new float[pixels];
  auto rest = owned(transmittance, {self.cameras(), self.height(), self.width()});
  {
    nb::gil_scoped_release release;
    self.rendering.forward(behind, out, transmittance);
  }
  return nb::make_tuple(result, rest);
}

nb::dict backward(const PyRendering& self, const Floats2& means, const Floats2& quats, const Floats2& scales,
                  const Floats1& opacities, const Floats2& channels, const std::optional<Floats2>& background,
                  const Floats4& out, const Floats3& transmittance, const Floats4& out_gradient,
                  const Floats3& transmittance_gradient) {
  const GaussianArrays gaussians = gaussian_arrays(means, quats, scales, opacities, channels);
  const float* behind = self.background_data(background);
  auto image_shaped = [&](const auto& array) {
    return array.shape(0) == self.cameras() && array.shape(1) == self.height() && array.shape(2) == self.width();
  };
  check(image_shaped(out) && image_shaped(out_gradient) && out.shape(3) == self.channels() &&
            out_gradient.shape(3) == self.channels() && image_shaped(transmittance) && image_shaped(transmittance_gradient),
        "outputs and their gradients must be shaped as forward returned them");
  const size_t n = gaussians.count;
  auto v_means = zeros<float>({n, 3}), v_quats = zeros<float>({n, 4}), v_scales = zeros<float>({n, 3}),
       v_opacities = zeros<float>({n}), v_channels = zeros<float>({n, static_cast<size_t>(gaussians.num_channels)}),
       screen = zeros<float>({n});
  auto seen = zeros<int32_t>({n});
  {
    const GaussianGradients gradients{v_means.data(),     v_quats.data(),    v_scales.data(), v_opacities.data(),
                                      v_channels.data(), screen.data(), seen.data()};
    nb::gil_scoped_release release;
    self.rendering.backward(gaussians, behind, out.data(), transmittance.data(), out_gradient.data(),
                            transmittance_gradient.data(), gradients);
  }
  nb::dict result;
  result["means"] = v_means;
  result["quats"] = v_quats;
  result["scales"] = v_scales;
  result["opacities"] = v_opacities;
  result["channels"] = v_channels;
  result["screen"] = screen;
  result["seen"] = seen;
  return result;
}

nb::tuple lift(const PyRendering& self, const Ints4& index, const Floats4& weight, int num_rows, size_t num_gaussians,
               int threads) {
  const size_t k = index.shape(3), image = self.height() * self.width() * k;
  for (int axis = 0; axis < 4; ++axis) check(index.shape(axis) == weight.shape(axis), "index and weight must have one shape");
  check(index.shape(0) == self.cameras() && index.shape(1) == self.height() && index.shape(2) == self.width(),
        "index must be [C,H,W,K] of the rendered images");
  for (size_t i = 0; i < index.size(); ++i) check(index.data()[i] < num_rows, "index names a row past the last");
  std::vector<std::vector<Rendering::Entry>> entries(self.cameras());
  std::vector<std::vector<float>> masses(self.cameras());
  {
    nb::gil_scoped_release release;
    parallel_for(static_cast<int>(self.cameras()), threads, [&](int camera) {
      masses[camera].assign(num_gaussians, 0.0f);
      self.rendering.lift(camera, index.data() + camera * image, weight.data() + camera * image, static_cast<int>(k), num_rows,
                          &entries[camera], masses[camera].data());
    });
  }
  size_t total = 0;
  for (const auto& list : entries) total += list.size();
  auto gaussian = zeros<int32_t>({total}), row = zeros<int32_t>({total});
  auto value = zeros<float>({total}), mass = zeros<float>({num_gaussians});
  size_t at = 0;
  for (size_t camera = 0; camera < self.cameras(); ++camera) {
    for (const auto& entry : entries[camera]) {
      gaussian.data()[at] = entry.gaussian;
      row.data()[at] = entry.row;
      value.data()[at++] = entry.value;
    }
    for (size_t n = 0; n < num_gaussians; ++n) mass.data()[n] += masses[camera][n];
  }
  return nb::make_tuple(gaussian, row, value, mass);
}

// The query of these arrays, which must outlive it.
ScoreQuery query_of(const Shorts2& codes, const Floats1& confidence, int prompts, const Floats2& directions,
                    const Floats1& offsets, float mean_square, float temperature) {
  const size_t phrases = offsets.shape(0);
  check(confidence.shape(0) == codes.shape(0), "there must be a confidence for each code");
  check(directions.shape(0) == phrases + 1 && directions.shape(1) == codes.shape(1) && codes.shape(1) > 0,
        "directions must be [phrases + 1, K], as wide as the codes");
  check(prompts > 0 && static_cast<size_t>(prompts) < phrases, "there must be a prompt and a canonical phrase");
  return {static_cast<int>(codes.shape(1)), prompts, static_cast<int>(phrases) - prompts, directions.data(), offsets.data(),
          mean_square, temperature};
}

nb::ndarray<nb::numpy, float> score(const Shorts2& codes, const Floats1& confidence, int prompts, const Floats2& directions,
                                    const Floats1& offsets, float mean_square, float temperature, int threads) {
  const ScoreQuery query = query_of(codes, confidence, prompts, directions, offsets, mean_square, temperature);
  const size_t count = codes.shape(0);
  auto out = owned(new float[prompts * count], {static_cast<size_t>(prompts), count});  // every element is written
  {
    nb::gil_scoped_release release;
    score_codes(codes.data(), confidence.data(), static_cast<int64_t>(count), query, threads, out.data());
  }
  return out;
}

void spread(const Shorts2& codes, const Floats1& confidence, const Bytes1& group, const Floats2& directions,
            const Floats1& offsets, float mean_square, float temperature, const Doubles4& histograms, int threads) {
  const size_t prompts = histograms.shape(0), count = codes.shape(0);
  const ScoreQuery query =
      query_of(codes, confidence, static_cast<int>(prompts), directions, offsets, mean_square, temperature);
  check(group.shape(0) == count, "there must be a group for each code");
  check(histograms.shape(1) == 2 && histograms.shape(2) == static_cast<size_t>(kStrengthBins) && histograms.shape(3) == 2,
        "histograms must be [prompts, 2, bins, 2]");
  nb::gil_scoped_release release;
  spread_strengths(codes.data(), confidence.data(), group.data(), static_cast<int64_t>(count), query, threads,
                   histograms.data());
}

nb::tuple motion(const Floats2& means, const Floats2& quats, const Floats2& previous_means, const Floats2& previous_quats,
                 const Longs2& index, const Floats2& weight, const Floats2& distance, const Floats1& factors, int threads) {
  const size_t m = means.shape(0), k = index.shape(1);
  check(means.shape(1) == 3 && previous_means.shape(1) == 3 && quats.shape(1) == 4 && previous_quats.shape(1) == 4,
        "means and quats must be [M,3] and [M,4]");
  check(quats.shape(0) == m && previous_means.shape(0) == m && previous_quats.shape(0) == m && index.shape(0) == m,
        "all arrays must have one length");
  check(weight.shape(0) == m && weight.shape(1) == k && distance.shape(0) == m && distance.shape(1) == k,
        "index, weight and distance must have one shape");
  check(factors.shape(0) == kMotionLosses, "there are three factors");
  for (size_t i = 0; i < index.size(); ++i)
    check(index.data()[i] >= 0 && index.data()[i] < static_cast<int64_t>(m), "a neighbour is not among the Gaussians");
  auto losses = zeros<double>({static_cast<size_t>(kMotionLosses)});
  auto v_means = zeros<float>({m, 3}), v_quats = zeros<float>({m, 4});
  {
    const MotionArrays arrays{static_cast<int>(m), static_cast<int>(k),   means.data(),  quats.data(),   previous_means.data(),
                              previous_quats.data(), index.data(), weight.data(), distance.data()};
    nb::gil_scoped_release release;
    motion_losses(arrays, factors.data(), threads, losses.data(), v_means.data(), v_quats.data());
  }
  return nb::make_tuple(losses, v_means, v_quats);
}

NodeArrays node_arrays(const Longs1& gaussian, const Longs2& index, const Floats2& weight, const Floats2& means,
                       const Floats2& quats, const Floats2& shifts, const Floats2& turns) {
  const size_t k = gaussian.shape(0), m = means.shape(0), b = index.shape(1);
  check(means.shape(1) == 3 && quats.shape(0) == m && quats.shape(1) == 4, "means and quats must be [M,3] and [M,4]");
  check(shifts.shape(0) == k && shifts.shape(1) == 3 && turns.shape(0) == k && turns.shape(1) == 4,
        "shifts and turns must be [K,3] and [K,4]");
  check(index.shape(0) == m && weight.shape(0) == m && weight.shape(1) == b, "index and weight must be [M,B]");
  for (size_t i = 0; i < k; ++i)
    check(gaussian.data()[i] >= 0 && gaussian.data()[i] < static_cast<int64_t>(m), "a node is at none of the Gaussians");
  for (size_t i = 0; i < index.size(); ++i)
    check(index.data()[i] >= 0 && index.data()[i] < static_cast<int64_t>(k), "a Gaussian hangs on none of the nodes");
  return {static_cast<int>(m), static_cast<int>(k), static_cast<int>(b), gaussian.data(), index.data(),
          weight.data(),       means.data(),        quats.data(),        shifts.data(),   turns.data()};
}

nb::tuple carry_gaussians(const Longs1& gaussian, const Longs2& index, const Floats2& weight, const Floats2& means,
                          const Floats2& quats, const Floats2& shifts, const Floats2& turns, int threads) {
  const NodeArrays arrays = node_arrays(gaussian, index, weight, means, quats, shifts, turns);
  auto moved = zeros<float>({means.shape(0), 3}), turned = zeros<float>({means.shape(0), 4});
  {
    nb::gil_scoped_release release;
    carry(arrays, threads, moved.data(), turned.data());
  }
  return nb::make_tuple(moved, turned);
}

nb::tuple carry_gradients(const Longs1& gaussian, const Longs2& index, const Floats2& weight, const Floats2& means,
                          const Floats2& quats, const Floats2& shifts, const Floats2& turns, const Floats2& moved_gradient,
                          const Floats2& turned_gradient, int threads) {
  const NodeArrays arrays = node_arrays(gaussian, index, weight, means, quats, shifts, turns);
  check(moved_gradient.shape(0) == means.shape(0) && moved_gradient.shape(1) == 3 &&
            turned_gradient.shape(0) == means.shape(0) && turned_gradient.shape(1) == 4,
        "the gradients must be [M,3] and [M,4]");
  auto v_shifts = zeros<float>({shifts.shape(0), 3}), v_turns = zeros<float>({shifts.shape(0), 4});
  {
    nb::gil_scoped_release release;
    carry_backward(arrays, moved_gradient.data(), turned_gradient.data(), threads, v_shifts.data(), v_turns.data());
  }
  return nb::make_tuple(v_shifts, v_turns);
}

nb::tuple picture(const Floats4& seen, const Floats3& foreground, const Floats4& images, const Floats3& masks,
                  float ssim_share, float segmentation, float saturated, int threads) {
  for (int axis = 0; axis < 3; ++axis)
    check(images.shape(axis) == seen.shape(axis) && foreground.shape(axis) == seen.shape(axis) &&
              masks.shape(axis) == seen.shape(axis),
          "pictures and masks must be [C,H,W,3] and [C,H,W] of one shape");
  check(seen.shape(3) == 3 && images.shape(3) == 3, "pictures have three channels");
  auto v_seen = zeros<float>({seen.shape(0), seen.shape(1), seen.shape(2), 3});
  auto v_foreground = zeros<float>({seen.shape(0), seen.shape(1), seen.shape(2)});
  double loss;
  {
    nb::gil_scoped_release release;
    loss = picture_loss(seen.data(), foreground.data(), images.data(), masks.data(), static_cast<int>(seen.shape(0)),
                        static_cast<int>(seen.shape(1)), static_cast<int>(seen.shape(2)),
                        {ssim_share, segmentation, saturated}, threads, v_seen.data(), v_foreground.data());
  }
  return nb::make_tuple(loss, v_seen, v_foreground);
}

nb::tuple ssim(const Floats4& first, const Floats4& second, int threads) {
  for (int axis = 0; axis < 4; ++axis)
    check(first.shape(axis) == second.shape(axis), "both images must be [C,H,W,D] of one shape");
  auto similarity = zeros<float>({first.shape(0)});
  auto gradient = zeros<float>({first.shape(0), first.shape(1), first.shape(2), first.shape(3)});
  {
    nb::gil_scoped_release release;
    structural_similarity(first.data(), second.data(), static_cast<int>(first.shape(0)), static_cast<int>(first.shape(1)),
                          static_cast<int>(first.shape(2)), static_cast<int>(first.shape(3)), threads, similarity.data(),
                          gradient.data());
  }
  return nb::make_tuple(similarity, gradient);
}

}  // namespace

NB_MODULE(_csrc, m) {
  set_interrupt(look_at_signals);
  m.doc() = "Compiled kernels of legs4d. Use legs4d.raster; shapes are documented there.";
  m.attr("TILE") = kTile;
  nb::class_<PyRendering>(m, "Rendering")
      .def("forward", &forward, nb::arg("background").none())
      .def("backward", &backward, nb::arg("means"), nb::arg("quats"), nb::arg("scales"), nb::arg("opacities"),
           nb::arg("channels"), nb::arg("background").none(), nb::arg("out"), nb::arg("transmittance"),
           nb::arg("out_gradient"), nb::arg("transmittance_gradient"))
      .def("lift", &lift, nb::arg("index"), nb::arg("weight"), nb::arg("num_rows"), nb::arg("num_gaussians"),
           nb::arg("threads"))
      .def_prop_ro("num_splats", [](const PyRendering& r) { return r.rendering.num_splats(); })
      .def_prop_ro("num_tile_splats", [](const PyRendering& r) { return r.rendering.num_tile_splats(); });
  m.def("project", &make_rendering, nb::arg("means"), nb::arg("quats"), nb::arg("scales"), nb::arg("opacities"),
        nb::arg("channels"), nb::arg("viewmats"), nb::arg("intrinsics"), nb::arg("width"), nb::arg("height"),
        nb::arg("near_plane"), nb::arg("blur"), nb::arg("antialiased"), nb::arg("depth_channel"), nb::arg("frozen").none(),
        nb::arg("active_tiles").none(), nb::arg("threads"));
  m.def("motion_losses", &motion, nb::arg("means"), nb::arg("quats"), nb::arg("previous_means"), nb::arg("previous_quats"),
        nb::arg("index"), nb::arg("weight"), nb::arg("distance"), nb::arg("factors"), nb::arg("threads"));
  m.def("carry", &carry_gaussians, nb::arg("gaussian"), nb::arg("index"), nb::arg("weight"), nb::arg("means"),
        nb::arg("quats"), nb::arg("shifts"), nb::arg("turns"), nb::arg("threads"));
  m.def("carry_backward", &carry_gradients, nb::arg("gaussian"), nb::arg("index"), nb::arg("weight"), nb::arg("means"),
        nb::arg("quats"), nb::arg("shifts"), nb::arg("turns"), nb::arg("moved_gradient"), nb::arg("turned_gradient"),
        nb::arg("threads"));
  m.def("picture_loss", &picture, nb::arg("seen"), nb::arg("foreground"), nb::arg("images"), nb::arg("masks"),
        nb::arg("ssim_share"), nb::arg("segmentation"), nb::arg("saturated"), nb::arg("threads"));
  m.attr("STRENGTH_BINS") = kStrengthBins;
  m.def("score", &score, nb::arg("codes"), nb::arg("confidence"), nb::arg("prompts"), nb::arg("directions"),
        nb::arg("offsets"), nb::arg("mean_square"), nb::arg("temperature"), nb::arg("threads"));
  m.def("spread", &spread, nb::arg("codes"), nb::arg("confidence"), nb::arg("group"), nb::arg("directions"),
        nb::arg("offsets"), nb::arg("mean_square"), nb::arg("temperature"), nb::arg("histograms"), nb::arg("threads"));
  m.def("ssim", &ssim, nb::arg("first"), nb::arg("second"), nb::arg("threads"));
}
