//===- Html.h - The text of a web page ------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

namespace retort {

/// The text that a reader of `html` would see: tags, comments, scripts, styles and the head (but
/// for its title) are dropped, character references are resolved, block elements begin a line,
/// <pre> keeps its white space and elsewhere runs of it are one space. Any bytes are accepted, in
/// linear time and without recursion; valid UTF-8 gives valid UTF-8. HTML Living Standard,
/// section 13.2, as far as text needs it: elements are not matched up, since pages do not match
/// them either.
std::string htmlToText(std::string_view html);

} // namespace retort
