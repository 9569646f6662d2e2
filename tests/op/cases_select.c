/* Select and gather, on importances with ties, NaN and infinities. */
#include "suite.h"

typedef struct select_case {
    int64_t tokens, batch, width;
    zeb_select select;
    int gather; /* 0 none, 1 F32 rows, 2 F32 of rank 1, 3 I32 */
} select_case;

static void build_select(op_fixture *fx, const void *parameters) {
    const select_case *c = parameters;
    op_rows(fx, c->tokens, c->batch);
    zeb_node node = zeb_node_make("select", ZEB_OP_SELECT);
    int32_t rows = op_rows_input(fx, "rows", OP_FILL_NORMAL, 0, c->width);
    int32_t ids = c->gather == 3 ? op_rows_input(fx, "ids", OP_FILL_IDS, 1000, 0) : ZEB_NONE;
    int32_t importance = ZEB_NONE;
    if (c->select.mode != ZEB_SELECT_FIRST) importance = op_rows_input(fx, "importance", OP_FILL_IMPORTANCE, 0, 0);
    node.input[ZEB_SELECT_IMPORTANCE] = importance;
    node.input[ZEB_SELECT_ROWS] = rows;
    node.attr.select = c->select;
    int32_t indices = op_node(fx, &node, 0);
    if (c->gather == 0) {
        for (int i = 0; i < 3; ++i)
            op_final(fx, fx->out[i]);
        return;
    }
    zeb_node gather = zeb_node_make("gather", ZEB_OP_GATHER);
    gather.input[ZEB_GATHER_X] = c->gather == 1 ? rows : c->gather == 2 ? importance : ids;
    gather.input[ZEB_GATHER_INDICES] = indices;
    op_node(fx, &gather, 0);
}

static void one(op_suite *suite, const select_case *c) {
    char name[128];
    (void)snprintf(name, sizeof name, "T%d B%d D%d mode %u value %g count %d floor %d last %d gather %d",
                   (int)c->tokens, (int)c->batch, (int)c->width, c->select.mode, (double)c->select.value,
                   c->select.count, c->select.floor, c->select.keep_last, c->gather);
    op_case(suite, c->gather == 0 ? ZEB_OP_SELECT : ZEB_OP_GATHER, name, build_select, c);
}

typedef struct exit_case {
    int64_t tokens, batch, labels;
    float confidence;
    int before, early; /* some sequences have left before: rows come from an exit */
} exit_case;

static int32_t leave(op_fixture *fx, const char *name, int32_t here, int32_t rows, int32_t before, float confidence) {
    zeb_node node = zeb_node_make(name, ZEB_OP_EXIT);
    node.input[ZEB_EXIT_HERE] = here;
    node.input[ZEB_EXIT_ROWS] = rows;
    node.input[ZEB_EXIT_BEFORE] = before;
    node.attr.exit.confidence = confidence;
    return op_node(fx, &node, 0);
}

static void build_exit(op_fixture *fx, const void *parameters) {
    const exit_case *c = parameters;
    op_rows(fx, c->tokens, c->batch);
    int32_t rows = op_rows_input(fx, "rows", OP_FILL_NORMAL, 0, 3), before = ZEB_NONE;
    if (c->before) before = op_plain_input(fx, "before", OP_FILL_NORMAL, c->batch, c->labels);
    if (c->early) {
        before =
            leave(fx, "early", op_plain_input(fx, "first", OP_FILL_NORMAL, c->batch, c->labels), rows, before, 0.6f);
        zeb_node gather = zeb_node_make("stay", ZEB_OP_GATHER);
        gather.input[ZEB_GATHER_X] = rows;
        gather.input[ZEB_GATHER_INDICES] = fx->out[ZEB_EXIT_INDICES];
        rows = op_node(fx, &gather, 0);
    }
    leave(fx, "exit", op_plain_input(fx, "here", OP_FILL_NORMAL, c->batch, c->labels), rows, before, c->confidence);
    for (int i = ZEB_EXIT_LOGITS; i <= (c->confidence > 0.0f ? ZEB_EXIT_COUNT : ZEB_EXIT_LOGITS); ++i)
        op_final(fx, fx->out[i]);
    fx->told = true;
}

static void exits(op_suite *suite) {
    static const int64_t shape[][3] = {{1, 1, 2}, {20, 5, 3}, {120, 12, 2}};
    static const float confidence[] = {0.0f, 0.7f, 1.0f, 0.3f};
    for (size_t s = 0; s < 3; ++s)
        for (size_t i = 0; i < 4; ++i)
            for (int extra = 0; extra < 4; ++extra) {
                char name[96];
                exit_case c = {shape[s][0], shape[s][1], shape[s][2], confidence[i], extra & 1, extra >> 1};
                (void)snprintf(name, sizeof name, "T%d B%d C%d confidence %g%s%s", (int)c.tokens, (int)c.batch,
                               (int)c.labels, (double)c.confidence, c.before ? " before" : "", c.early ? " early" : "");
                op_case(suite, ZEB_OP_EXIT, name, build_exit, &c);
            }
}

void op_cases_select(op_suite *suite) {
    static const int64_t shape[][3] = {{1, 1, 1}, {9, 4, 3}, {50, 3, 64}, {300, 7, 5}};
    static const struct {
        uint32_t mode;
        float value;
        int32_t count;
    } choice[] = {{ZEB_SELECT_FIRST, 0.0f, 0},     {ZEB_SELECT_THRESHOLD, 0.5f, 0}, {ZEB_SELECT_THRESHOLD, -1.0f, 0},
                  {ZEB_SELECT_THRESHOLD, 9.0f, 0}, {ZEB_SELECT_TOPK, 0.0f, 1},      {ZEB_SELECT_TOPK, 0.0f, 5},
                  {ZEB_SELECT_TOPK, 0.0f, 1000},   {ZEB_SELECT_RATIO, 0.1f, 0},     {ZEB_SELECT_RATIO, 0.3f, 0},
                  {ZEB_SELECT_RATIO, 0.5f, 0},     {ZEB_SELECT_RATIO, 1.0f, 0},     {ZEB_SELECT_RELATIVE, 6.0f, 0}};
    for (size_t s = 0; s < 4; ++s)
        for (size_t i = 0; i < sizeof choice / sizeof choice[0]; ++i)
            for (int32_t last = 0; last < 2; ++last)
                for (int32_t floor = 1; floor <= 3; floor += 2) {
                    select_case c = {shape[s][0],
                                     shape[s][1],
                                     shape[s][2],
                                     {.mode = choice[i].mode,
                                      .value = choice[i].value,
                                      .count = choice[i].count,
                                      .floor = floor,
                                      .keep_last = last},
                                     0};
                    one(suite, &c);
                    if (floor != 1 || last != 0) continue;
                    for (c.gather = 1; c.gather <= 3; ++c.gather)
                        if (c.gather != 2 || choice[i].mode != ZEB_SELECT_FIRST) one(suite, &c);
                }
    exits(suite);
}
