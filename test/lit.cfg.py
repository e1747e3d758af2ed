# SPDX-License-Identifier: Apache-2.0
"""lit's configuration: the .mlir files under test/, with retort-opt and FileCheck."""
import os

import lit.formats
import lit.llvm
from lit.llvm import llvm_config

config.name = "Retort"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs", "e2e", "fuzz", "unit"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = config.retort_test_binary_dir

llvm_config.with_environment("PATH", config.retort_tools_dir, append_path=True)
llvm_config.with_environment("PATH", config.llvm_tools_dir, append_path=True)
config.substitutions += [("%python", config.python), ("%llvm_include", config.llvm_include_dir),
                         ("%tools", config.retort_tools_dir), ("%llvm_tools", config.llvm_tools_dir)]
llvm_config.add_tool_substitutions(
    ["retort-opt", "retort-lsp-server", "FileCheck", "not", "split-file"],
    [config.retort_tools_dir, config.llvm_tools_dir])
