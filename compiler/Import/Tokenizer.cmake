# Included by CMakeLists.txt beside it. No MLIR.
retort_library(RetortTokenizerImport
  SOURCES ChatJinjaParse.cpp ChatJinjaRun.cpp ChatTemplate.cpp TokenizerCompile.cpp TokenizerGguf.cpp TokenizerJson.cpp
          TokenizerJsonWriter.cpp TokenizerRead.cpp TokenizerRegex.cpp TokenizerSpec.cpp TokenizerUnicode.cpp
  PUBLIC_LIBS RetortTokenizer RetortCheckpoint)
