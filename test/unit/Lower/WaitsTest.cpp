//===- WaitsTest.cpp - The verifier misses no wait and no access ----------===//
// SPDX-License-Identifier: Apache-2.0
// Programs that lower-to-kernel made are changed in one place each: a wait goes, a buffer is another
// one, phases change places, activations share bytes. kernel.program's verifier has to refuse every
// one of them and say what is missing. So none of the program's waits is one too many either.
#include "dialects/Kernel/Accesses.h"
#include "dialects/LM/LMOps.h"
#include "dialects/Weight/WeightOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Fuse/Passes.h"
#include "passes/Lower/Passes.h"
#include "passes/Partition/Passes.h"
#include "test/unit/Codegen/TinyModel.h"
#include <gmock/gmock.h>

using namespace mlir;
namespace retort::test {
namespace {
using testing::AnyOf;
using testing::HasSubstr;

/// What a program is made for.
struct Target {
  std::string name, target, step;
  int devices = 1, device = 0;
};
void PrintTo(const Target &target, std::ostream *os) { *os << target.name; }

const Target kTargets[] = {{"Cpu", "cpu", ""},
                           {"Decode", "cuda", "decode"},
                           {"Prefill", "cuda", "prefill"},
                           {"Decode0of2", "cuda", "decode", 2, 0},
                           {"Decode1of2", "cuda", "decode", 2, 1},
                           {"Prefill0of2", "cuda", "prefill", 2, 0},
                           {"Prefill1of2", "cuda", "prefill", 2, 1}};

/// Two blocks; `norms`: with norms of heads and after attention and feed-forward (Gemma 3).
ModelSpec model(bool norms) {
  ModelSpec spec;
  spec.vocab = 96;
  spec.headNorm = spec.postNorm = norms;
  for (int64_t ffn : {64, 96})
    spec.layers.push_back({.heads = 4, .kvHeads = 2, .ffn = ffn});
  return spec;
}

class WaitsTest : public testing::TestWithParam<std::tuple<Target, bool, bool>> {
protected:
  MLIRContext context{MLIRContext::Threading::DISABLED};
  OwningOpRef<ModuleOp> module;

  void SetUp() override {
    auto [target, norms, fuse] = GetParam();
    context.loadDialect<lm::LMDialect, weight::WeightDialect, kernel::KernelDialect>();
    ModelSpec spec = model(norms);
    module = parseSourceString<ModuleOp>(modelText(spec, makeTensors(spec)), &context);
    ASSERT_TRUE(module);
    PassManager passes(&context);
    OpPassManager &onModel = passes.nest<lm::ModelOp>();
    PartitionOptions partition;
    partition.devices = target.devices;
    partition.device = target.device;
    onModel.addPass(createPartition(partition));
    if (fuse) {
      onModel.addPass(createFuseQKV());
      onModel.addPass(createFuseGateUp());
    }
    LowerToKernelOptions lower;
    lower.target = target.target;
    lower.step = target.step;
    passes.addPass(createLowerToKernel(lower));
    passes.nest<kernel::ProgramOp>().addPass(createPlanBuffers());
    ASSERT_TRUE(succeeded(passes.run(*module)));
  }

  static kernel::ProgramOp program(ModuleOp module) {
    return *module.getOps<kernel::ProgramOp>().begin();
  }

  /// What the verifier says of the program after `change`; empty if it has nothing to say.
  std::string refusal(function_ref<void(kernel::ProgramOp)> change) {
    OwningOpRef<kernel::ProgramOp> mutant = program(*module).clone();
    change(*mutant);
    std::string said;
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
      said += diagnostic.str();
      return success();
    });
    return succeeded(verify(*mutant)) ? "" : said.empty() ? "nothing said" : said;
  }

  /// The op of `inside` that stands where the `index`-th one of its body stands.
  static Operation *at(kernel::ProgramOp inside, size_t index) {
    return &*std::next(inside.getBody().front().begin(), static_cast<ptrdiff_t>(index));
  }

  /// Numbers the exchanges again, which are in order in every program.
  static void renumber(kernel::ProgramOp program) {
    int64_t index = 0;
    for (auto exchange : program.getBody().getOps<kernel::ExchangeOp>())
      exchange.setIndex(index++);
  }

  /// Calls `use` with the index of a phase, of an op in it and the access.
  void forEachAccess(function_ref<void(size_t, size_t, const kernel::Access &)> use) {
    for (auto [phaseIndex, op] : llvm::enumerate(program(*module).getBody().front()))
      if (auto phase = dyn_cast<kernel::PhaseOp>(op))
        for (auto [opIndex, inside] : llvm::enumerate(phase.getBody().front()))
          for (const kernel::Access &access : cast<kernel::TileOpInterface>(inside).getAccesses())
            use(phaseIndex, opIndex, access);
  }

  kernel::BufferOp buffer(StringRef name) {
    return *llvm::find_if(program(*module).getBody().getOps<kernel::BufferOp>(),
                          [&](kernel::BufferOp op) { return op.getSymName() == name; });
  }
};

TEST_P(WaitsTest, NoWaitIsOneTooMany) {
  size_t waits = 0;
  for (auto [index, op] : llvm::enumerate(program(*module).getBody().front())) {
    if (!isa<kernel::WaitOp, kernel::ExchangeOp>(op))
      continue;
    ++waits;
    std::string said = refusal([&, index = index](kernel::ProgramOp program) {
      at(program, index)->erase();
      renumber(program);
    });
    EXPECT_THAT(said, AnyOf(HasSubstr("no kernel.wait"), HasSubstr("no kernel.exchange")))
        << "without wait " << waits;
  }
  EXPECT_GT(waits, 8u);
}

