//===- MakeBundle.cpp - Writes the bundle of the tests --------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/Error.h"
#include "test/unit/Runtime/TestBundle.h"
#include <cstdio>
#include <cstdlib>
#include <string>

/// retort_test_make_bundle FILE [WEIGHT_BYTES [TARGETS]]; TARGETS: cpu, cuda (for one GPU and for
/// two) or cpu,cuda.
int main(int argc, char **argv) {
  if (argc < 2)
    return 2;
  const uint64_t weightBytes = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 5000;
  const std::string targets = argc > 3 ? argv[3] : "cpu";
  try {
    if (targets == "cpu")
      retort::test::writeTestBundle(argv[1], retort::test::testManifest(), weightBytes);
    else
      retort::test::writeCudaBundle(argv[1], {.devices = {1, 2},
                                              .cpu = targets == "cpu,cuda",
                                              .tokenizer = true,
                                              .weightBytes = weightBytes});
  } catch (const retort::Error &error) {
    std::fprintf(stderr, "%s\n", error.message.c_str());
    return int(error.code);
  }
}
