/* graph/shape_rules.h - private to the room: the words in which shape_ops.c states its rules. */
#ifndef ZEB_GRAPH_SHAPE_RULES_H
#define ZEB_GRAPH_SHAPE_RULES_H

#include "graph/shape.h"

/* One node under inspection. */
typedef struct zeb_shape_at {
    const zeb_shape_graph *graph;
    const zeb_node *node;
    zeb_error *error;
} zeb_shape_at;

/* The input at a position, or NULL when it is not there. Ids were checked before. */
const zeb_tensor *zeb_shape_input(const zeb_shape_at *at, uint32_t position);

/* Error sentences: about the node, or about one of its inputs (named with its shape). */
ZEB_MUST_CHECK ZEB_PRINTF(2, 3) zeb_status zeb_shape_bad_node(const zeb_shape_at *at, const char *format, ...);
ZEB_MUST_CHECK ZEB_PRINTF(3, 4) zeb_status
    zeb_shape_bad(const zeb_shape_at *at, uint32_t position, const char *format, ...);

/* The rules. A position whose optional input is not there passes every one of them. */
enum { ZEB_SHAPE_ANY = -1 }; /* any extent */
/* A float constant (F32, F16, BF16) of exactly these extents; second is 0 for rank 1. */
ZEB_MUST_CHECK zeb_status zeb_shape_float_weight(const zeb_shape_at *at, uint32_t position, int64_t first,
                                                 int64_t second);
/* A constant table [any,second]: float, or I8 or U4 with scales. */
ZEB_MUST_CHECK zeb_status zeb_shape_table(const zeb_shape_at *at, uint32_t position, int64_t second);
/* A constant matrix of any dtype whose second extent is `second`, with its quantisation right for `precision`. */
ZEB_MUST_CHECK zeb_status zeb_shape_matrix(const zeb_shape_at *at, uint32_t position, int64_t second,
                                           uint32_t precision);
/* No constant, of this dtype and rank. */
ZEB_MUST_CHECK zeb_status zeb_shape_value(const zeb_shape_at *at, uint32_t position, zeb_dtype dtype, uint32_t rank);
/* As zeb_shape_value, and packed rows of a row space. */
ZEB_MUST_CHECK zeb_status zeb_shape_rows(const zeb_shape_at *at, uint32_t position, zeb_dtype dtype, uint32_t rank);
/* The rows at both positions belong to one row space (or both are plain, of one number of rows). */
ZEB_MUST_CHECK zeb_status zeb_shape_same_rows(const zeb_shape_at *at, uint32_t position, uint32_t base);
/* F32 [B, groups] without rows, B the most sequences of the row space at `base`. */
ZEB_MUST_CHECK zeb_status zeb_shape_gates(const zeb_shape_at *at, uint32_t position, uint32_t base, int64_t groups);
/* The fields of a selection that its mode reads. */
ZEB_MUST_CHECK zeb_status zeb_shape_select(const zeb_shape_at *at, const zeb_select *select);

/* The most sequences of a row tensor's space. */
int64_t zeb_shape_batch(const zeb_shape_at *at, const zeb_tensor *rows);

/* Outputs: F32 or I32 rows like those of `rows` (width 0: rank 1), or plain. */
void zeb_shape_make_rows(zeb_tensor *out, zeb_dtype dtype, const zeb_tensor *rows, int64_t width);
void zeb_shape_make_plain(zeb_tensor *out, zeb_dtype dtype, int64_t first, int64_t second);

/* One function an op, in shape_ops.c. */
typedef zeb_status zeb_shape_op_fn(const zeb_shape_at *at, uint32_t want, zeb_tensor *out);
zeb_shape_op_fn zeb_shape_embed, zeb_shape_linear, zeb_shape_norm, zeb_shape_attention, zeb_shape_select_op,
    zeb_shape_gather, zeb_shape_activation, zeb_shape_pool, zeb_shape_head_gate, zeb_shape_log_likelihood,
    zeb_shape_blocks, zeb_shape_exit, zeb_shape_head_topk;

#endif