TEST_P(WaitsTest, WaitForAnEarlierPhase) {
  StringRef last, before;
  for (auto [index, op] : llvm::enumerate(program(*module).getBody().front())) {
    if (auto phase = dyn_cast<kernel::PhaseOp>(op))
      before = std::exchange(last, phase.getSymName());
    if (!isa<kernel::WaitOp>(op) || before.empty())
      continue;
    std::string said = refusal([&, index = index](kernel::ProgramOp program) {
      cast<kernel::WaitOp>(at(program, index)).setPhase(before);
    });
    EXPECT_THAT(said, HasSubstr("no kernel.wait")) << "waiting for " << before.str();
  }
}

TEST_P(WaitsTest, AnExchangeIsMoreThanAWait) {
  for (auto [index, op] : llvm::enumerate(program(*module).getBody().front())) {
    if (!isa<kernel::ExchangeOp>(op))
      continue;
    std::string said = refusal([&, index = index](kernel::ProgramOp program) {
      auto exchange = cast<kernel::ExchangeOp>(at(program, index));
      OpBuilder(exchange).create<kernel::WaitOp>(exchange.getLoc(), exchange.getPhase());
      exchange.erase();
      renumber(program);
    });
    EXPECT_THAT(said, HasSubstr("no kernel.exchange"));
  }
}

// An access that is lost goes to a buffer of its own. What the op should have read or written then
// is missed: by itself, or by a later op.
TEST_P(WaitsTest, NoAccessIsLost) {
  llvm::DenseSet<Attribute> read;
  forEachAccess([&](size_t, size_t, const kernel::Access &access) {
    if (access.reads())
      read.insert(access.buffer);
  });
  forEachAccess([&](size_t phase, size_t op, const kernel::Access &access) {
    kernel::BufferOp from = buffer(access.buffer.getValue());
    // Caches are read also without having been written: by an earlier step. What an op updates all
    // over is its own working space.
    if ((from.getKind() != kernel::BufferKind::Activation &&
         from.getKind() != kernel::BufferKind::Received) ||
        (access.is<kernel::access::Update>() && !access.own))
      return;
    if (access.writes() && !read.contains(access.buffer)) {
      // Both devices keep the sums that a prologue makes; the first alone adds them as residuals.
      EXPECT_EQ(std::get<0>(GetParam()).name, "Decode1of2") << access.buffer.getValue().str();
      return;
    }
    std::string said = refusal([&](kernel::ProgramOp program) {
      OpBuilder builder = OpBuilder::atBlockBegin(&program.getBody().front());
      auto lost = cast<kernel::BufferOp>(builder.clone(*from));
      lost.setSymName("lost");
      lost.removeOffsetAttr();
      Operation *user =
          &*std::next(cast<kernel::PhaseOp>(at(program, phase + 1)).getBody().front().begin(), op);
      for (NamedAttribute attribute : user->getAttrs())
        if (attribute.getValue() == access.buffer)
          user->setAttr(attribute.getName(), FlatSymbolRefAttr::get(&context, "lost"));
    });
    EXPECT_THAT(said, HasSubstr("', which nothing "))
        << "lost: " << access.verb().str() << " '" << access.buffer.getValue().str() << "'";
  });
}

TEST_P(WaitsTest, PhasesInAnotherOrder) {
  size_t swapped = 0;
  for (auto [index, op] : llvm::enumerate(program(*module).getBody().front())) {
    if (!isa<kernel::WaitOp, kernel::ExchangeOp>(op))
      continue;
    ++swapped;
    std::string said = refusal([&, index = index](kernel::ProgramOp program) {
      Operation *wait = at(program, index), *first = wait->getPrevNode(),
                *second = wait->getNextNode();
      second->moveBefore(first);
      first->moveAfter(wait);
      wait->setAttr("phase",
                    FlatSymbolRefAttr::get(cast<kernel::PhaseOp>(second).getSymNameAttr()));
    });
    EXPECT_THAT(said, AnyOf(HasSubstr("', which nothing "), HasSubstr("no kernel."),
                            HasSubstr("is not the one op of the program's last phase")))
        << "wait " << swapped;
  }
}

TEST_P(WaitsTest, NoBytesAreSharedAtOneTime) {
  llvm::DenseMap<StringAttr, kernel::Life> lives = kernel::lives(program(*module));
  for (auto buffer : program(*module).getBody().getOps<kernel::BufferOp>())
    for (auto other : program(*module).getBody().getOps<kernel::BufferOp>()) {
      if (buffer == other || buffer.getKind() != kernel::BufferKind::Activation ||
          other.getKind() != kernel::BufferKind::Activation ||
          !lives.at(buffer.getSymNameAttr()).meets(lives.at(other.getSymNameAttr())))
        continue;
      std::string said = refusal([&](kernel::ProgramOp program) {
        cast<kernel::BufferOp>(SymbolTable::lookupSymbolIn(program, buffer.getSymName()))
            .setOffset(*other.getOffset());
      });
      EXPECT_THAT(said, HasSubstr("shares bytes with '"))
          << buffer.getSymName().str() << " at the place of " << other.getSymName().str();
    }
}

INSTANTIATE_TEST_SUITE_P(Programs, WaitsTest,
                         testing::Combine(testing::ValuesIn(kTargets), testing::Bool(),
                                          testing::Bool()),
                         [](const testing::TestParamInfo<WaitsTest::ParamType> &info) {
                           return std::get<0>(info.param).name +
                                  (std::get<1>(info.param) ? "Norms" : "Plain") +
                                  (std::get<2>(info.param) ? "Fused" : "");
                         });
} // namespace
} // namespace retort::test
