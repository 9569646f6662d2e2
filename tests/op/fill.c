/* The passes of a case: how many sequences of which length, and what the inputs hold. */
#include <math.h>
#include <string.h>

#include "fixture.h"

static const char *const PASS[OP_PASSES] = {"ragged",       "no rows",     "one row",          "every row",
                                            "one sequence", "empty first", "trailing empties", "ragged again"};

const char *op_pass_name(int pass) {
    return PASS[pass];
}

/* Lengths of `count` sequences that together have `total` rows; cuts fall where they fall, so some are empty. */
static void cut(op_fixture *fx, int64_t count, int64_t total) {
    int32_t *offsets = fx->offsets_data;
    offsets[0] = 0;
    for (int64_t b = 1; b < count; ++b) {
        int32_t at = (int32_t)op_random_below(&fx->random, total + 1);
        int64_t i = b;
        for (; i > 1 && offsets[i - 1] > at; --i)
            offsets[i] = offsets[i - 1];
        offsets[i] = at;
    }
    for (int64_t b = count; b <= fx->batch_max; ++b)
        offsets[b] = (int32_t)total;
}

static void fill_lengths(op_fixture *fx, int pass) {
    int64_t batch = fx->batch_max, tokens = fx->token_max;
    switch (pass) {
        case 1: cut(fx, batch, 0); break;
        case 2: cut(fx, 1, 1); break;
        case 3: cut(fx, batch, tokens); break;
        case 4: cut(fx, 1, tokens); break;
        case 5: /* all rows in the last sequence */
            cut(fx, batch, 0);
            fx->offsets_data[batch] = (int32_t)(tokens / 2 + 1);
            break;
        case 6: cut(fx, (batch + 1) / 2, tokens - tokens / 3); break;
        default: cut(fx, batch, 1 + op_random_below(&fx->random, tokens)); break;
    }
}

static float importance(op_random *random, int pass) {
    double unit = op_random_unit(random);
    switch (pass) {
        case 3: return (float)floor(unit * 6.0) / 8.0f; /* ties */
        case 4: return unit < 0.3 ? NAN : (float)unit;  /* some NaN */
        case 5: return 0.5f;                            /* all equal */
        case 6: return unit < 0.2 ? INFINITY : unit < 0.4 ? -INFINITY : unit < 0.5 ? NAN : (float)unit;
        case 7: return NAN;
        default: return (float)unit;
    }
}

static void fill_row(op_fixture *fx, const op_input *input, int pass, int64_t from, int64_t width) {
    float *f = (float *)input->data + from, size = 1.0f;
    int32_t *i = (int32_t *)input->data + from;
    if (input->fill == OP_FILL_WIDE && op_random_below(&fx->random, 3) > 0)
        size = op_random_below(&fx->random, 4) == 0 ? 0.0f : (float)exp2(op_random_normal(&fx->random) * 6.0);
    for (int64_t j = 0; j < width; ++j)
        switch (input->fill) {
            case OP_FILL_NORMAL: f[j] = (float)op_random_normal(&fx->random); break;
            case OP_FILL_WIDE: f[j] = size * (float)op_random_normal(&fx->random); break;
            case OP_FILL_IDS: i[j] = (int32_t)op_random_below(&fx->random, input->range); break;
            case OP_FILL_TARGETS: i[j] = (int32_t)op_random_below(&fx->random, input->range + 1) - 1; break;
            case OP_FILL_GATES: f[j] = pass == 0 || op_random_below(&fx->random, 3) > 0 ? 1.0f : 0.0f; break;
            case OP_FILL_IMPORTANCE: f[j] = importance(&fx->random, pass); break;
        }
}

void op_fill_pass(op_fixture *fx, int pass) {
    fill_lengths(fx, pass);
    int64_t live = fx->offsets_data[fx->batch_max];
    for (size_t n = 0; n < fx->input_count; ++n) {
        const op_input *input = &fx->input[n];
        const zeb_tensor *tensor = &fx->graph.tensor[input->tensor];
        int64_t width = tensor->rank == 2 ? tensor->extent[1].max : 1;
        int64_t rows = tensor->offsets == ZEB_NONE ? tensor->extent[0].max : live;
        memset(input->data, 0xff, tensor->bytes); /* NaN */
        if (tensor->dtype == ZEB_I32)             /* far outside every table, and not -1, which means "no target" */
            for (size_t i = 0; i < tensor->bytes / 4; ++i)
                ((int32_t *)input->data)[i] = 0x7ffffff0;
        for (int64_t t = 0; t < rows; ++t)
            fill_row(fx, input, pass, t * width, width);
    }
}
