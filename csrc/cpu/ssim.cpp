#include "ssim.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "parallel.h"
#include "simd.h"

namespace legs4d {
namespace {

constexpr int kHalf = 5, kTaps = 2 * kHalf + 1;
constexpr float kSigma = 1.5f, kC1 = 0.01f * 0.01f, kC2 = 0.03f * 0.03f;

struct Window {
  float tap[kTaps];
  Window() {
    float total = 0;
    for (int i = 0; i < kTaps; ++i) total += tap[i] = std::exp(-float((i - kHalf) * (i - kHalf)) / (2 * kSigma * kSigma));
    for (float& t : tap) t /= total;
  }
};

// A plane with a border of zeros wide enough for the window; rows are padded with zeros to whole vectors.
class Plane {
 public:
  Plane(int width, int height) : stride_(whole(width) + 2 * kHalf), values_(static_cast<size_t>(stride_) * (height + 2 * kHalf)) {}
  float* row(int y) { return values_.data() + static_cast<size_t>(y + kHalf) * stride_ + kHalf; }
  static int whole(int width) { return (width + kLanes - 1) / kLanes * kLanes; }

 private:
  int stride_;
  std::vector<float> values_;
};

void blur(const Window& window, Plane& plane, int width, int height, Plane* across, Plane* out) {
  for (int y = 0; y < height; ++y) {
    const float* from = plane.row(y);
    float* to = across->row(y);
    for (int x = 0; x < width; x += kLanes) {
      floatv total{};
      for (int i = 0; i < kTaps; ++i) total += window.tap[i] * load(from + x + i - kHalf);
      store(to + x, total);
    }
  }
  for (int y = 0; y < height; ++y) {
    float* to = out->row(y);
    for (int x = 0; x < width; x += kLanes) {
      floatv total{};
      for (int i = 0; i < kTaps; ++i) total += window.tap[i] * load(across->row(y + i - kHalf) + x);
      store(to + x, total);
    }
    std::fill(to + width, to + Plane::whole(width), 0.0f);
  }
}

}  // namespace

void structural_similarity(const float* first, const float* second, int count, int height, int width, int channels,
                           int threads, float* similarity, float* gradient) {
  const Window window;
  std::vector<double> sums(static_cast<size_t>(count) * channels);
  parallel_for(count * channels, threads, [&](int item) {
    const int image = item / channels, channel = item % channels;
    const size_t start = static_cast<size_t>(image) * height * width * channels + channel;
    auto at = [&](int y, int x) { return start + (static_cast<size_t>(y) * width + x) * channels; };
    auto plane = [&] { return Plane(width, height); };
    Plane a = plane(), b = plane(), work = plane(), across = plane();
    Plane mean_a = plane(), mean_b = plane(), aa = plane(), bb = plane(), ab = plane();
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x) {
        a.row(y)[x] = first[at(y, x)];
        b.row(y)[x] = second[at(y, x)];
      }
    auto blur_product = [&](Plane& p, Plane& q, Plane* out) {
      for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x) work.row(y)[x] = p.row(y)[x] * q.row(y)[x];
      blur(window, work, width, height, &across, out);
    };
    blur(window, a, width, height, &across, &mean_a);
    blur(window, b, width, height, &across, &mean_b);
    blur_product(a, a, &aa);
    blur_product(b, b, &bb);
    blur_product(a, b, &ab);

    // Replace the blurred maps by the similarity's derivatives with respect to mean_a, E[a²] and E[ab].
    double total = 0;
    for (int y = 0; y < height; ++y) {
      float *__restrict ma = mean_a.row(y), *__restrict mb = mean_b.row(y), *__restrict eaa = aa.row(y);
      float *__restrict ebb = bb.row(y), *__restrict eab = ab.row(y), *__restrict similar = work.row(y);
      for (int x = 0; x < width; ++x) {
        const float a1 = 2 * ma[x] * mb[x] + kC1, a2 = 2 * (eab[x] - ma[x] * mb[x]) + kC2;
        const float b1 = ma[x] * ma[x] + mb[x] * mb[x] + kC1;
        const float b2 = eaa[x] - ma[x] * ma[x] + ebb[x] - mb[x] * mb[x] + kC2;
        const float inverse = 1 / (b1 * b2), s = a1 * a2 * inverse;
        similar[x] = s;
        const float by_mean = 2 * mb[x] * (a2 - a1) * inverse + 2 * ma[x] * s * (1 / b2 - 1 / b1);
        eaa[x] = -s / b2;
        eab[x] = 2 * a1 * inverse;
        ma[x] = by_mean;
      }
      for (int x = 0; x < width; ++x) total += similar[x];
    }
    sums[item] = total;
    Plane &by_mean = mean_b, &by_aa = bb;  // both maps are used up
    blur(window, mean_a, width, height, &across, &by_mean);
    blur(window, aa, width, height, &across, &by_aa);
    blur(window, ab, width, height, &across, &work);
    const float share = 1.0f / (static_cast<float>(height) * width * channels);
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x)
        gradient[at(y, x)] =
            share * (by_mean.row(y)[x] + 2 * a.row(y)[x] * by_aa.row(y)[x] + b.row(y)[x] * work.row(y)[x]);
  });
  for (int image = 0; image < count; ++image) {
    double total = 0;
    for (int channel = 0; channel < channels; ++channel) total += sums[static_cast<size_t>(image) * channels + channel];
    similarity[image] = static_cast<float>(total / (static_cast<double>(height) * width * channels));
  }
}

}  // namespace legs4d
