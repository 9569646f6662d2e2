/* sequences.c - where the sequences of a packed row space begin and end. */
#include "plan.h"

int64_t cpu_sequences(const zeb_plan *plan, int32_t tensor) {
    const int32_t offsets = plan->tensor[tensor].offsets;
    return offsets == ZEB_NONE ? cpu_live_rows(plan, tensor) : plan->tensor[offsets].rows - 1;
}

void cpu_sequence_rows(const zeb_plan *plan, int32_t tensor, int64_t sequence, int64_t *first, int64_t *end) {
    const int32_t offsets = plan->tensor[tensor].offsets;
    if (offsets == ZEB_NONE) {
        *first = sequence;
        *end = sequence + 1;
        return;
    }
    const int32_t *at = cpu_ints(plan, offsets) + sequence;
    const int64_t live = cpu_live_rows(plan, tensor);
    const int64_t a = at[0] < 0 ? 0 : at[0] > live ? live : at[0];
    const int64_t b = at[1] < a ? a : at[1] > live ? live : at[1];
    *first = a;
    *end = b;
}

int64_t cpu_sequence_of(const zeb_plan *plan, int32_t tensor, int64_t row) {
    const int32_t offsets = plan->tensor[tensor].offsets;
    if (offsets == ZEB_NONE) return row;
    const int32_t *at = cpu_ints(plan, offsets);
    int64_t low = 0, high = plan->tensor[offsets].rows - 1; /* the last sequence that starts at or before the row */
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (at[middle] <= row)
            low = middle;
        else
            high = middle;
    }
    return low;
}
