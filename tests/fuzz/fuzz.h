/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BYWAY_TESTS_FUZZ_H
#define BYWAY_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* https://llvm.org/docs/LibFuzzer.html; replay.c calls it for each file of the corpus. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
