/* graph.h - a small encoder that drops tokens in both layers, gates heads and thresholds scores: every way in which a
 * count is made on the device and consumed there. */
#ifndef OPENCL_TEST_GRAPH_H
#define OPENCL_TEST_GRAPH_H

#include "graph/builder.h"

enum {
    G_TOKENS = 40,
    G_BATCH = 4,
    G_WIDTH = 24,
    G_HEADS = 3,
    G_FFN = 40,
    G_VOCABULARY = 50,
    G_POSITIONS = 16,
    G_LAYERS = 2
};

typedef struct test_graph {
    zeb_builder *builder;
    const zeb_graph *graph;
    int32_t offsets, count, ids, logits;
    int32_t kept[G_LAYERS]; /* counts of the survivors */
} test_graph;

void test_graph_make(test_graph *made);
void test_graph_free(test_graph *made);

#endif
