//===- Checks.cpp - What the executor asks of models -------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Checks.h"
#include <algorithm>
#include <map>

namespace retort::exec {
namespace {

size_t additionsOf(const Graph &graph, const Block &block) {
  return size_t(std::ranges::count(graph.nodesOf(block), OpKind::Residual, &Node::op));
}

/// Whether a linear layer of the block reads a matrix of this name and makes as many features.
bool hasLayer(const Graph &graph, const Block &block, const Param &like) {
  return std::ranges::any_of(graph.nodesOf(block), [&](const Node &node) {
    if (node.op != OpKind::Linear)
      return false;
    const Param &param = graph.params[size_t(node.param("weight"))];
    return param.name == like.name && param.rows == like.rows;
  });
}

bool isReadOnce(const Graph &graph, ParamId id) {
  return std::ranges::count_if(graph.nodes, [&](const Node &node) {
           return std::ranges::any_of(node.params,
                                      [&](const auto &read) { return read.second == id; });
         }) == 1;
}

} // namespace

void checkModel(const Graph &graph) {
  const std::string name = "model '" + graph.name + "': ";
  if (std::ranges::count(graph.nodes, OpKind::Logits, &Node::op) != 1 ||
      graph.nodes.back().op != OpKind::Logits)
    fail(ExitCode::Unsupported, name + "it does not end in its only lm.logits");
  for (size_t b = 1; b < graph.blocks.size(); ++b)
    if (graph.blocks[b].in != graph.blocks[b - 1].out ||
        graph.blocks[b].firstNode != graph.blocks[b - 1].firstNode + graph.blocks[b - 1].numNodes)
      fail(ExitCode::Unsupported,
           name + "block '" + graph.blocks[b].label + "' does not read the block before it");
}

const Block *blockOf(const Graph &graph, const std::string &label) {
  const auto found = std::ranges::find(graph.blocks, label, &Block::label);
  return found == graph.blocks.end() ? nullptr : &*found;
}

Addition additionOf(const Graph &student, const Block &block, const Node &linear,
                    const Graph &teacher) {
  const size_t ours = additionsOf(student, block);
  size_t index = 0;
  for (const Node &node : student.nodesOf(block)) {
    if (node.op != OpKind::Residual)
      continue;
    if (node.ins[1] == linear.outs[0]) {
      const Block *same = blockOf(teacher, block.label);
      const size_t theirs = same ? additionsOf(teacher, *same) : 0;
      if (theirs < ours)
        fail(ExitCode::Usage, "fit: block '" + block.label + "' adds to the stream " +
                                  std::to_string(ours) + " times, the teacher's " +
                                  std::to_string(theirs));
      return {&node, index + theirs - ours};
    }
    ++index;
  }
  return {};
}

void checkFit(const Graph &student, const Graph &teacher, const std::vector<std::string> &params) {
  checkModel(student);
  checkModel(teacher);
  if (student.hidden != teacher.hidden)
    fail(ExitCode::Usage, "fit: the student has " + std::to_string(student.hidden) +
                              " hidden features, the teacher " + std::to_string(teacher.hidden));
  teacherTokens(student, teacher);
  const auto isWanted = [&](ParamId id) {
    return std::ranges::find(params, student.params[size_t(id)].name) != params.end();
  };
  size_t found = 0;
  const Block *last = nullptr; // of the teacher: its blocks are run once, in order
  for (const Block &block : student.blocks) {
    const Block *same = blockOf(teacher, block.label);
    if (!same || (last && same <= last))
      fail(ExitCode::Usage,
           "fit: the teacher has no block '" + block.label + "' where the student has");
    last = same;
    for (const Node &node : student.nodesOf(block)) {
      if (node.op != OpKind::Linear || !isWanted(node.param("weight")))
        continue;
      const Param &param = student.params[size_t(node.param("weight"))];
      if (!additionOf(student, block, node, teacher).residual && !param.format.quantised() &&
          !hasLayer(teacher, *same, param))
        fail(ExitCode::Usage,
             "fit: '" + param.name + "' is neither added to the stream nor quantised, and " +
                 "the teacher has no layer of its name and size: there is nothing to solve for");
      ++found;
    }
  }
  // A matrix that is also the embedding would change what the first block reads, which is done by then.
  const ParamId logits = student.nodes.back().param("weight");
  found += isWanted(logits) && isReadOnce(student, logits);
  if (found != params.size())
    fail(ExitCode::Usage, "fit: of " + std::to_string(params.size()) + " parameters only " +
                              std::to_string(found) +
                              " are linear layers of the student's blocks or logits "
                              "with a matrix of their own");
}

void checkTraining(const Graph &student, const Graph *teacher, const Losses &losses) {
  checkModel(student);
  if (!(losses.temperature > 0))
    fail(ExitCode::Usage, "training: the temperature must be above 0");
  if (!losses.needTeacher())
    return;
  if (!teacher)
    fail(ExitCode::Usage, "training: these losses need a teacher");
  checkModel(*teacher);
  teacherTokens(student, *teacher);
  const bool shares = std::ranges::any_of(student.blocks, [&](const Block &block) {
    return blockOf(*teacher, block.label) != nullptr;
  });
  if (losses.hiddenMatching > 0 && (!shares || student.hidden != teacher->hidden))
    fail(ExitCode::Usage,
         "hidden-state matching needs a teacher with blocks of the same labels and " +
             std::to_string(student.hidden) + " hidden features");
}

std::vector<int32_t> teacherTokens(const Graph &student, const Graph &teacher) {
  if (teacher.vocab == student.vocab && teacher.vocabKept == student.vocabKept)
    return {};
  const std::vector<int32_t> &kept = student.vocabKept;
  const bool fits = teacher.vocabKept.empty() && int64_t(kept.size()) == student.vocab;
  if (!fits || kept.back() >= teacher.vocab)
    fail(ExitCode::Usage, "the teacher's vocabulary of " + std::to_string(teacher.vocab) +
                              " does not contain the student's of " +
                              std::to_string(student.vocab) +
                              ": prune the vocabulary before the student is derived");
  return kept;
}

std::vector<std::vector<ParamId>> probeGroups(const Graph &graph) {
  std::vector<std::vector<ParamId>> groups;
  for (const Block &block : graph.blocks) {
    std::map<ValueId, size_t> readers; // groups, by what they read
    for (const Node &node : graph.nodesOf(block)) {
      if (node.op != OpKind::Linear || !isReadOnce(graph, node.param("weight")))
        continue;
      const auto [group, isNew] = readers.try_emplace(node.ins[0], groups.size());
      if (isNew)
        groups.emplace_back();
      groups[group->second].push_back(node.param("weight"));
    }
  }
  if (const ParamId logits = graph.nodes.back().param("weight"); isReadOnce(graph, logits))
    groups.push_back({logits});
  return groups;
}

} // namespace retort::exec
