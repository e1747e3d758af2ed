/*===- sim.h - Controls of the simulated CUDA driver -----------------------------------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
/* What libretort_sim.so exports beside the driver API (docs/cuda-sim.md). Call retort_sim_set before cuInit for what
 * describes the machine, between launches for the rest. Any thread; a call waits for a running launch. */
#ifndef RETORT_SIM_H
#define RETORT_SIM_H
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif

/**
 * Sets a setting, by the name of its environment variable in lower case without RETORT_SIM_: devices, sms, arch, seed,
 * memory, peers, check, count, fail_allocation, lose_device, lost_device, host_wait_ms.
 *
 * @return 1, or 0 if there is no such setting or the value is out of range: nothing changed.
 */
int retort_sim_set(const char *name, long long value);

/** Names [begin, begin + bytes) of device memory in the report: its accesses are counted apart. Until it is freed. */
void retort_sim_name(unsigned long long begin, size_t bytes, const char *name);

/** Findings so far; 0 unless the setting `check` was on when the module was loaded. */
size_t retort_sim_num_findings(void);

/**
 * Writes the report, findings and counters, as JSON, at most `capacity` bytes with the final zero.
 *
 * @return the bytes that it needs, with the final zero.
 */
size_t retort_sim_report(char *text, size_t capacity);

/** Forgets findings and counters; keeps settings and names. */
void retort_sim_clear(void);

/** Why the last call that failed did so (the host compiler's messages, for a module), valid until the next call. */
const char *retort_sim_error(void);

#ifdef __cplusplus
}
#endif
#endif
