//===- Page.h - The page at / -----------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// A page to talk to the model (page.html, which is compiled in) and the bundle's report. Both come with a
// Content-Security-Policy under which they load nothing and only ask this server.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/server/Fields.h"
#include "runtime/server/Http.h"

namespace retort::server {

/// `config` is what the page's script knows: keys, and of each of `models` name, device, context, chat, report.
HttpReply chatPage(const Json &config);
/// The report.html of a bundle.
HttpReply reportPage(std::string html);

} // namespace retort::server
