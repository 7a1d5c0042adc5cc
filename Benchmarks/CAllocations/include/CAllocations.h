#pragma once
#include <stdint.h>

/// Calls of malloc and its relatives by this process so far, all threads.
uint64_t lh_allocations(void);
