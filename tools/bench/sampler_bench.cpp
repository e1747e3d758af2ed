//===- sampler_bench.cpp - What the host's sampler takes ------------------===//
// SPDX-License-Identifier: Apache-2.0
// Draws from 16 rows of 49,152 random logits with deviation 3, flat and with 30 likely ones in each, as a
// trained model's rows have. Prints the processor's microseconds a draw.
//
//   ninja -C build sampler_bench && build/bin/sampler_bench
#include "runtime/src/engine/Sampler.h"

#include <cstdio>
#include <ctime>
#include <random>

using namespace retort::engine;

int main() {
  constexpr int kVocab = 49152, kRows = 16, kDraws = 400;
  for (const bool peaked : {false, true}) {
    std::mt19937_64 random(1);
    std::normal_distribution<float> normal;
    std::vector<std::vector<float>> rows(kRows, std::vector<float>(kVocab));
    for (std::vector<float> &row : rows) {
      for (float &logit : row)
        logit = 3 * normal(random);
      for (int i = 0; peaked && i < 30; ++i)
        row[random() % kVocab] = 18 + 3 * normal(random);
    }
    const SamplerOptions all[] = {{.temperature = 0},
                                  {.temperature = 0.8f},
                                  {.temperature = 0.8f, .topP = 0.95f},
                                  {.temperature = 0.7f, .topP = 0.95f, .topK = 40},
                                  {.temperature = 1, .minP = 0.05f}};
    for (const SamplerOptions &options : all) {
      Sampler sampler(options);
      std::vector<Candidate> room;
      long long sum = 0; // so that nothing is left out
      const std::clock_t begin = std::clock();
      for (int i = 0; i < kDraws; ++i)
        sum += drawToken(rows[size_t(i % kRows)], sampler.next(), room);
      const double seconds = double(std::clock() - begin) / CLOCKS_PER_SEC;
      std::printf("%s, temperature %g, top_p %g, top_k %u, min_p %g: %.0f us (%lld)\n",
                  peaked ? "peaked" : "flat", double(options.temperature), double(options.topP),
                  options.topK, double(options.minP), seconds / kDraws * 1e6, sum);
    }
  }
}
