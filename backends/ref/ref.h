/* ref - every op of zeb/graph.h in plain C: obvious, slow, accumulating in binary64 and rounding once. What this plugin
 * computes is what the op means. No threads, no vector code, nothing clever. */
#ifndef ZEB_REF_H
#define ZEB_REF_H

#include "zeb/host_plan.h"
#include "zeb/number.h"
#include "zeb/plugin.h"

/* The weight matrix of a LINEAR as its precision wants it, made once at compile. */
typedef struct ref_matrix {
    float *w;      /* [N,K] F32, BF16 (rounded) and W4A16 (dequantised); NULL for integer precisions */
    int8_t *q;     /* [N,K] W8A8 and W4A8 */
    float *scale;  /* W8A8 [N]; W4A8 [N,K/group] */
    int32_t group; /* W4A8 */
} ref_matrix;

struct zeb_plan {
    zeb_host_plan host;
    ref_matrix *matrix; /* [node_count], empty but for LINEAR */
    /* Scratch for one row or one sequence, of the greatest size that any node needs. */
    double *wide;
    double *sum;
    float *row;
    int8_t *quantised;
    float *importance;
    unsigned char *keep;
};

/* One node under way. */
typedef struct ref_at {
    zeb_plan *plan;
    const zeb_node *node;
    zeb_error *error;
} ref_at;

/* An input or output by position: its tensor (NULL when it is not there) and its bytes. */
const zeb_tensor *ref_input(const ref_at *at, uint32_t position);
void *ref_input_data(const ref_at *at, uint32_t position);
void *ref_output_data(const ref_at *at, uint32_t position);
/* Live rows of an input; offsets of its row space. */
int64_t ref_input_rows(const ref_at *at, uint32_t position);
const int32_t *ref_input_offsets(const ref_at *at, uint32_t position);
int64_t ref_input_batch(const ref_at *at, uint32_t position); /* most sequences of its row space */

zeb_status ref_embed(const ref_at *at);
zeb_status ref_linear(const ref_at *at);
zeb_status ref_norm(const ref_at *at);
zeb_status ref_attention(const ref_at *at);
zeb_status ref_select(const ref_at *at);
zeb_status ref_gather(const ref_at *at);
zeb_status ref_activate(const ref_at *at);
zeb_status ref_pool(const ref_at *at);
zeb_status ref_head_gate(const ref_at *at);
zeb_status ref_log_likelihood(const ref_at *at);
zeb_status ref_blocks(const ref_at *at);
zeb_status ref_exit(const ref_at *at);
zeb_status ref_head_topk(const ref_at *at);

/* Makes a LINEAR's matrix; ref_matrix_free takes a zeroed one. */
zeb_status ref_matrix_make(const zeb_graph *graph, const zeb_node *node, ref_matrix *matrix, zeb_error *error);
void ref_matrix_free(ref_matrix *matrix);

/* act(x) of zeb_activation. */
double ref_activation(uint32_t kind, double x);

/* sum_i a[i] * b[i] in binary64. */
double ref_dot(const float *a, const float *b, int64_t n);

/* Selection among all sequences of a row space: writes indices, offsets [batch+1] and *count. importance may be NULL
 * for ZEB_SELECT_FIRST. */
void ref_select_rows(zeb_plan *plan, const zeb_select *select, const float *importance, const int32_t *from,
                     int64_t batch, int32_t *indices, int32_t *offsets, int32_t *count);

#endif
