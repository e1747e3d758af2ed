// What unit tests include, precompiled once (cmake/Retort.cmake).
// SPDX-License-Identifier: Apache-2.0
#include "cmake/headers.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>
