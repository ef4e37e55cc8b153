#include "picture.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "parallel.h"
#include "ssim.h"

namespace legs4d {
namespace {

// weight · ((1 - s) · L1 + s · (1 - SSIM)); writes its derivative by `first`.
double image_loss(const float* first, const float* second, int count, int height, int width, int channels, float weight,
                  float ssim_share, int threads, float* gradient) {
  const size_t size = static_cast<size_t>(height) * width * channels;
  const float l1_share = weight * (1 - ssim_share) / (static_cast<float>(size) * count);
  std::vector<float> similarity(count, 0.0f);
  if (ssim_share != 0)
    structural_similarity(first, second, count, height, width, channels, threads, similarity.data(), gradient);
  std::vector<double> sums(count);
  parallel_for(count, threads, [&](int image) {
    const float *a = first + image * size, *b = second + image * size;
    float* g = gradient + image * size;
    const float by_similarity = ssim_share != 0 ? -weight * ssim_share / count : 0.0f;
    double total = 0;
    for (size_t i = 0; i < size; ++i) {
      const float difference = a[i] - b[i];
      total += std::abs(difference);
      const float sign = difference > 0 ? 1.0f : difference < 0 ? -1.0f : 0.0f;
      g[i] = by_similarity * (ssim_share != 0 ? g[i] : 0.0f) + l1_share * sign;
    }
    sums[image] = total;
  });
  double absolute = 0, similar = 0;
  for (int image = 0; image < count; ++image) absolute += sums[image], similar += similarity[image];
  const double l1 = absolute / (static_cast<double>(size) * count), dissimilar = 1 - similar / count;
  return weight * ((1 - ssim_share) * l1 + (ssim_share != 0 ? ssim_share * dissimilar : 0.0));
}

}  // namespace

double picture_loss(const float* seen, const float* foreground, const float* images, const float* masks, int count,
                    int height, int width, const PictureWeights& weights, int threads, float* seen_gradient,
                    float* foreground_gradient) {
  const size_t size = static_cast<size_t>(count) * height * width * 3;
  // No brighter than white where the picture is white: see `as_captured`.
  std::vector<float> captured(size);
  for (size_t i = 0; i < size; ++i)
    captured[i] = images[i] >= weights.saturated ? std::min(seen[i], images[i]) : seen[i];
  const double colors = image_loss(captured.data(), images, count, height, width, 3, 1.0f, weights.ssim_share, threads,
                                   seen_gradient);
  for (size_t i = 0; i < size; ++i)
    if (captured[i] != seen[i]) seen_gradient[i] = 0;
  return colors + image_loss(foreground, masks, count, height, width, 1, weights.segmentation, weights.ssim_share, threads,
                             foreground_gradient);
}

}  // namespace legs4d
