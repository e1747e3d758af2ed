//===- Sha256.cpp - SHA-256 by OpenSSL's libcrypto ------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/Sha256.h"
#include "runtime/base/Error.h"

#include <openssl/evp.h>

namespace retort {

struct Sha256::State {
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  if (!state_->context || EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) != 1)
    fail(ExitCode::Internal, "libcrypto offers no SHA-256: check the OpenSSL installation");
}
Sha256::~Sha256() = default;

void Sha256::add(std::span<const uint8_t> bytes) {
  if (EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) != 1)
    fail(ExitCode::Internal, "libcrypto failed to compute SHA-256");
}

void Sha256::add(std::string_view text) {
  add(std::span(reinterpret_cast<const uint8_t *>(text.data()), text.size()));
}

std::string Sha256::hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (EVP_DigestFinal_ex(state_->context, digest, &size) != 1)
    fail(ExitCode::Internal, "libcrypto failed to compute SHA-256");
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    text += "0123456789abcdef"[digest[i] >> 4];
    text += "0123456789abcdef"[digest[i] & 15];
  }
  return text;
}

std::string sha256Hex(std::span<const uint8_t> bytes) {
  Sha256 hash;
  hash.add(bytes);
  return hash.hex();
}

std::string sha256Hex(std::string_view text) {
  Sha256 hash;
  hash.add(text);
  return hash.hex();
}

} // namespace retort
