# How long a test is: RETORT_THOROUGH=1 in the environment asks for the long form (CONTRIBUTING.md).
# SPDX-License-Identifier: Apache-2.0
import os

THOROUGH = os.environ.get("RETORT_THOROUGH", "") not in ("", "0")


def often(usual, thorough):
    """How many of something a test does."""
    return thorough if THOROUGH else usual
