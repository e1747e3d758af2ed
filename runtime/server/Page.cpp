//===- Page.cpp - The page at / -------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Page.h"

#include <random>

namespace retort::server {
namespace {

constexpr const char kPage[] =
#include "runtime/server/page.inc"
    ;

std::string randomNonce() {
  std::random_device device;
  std::string nonce;
  for (int i = 0; i < 32; ++i)
    nonce += "0123456789abcdef"[device() % 16];
  return nonce;
}

void replaceAll(std::string &text, const std::string &name, const std::string &value) {
  for (size_t at = 0; (at = text.find(name, at)) != text.npos; at += value.size())
    text.replace(at, name.size(), value);
}

/// JSON within a script: no text of it can end the script.
std::string inScript(const Json &value) {
  std::string text = dumped(value);
  replaceAll(text, "<", "\\u003c");
  return text;
}

HttpReply page(std::string html, const std::string &sources) {
  return {200,
          std::move(html),
          {{"Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; "
                                       "frame-ancestors 'none'; " +
                                           sources},
           {"X-Content-Type-Options", "nosniff"},
           {"Referrer-Policy", "no-referrer"},
           {"Cache-Control", "no-store"}},
          "text/html; charset=utf-8"};
}

} // namespace

HttpReply chatPage(const Json &config) {
  std::string html = kPage;
  const std::string nonce = randomNonce();
  replaceAll(html, "NONCE", nonce);
  replaceAll(html, "CONFIG", inScript(config));
  return page(std::move(html), "script-src 'nonce-" + nonce + "'; style-src 'nonce-" + nonce +
                                   "'; connect-src 'self'");
}

HttpReply reportPage(std::string html) {
  return page(std::move(html), "style-src 'unsafe-inline'; img-src data:");
}

} // namespace retort::server
