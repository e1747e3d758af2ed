# Quantising and packing for the CPU kernels: no MLIR, no exceptions but retort::Error.
retort_library(RetortPack SOURCES ${CMAKE_CURRENT_LIST_DIR}/Pack.cpp PUBLIC_LIBS RetortBase)
