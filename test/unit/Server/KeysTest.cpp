//===- KeysTest.cpp - API keys --------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Keys.h"
#include "runtime/base/Error.h"
#include "test/unit/Runtime/TestBundle.h"
#include <gmock/gmock.h>
#include <sys/stat.h>

namespace retort::server {
namespace {

using testing::HasSubstr;

struct KeyFile : testing::Test {
  std::string errorOf(const std::string &text, mode_t mode) {
    test::writeFile(path, text);
    ::chmod(path.c_str(), mode);
    try {
      keys = Keys::read(path);
      return {};
    } catch (const Error &error) {
      return std::to_string(int(error.code)) + " " + error.message;
    }
  }
  test::TempFolder folder;
  std::string path = folder / "keys";
  Keys keys;
};

TEST_F(KeyFile, HoldsAKeyALine) {
  EXPECT_EQ(errorOf("# ours\nfirst\n\nsecond\r\nthird", 0640), "");
  for (const char *key : {"first", "second", "third"})
    EXPECT_TRUE(keys.holds(key)) << key;
  for (const char *key : {"", "# ours", "firs", "firsts", "FIRST", "first second"})
    EXPECT_FALSE(keys.holds(key)) << key;
}

TEST_F(KeyFile, IsRefusedIfEveryoneMayReadOrChangeIt) {
  EXPECT_THAT(errorOf("key\n", 0644), HasSubstr("2 " + path + ": every user of this machine"));
  EXPECT_THAT(errorOf("key\n", 0602), HasSubstr("chmod o-rwx"));
}

TEST_F(KeyFile, IsRefusedWithoutGoodKeys) {
  EXPECT_THAT(errorOf("# none\n\n", 0600), HasSubstr("3 " + path + ": holds no key"));
  EXPECT_THAT(errorOf("good\nnot good\n", 0600), HasSubstr(path + ":2: a key has printable"));
  ::unlink(path.c_str());
  EXPECT_THROW(Keys::read(path), Error);
  EXPECT_THROW(Keys::read(folder.path()), Error);
}

} // namespace
} // namespace retort::server
