//===- MakeBundle.cpp - Writes the bundle of the tests ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/base/Error.h"
#include "test/unit/Runtime/TestBundle.h"
#include <cstdio>
#include <cstdlib>

/// retort_test_make_bundle FILE [WEIGHT_BYTES]
int main(int argc, char **argv) {
  if (argc < 2)
    return 2;
  try {
    retort::test::writeTestBundle(argv[1], retort::test::testManifest(),
                                  argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 5000);
  } catch (const retort::Error &error) {
    std::fprintf(stderr, "%s\n", error.message.c_str());
    return int(error.code);
  }
}
