# Quantising and packing for the kernels: no MLIR, no exceptions but retort::Error.
retort_library(RetortPack SOURCES ${CMAKE_CURRENT_LIST_DIR}/Pack.cpp
  ${CMAKE_CURRENT_LIST_DIR}/PackMma.cpp PUBLIC_LIBS RetortBase)
