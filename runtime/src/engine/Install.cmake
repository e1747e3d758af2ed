# libretort.so and libretort.a: the engine, chats, grammars, the tokenizer and the base in one file each.
set(retort_objects
  $<TARGET_OBJECTS:RetortEngine> $<TARGET_OBJECTS:RetortChat> $<TARGET_OBJECTS:RetortGrammar>
  $<TARGET_OBJECTS:RetortTokenizer> $<TARGET_OBJECTS:RetortBase>)
add_library(libretort_shared SHARED ${retort_objects})
add_library(libretort_static STATIC ${retort_objects})
foreach(target libretort_shared libretort_static)
  set_target_properties(${target} PROPERTIES OUTPUT_NAME retort LINKER_LANGUAGE CXX)
  target_include_directories(${target} INTERFACE
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/runtime/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${target} PRIVATE OpenSSL::Crypto Threads::Threads ${CMAKE_DL_LIBS})
endforeach()
# The version script decides what is exported: retort_* and nothing else.
set_target_properties(libretort_shared PROPERTIES
  EXPORT_NAME retort VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
  LINK_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/retort.map)
target_link_options(libretort_shared PRIVATE
  -Wl,--version-script=${CMAKE_CURRENT_SOURCE_DIR}/retort.map)
if(NOT RETORT_SANITIZE) # a sanitizer's run-time library is found when the program starts
  target_link_options(libretort_shared PRIVATE -Wl,--no-undefined)
endif()
set_target_properties(libretort_static PROPERTIES EXPORT_NAME retort_static)
add_library(Retort::retort ALIAS libretort_shared)
add_library(Retort::retort_static ALIAS libretort_static)

# cmake --install BUILD --component runtime --prefix PREFIX
include(CMakePackageConfigHelpers)
set(retort_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Retort)
install(TARGETS libretort_shared libretort_static EXPORT RetortTargets COMPONENT runtime
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${PROJECT_SOURCE_DIR}/runtime/include/retort.h
  ${PROJECT_SOURCE_DIR}/runtime/include/retort.hpp
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT runtime)
install(EXPORT RetortTargets NAMESPACE Retort:: DESTINATION ${retort_package_dir} COMPONENT runtime)
configure_package_config_file(${CMAKE_CURRENT_SOURCE_DIR}/RetortConfig.cmake.in
  ${CMAKE_CURRENT_BINARY_DIR}/RetortConfig.cmake INSTALL_DESTINATION ${retort_package_dir})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/RetortConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/RetortConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/RetortConfigVersion.cmake
  DESTINATION ${retort_package_dir} COMPONENT runtime)
# ${pcfiledir} keeps the file right wherever the prefix is moved.
file(RELATIVE_PATH retort_prefix_from_pc
  /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(retort.pc.in ${CMAKE_CURRENT_BINARY_DIR}/retort.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/retort.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT runtime)
