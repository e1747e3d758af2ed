//===- fuzz_html.cpp - The HTML reader on any bytes -----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/CorpusFiles.h"
#include "compiler/Data/Html.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const std::string_view html(reinterpret_cast<const char *>(data), size);
  const std::string text = retort::htmlToText(html);
  // Valid stays valid. "&lt" (3 bytes) gives 1, "<li>x" gives 3: text never grows past this.
  if (retort::findInvalidUtf8(html) == std::string::npos &&
      retort::findInvalidUtf8(text) != std::string::npos)
    std::abort();
  if (text.size() > 3 * html.size() + 1)
    std::abort();
  return 0;
}
