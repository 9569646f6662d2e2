/* zeb/graph.h - the graph that crosses the plugin boundary: tensors, extents, macro ops.
 *
 * A graph is a list of nodes in execution order over a list of tensors. It is plain data: the harness owns every byte,
 * a plugin may read it only during the call that hands it over (weights excepted, see zeb_tensor.data), and a compiled
 * plan keeps no pointer to it.
 *
 * Row spaces. Sequences are packed end to end, without padding: a tensor [T,D] of `rows` holds the tokens of all
 * sequences, and an I32 tensor `offsets` [B+1] says where each starts; offsets[b+1]-offsets[b] is the length of
 * sequence b, offsets[live B] the live number of rows. Every extent has a maximum that is known at compile time and
 * may have a live count: an I32 [1] tensor on the device whose value, read when the pass runs, says how many of the
 * maximum are there. Rows at or past the live count hold no data: they are neither computed nor compared.
 * Live counts may be 0. Counts that the harness writes (token and sequence counts of a batch) are inputs; counts that
 * a selecting op produces stay on the device and are consumed there: no host round trip inside a pass.
 *
 * Semantics are defined in the comment of each op and, executable, by the plugin `ref`. Arithmetic is IEEE binary32
 * unless a node's `precision` says otherwise; `ref` accumulates in binary64 and rounds once. */
#ifndef ZEB_GRAPH_H
#define ZEB_GRAPH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    ZEB_RANK_MAX = 4,
    ZEB_NODE_INPUTS_MAX = 8,
    ZEB_NODE_OUTPUTS_MAX = 5,
    ZEB_NONE = -1 /* "no tensor" wherever a tensor id is optional */
};

/* Element types. Values are part of the ABI: append only. */
typedef enum zeb_dtype {
    ZEB_F32 = 1,
    ZEB_F16 = 2,  /* IEEE binary16 */
    ZEB_BF16 = 3, /* upper half of binary32 */
    ZEB_I32 = 4,
    ZEB_I8 = 5,
    ZEB_U4 = 6 /* two a byte, low nibble first; q + 8, see docs/formats/quantisation.md */
} zeb_dtype;

/* Arithmetic that a node is asked to use; formats bit by bit in docs/formats/quantisation.md and zeb/number.h. A float
 * weight (F32, F16, BF16) is quantised at compile by the same rules, in groups of 32 for the 4-bit ones. */
typedef enum zeb_precision {
    ZEB_PRECISION_F32 = 0,
    ZEB_PRECISION_BF16 = 1, /* both operands rounded to bf16, binary32 accumulation */
    ZEB_PRECISION_W8A8 = 2, /* weights I8 a channel, activations I8 a row, int32 accumulation */
    ZEB_PRECISION_W4A8 = 3, /* weights U4 a group, activations I8 a row, int32 accumulation a group */
    ZEB_PRECISION_W4A16 = 4 /* weights U4 a group, activations as they are, binary32 accumulation */
} zeb_precision;

/* One extent of a shape: the number of elements that is planned for, and where the live number stands. */
typedef struct zeb_extent {
    int64_t max;  /* >= 1 */
    int32_t live; /* id of an I32 [1] tensor, or ZEB_NONE: always max */
    int32_t reserved;
} zeb_extent;

typedef enum zeb_tensor_role {
    ZEB_ROLE_INPUT = 1,  /* written by the harness before a submit */
    ZEB_ROLE_WEIGHT = 2, /* constant, `data` is set */
    ZEB_ROLE_VALUE = 3,  /* produced by a node, seen only inside the plan: a plugin may fuse it away */
    ZEB_ROLE_OUTPUT = 4  /* produced by a node and readable after wait; only these are compared */
} zeb_tensor_role;

typedef struct zeb_tensor {
    const char *name; /* unique in the graph, for messages ("layer.2.ffn.in.weight") */
    zeb_dtype dtype;
    zeb_tensor_role role;
    uint32_t rank;
    uint32_t reserved0;
    zeb_extent extent[ZEB_RANK_MAX]; /* row-major, extent[rank-1] contiguous */
    int32_t offsets; /* for a tensor whose extent[0] is packed rows: its offsets tensor; else ZEB_NONE */
    int32_t scale;   /* for I8 and U4 weights: id of the scale tensor (F32 [N], or F16 [N, K/group]) */
    int32_t group;   /* for U4 weights: elements of K a scale, 32 or 64; else 0 */
    int32_t reserved1;
    const void *data; /* weights: the first element inside the mapped checkpoint, aligned to the dtype's size; valid
                         until release of every plan compiled from it. NULL otherwise. */
    size_t bytes;     /* weights: size of data; others: size at the maximum extents */
    uint64_t reserved2[2];
} zeb_tensor;

typedef enum zeb_activation {
    ZEB_ACT_NONE = 0,
    ZEB_ACT_GELU_ERF = 1,  /* x/2 * (1 + erf(x / sqrt 2)) */
    ZEB_ACT_GELU_TANH = 2, /* x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))) */
    ZEB_ACT_RELU = 3,
    ZEB_ACT_SILU = 4, /* x / (1 + exp(-x)) */
    ZEB_ACT_TANH = 5
} zeb_activation;

typedef enum zeb_norm_kind {
    ZEB_NORM_LAYER = 1, /* (x - mean) / sqrt(var + eps) * gamma + beta, var the mean of squares about the mean */
    ZEB_NORM_RMS = 2,   /* x / sqrt(mean(x^2) + eps) * gamma */
    ZEB_NORM_AFFINE = 3 /* x * gamma + beta (MobileBERT's NoNorm) */
} zeb_norm_kind;

typedef enum zeb_select_mode {
    ZEB_SELECT_NONE = 0,
    ZEB_SELECT_FIRST = 1,     /* row 0 of each sequence; importance is not read */
    ZEB_SELECT_THRESHOLD = 2, /* rows with importance >= value */
    ZEB_SELECT_TOPK = 3,      /* the `count` rows of greatest importance */
    ZEB_SELECT_RATIO = 4,     /* the ceil(value * n) rows of greatest importance, n the sequence's length */
    ZEB_SELECT_RELATIVE = 5   /* rows with importance * n >= value (a binary32 product): n rows have 1 on average */
} zeb_select_mode;

/* Which rows of a sequence survive. Rows are ordered by (importance descending, row ascending); NaN counts as -inf.
 * The result keeps the original order of rows. In every mode but FIRST: row 0 is always kept; keep_last also forces the
 * sequence's last row; if fewer than min(floor, n) rows survived, the best of the others are added until there are.
 * Forced rows count towards `count` and the ratio (value * n is a binary32 product): zeb_select_quota. An empty
 * sequence stays empty. */
typedef struct zeb_select {
    uint32_t mode; /* zeb_select_mode */
    float value;   /* threshold of either kind, or ratio in (0,1] */
    int32_t count; /* TOPK, >= 1 */
    int32_t floor; /* >= 1; 2 is [CLS] and one more */
    int32_t keep_last;
    int32_t reserved;
} zeb_select;

/* The macro ops. Values are part of the ABI: append only. In the comments, x[T,D] is a tensor of packed rows with
 * offsets [B+1]; "live" rows are those under the live count. Input and output positions are the enums below. */
typedef enum zeb_op {
    /* out[t] = norm(word[ids[t]] + position[t - offsets[b]] + type[types[t]]); position, type and norm are optional.
     * Tables are float, or I8 or U4 with scales: element [r,d] is then the binary32 product q[r,d] * scale (of row r;
     * of the group that holds d).
     * An id outside its table is ZEB_ERR_RANGE where the device can see it; the harness checks ids before it writes. */
    ZEB_OP_EMBED = 1,
    /* out[t,n] = act(sum_k x[t,k] * w[n,k] + bias[n]) + residual[t,n]. With gates [B,G] (F32, 0 or 1) column n of the
     * rows of sequence b belongs to group (n / (N/G)) and is exactly 0 (before the residual) where the gate is 0;
     * the weights of closed groups need not be touched. attr.linear */
    ZEB_OP_LINEAR = 2,
    /* out[t] = norm(x[t] + residual[t]) over the last extent. attr.norm */
    ZEB_OP_NORM = 3,
    /* Per sequence b and head h: p = softmax_j(scale * q_i . k_j) over the live keys j of b (causal: j <= i + n_kv -
     * n_q), probabilities below score_threshold become 0 afterwards, without renormalising; context_i = sum_j p_ij v_j.
     * importance_j = mean over the heads h and the live queries i of p_ij before that threshold (queries that may not
     * see j count with p = 0); heads closed by gates [B,H] contribute p = 0 to it (the mean still divides by H) and
     * give a context of exactly 0. A sequence without live keys gives context 0.
     * q [Tq, H*Dh], k and v [Tk, Hkv*Dh], head h reads kv head h / (H/Hkv).
     * If attr.select.mode is not NONE, q and kv rows are the same rows, and selection happens between softmax and A.V:
     * context has only the surviving rows, and the op also outputs their indices, offsets and count (as SELECT does).
     * attr.attention */
    ZEB_OP_ATTENTION = 4,
    /* indices: rows that survive, ascending; out offsets [B+1]; count [1] = offsets[B]. Offsets past the live number of
     * sequences repeat the last. attr.select */
    ZEB_OP_SELECT = 5,
    /* out[i,:] = x[indices[i],:] */
    ZEB_OP_GATHER = 6,
    /* out = act(x), or act(x) * gate when the second input is there. attr.activation */
    ZEB_OP_ACTIVATION = 7,
    /* out[b,:] = first row, mean or maximum of the rows of sequence b; an empty sequence gives 0. attr.pool */
    ZEB_OP_POOL = 8,
    /* gates[b,h] = (sum_k w[h,k] * mean_t(x[t,k]) + bias[h]) > 0 ? 1 : 0 over the live rows t of sequence b; an empty
     * sequence gives 0, a sum that is NaN 1: what is not finite must reach the results. */
    ZEB_OP_HEAD_GATE = 9,
    /* out[t] = log softmax_v(x[t] . w[v])[targets[t]]; a target of -1 gives 0. */
    ZEB_OP_LOG_LIKELIHOOD = 10,
    /* out[t] = x[t] with 0 in every block of `size` consecutive elements in which no magnitude reaches the threshold (a
     * NaN does); open[t]: how many blocks are left. A LINEAR that reads out may skip what would meet the others.
     * attr.blocks */
    ZEB_OP_BLOCKS = 11,
    /* Sequences that are sure leave early. logits[b,:] = here[b,:] where sequence b of `rows` has live rows, else
     * before[b,:] (0 without one). With a confidence above 0 it also selects among the rows: none of sequence b
     * survives if the greatest of softmax(here[b,:]) >= confidence, else all do (a NaN is never sure). attr.exit */
    ZEB_OP_EXIT = 12,
    /* Which heads have given most so far. importance[b,h] = before[b,h] (0 without it) + mean of |x[t,h*D+d]| over the
     * live rows t of sequence b and the D = width/heads columns d of head h; gates[b,h] = 1 for the `count` heads of
     * greatest importance as it is written (a NaN is above all, ties go to the lower head), else 0. An empty sequence
     * keeps its importance and gives gates of 0. x is the context of an ATTENTION: a head that was closed there adds 0,
     * so where counts never rise from layer to layer, it stays closed. attr.head_topk */
    ZEB_OP_HEAD_TOPK = 13
} zeb_op;

/* Input positions. Positions marked (optional) may be ZEB_NONE. */
enum {
    ZEB_EMBED_IDS,
    ZEB_EMBED_TYPES /*(optional)*/,
    ZEB_EMBED_WORD,
    ZEB_EMBED_POSITION /*(optional)*/,
    ZEB_EMBED_TYPE /*(optional)*/,
    ZEB_EMBED_GAMMA /*(optional)*/,
    ZEB_EMBED_BETA /*(optional)*/
};
enum {
    ZEB_LINEAR_X,
    ZEB_LINEAR_W,
    ZEB_LINEAR_BIAS /*(optional)*/,
    ZEB_LINEAR_RESIDUAL /*(optional)*/,
    ZEB_LINEAR_GATES /*(optional)*/
};
enum { ZEB_NORM_X, ZEB_NORM_RESIDUAL /*(optional)*/, ZEB_NORM_GAMMA, ZEB_NORM_BETA /*(optional)*/ };
enum { ZEB_ATTENTION_Q, ZEB_ATTENTION_K, ZEB_ATTENTION_V, ZEB_ATTENTION_GATES /*(optional)*/ };
enum { ZEB_SELECT_IMPORTANCE /*(optional for FIRST)*/, ZEB_SELECT_ROWS /* any tensor of the row space, for offsets */ };
enum { ZEB_GATHER_X, ZEB_GATHER_INDICES };
enum { ZEB_ACTIVATION_X, ZEB_ACTIVATION_GATE /*(optional)*/ };
enum { ZEB_POOL_X };
enum { ZEB_HEAD_GATE_X, ZEB_HEAD_GATE_W, ZEB_HEAD_GATE_BIAS };
enum { ZEB_HEAD_TOPK_X, ZEB_HEAD_TOPK_BEFORE /*(optional)*/ };
enum { ZEB_LOG_LIKELIHOOD_X, ZEB_LOG_LIKELIHOOD_W, ZEB_LOG_LIKELIHOOD_TARGETS };
enum { ZEB_BLOCKS_X };
enum { ZEB_EXIT_HERE, ZEB_EXIT_ROWS /* any tensor of the row space */, ZEB_EXIT_BEFORE /*(optional)*/ };

/* Output positions. Every op but SELECT writes its main result to position 0. */
enum {
    ZEB_ATTENTION_CONTEXT,
    ZEB_ATTENTION_IMPORTANCE /*(optional) F32 [Tk]*/,
    ZEB_ATTENTION_INDICES /*with select: I32 [T]*/,
    ZEB_ATTENTION_OFFSETS /*with select: I32 [B+1]*/,
    ZEB_ATTENTION_COUNT /*with select: I32 [1]*/
};
enum { ZEB_SELECT_INDICES, ZEB_SELECT_OFFSETS, ZEB_SELECT_COUNT };
enum { ZEB_BLOCKS_OUT, ZEB_BLOCKS_OPEN /*I32 [T]*/ };
enum { ZEB_HEAD_TOPK_GATES /*F32 [B,heads]*/, ZEB_HEAD_TOPK_IMPORTANCE /*F32 [B,heads]*/ };
enum { ZEB_EXIT_LOGITS, ZEB_EXIT_INDICES, ZEB_EXIT_OFFSETS, ZEB_EXIT_COUNT }; /* the last three with a confidence */

typedef struct zeb_embed_attr {
    uint32_t norm; /* zeb_norm_kind, or 0: none */
    float epsilon;
} zeb_embed_attr;

typedef struct zeb_linear_attr {
    uint32_t activation; /* zeb_activation */
    uint32_t precision;  /* zeb_precision */
    int32_t gate_groups; /* G when gates are there, else 0 */
} zeb_linear_attr;

typedef struct zeb_norm_attr {
    uint32_t kind; /* zeb_norm_kind */
    float epsilon;
} zeb_norm_attr;

typedef struct zeb_attention_attr {
    int32_t heads;
    int32_t kv_heads;
    int32_t head_dim;
    float scale;
    int32_t causal;
    float score_threshold; /* 0: none */
    uint32_t precision;    /* F32, BF16, or W8A8: any reduced form whose error stays within the stated tolerance */
    uint32_t reserved;
    zeb_select select;
} zeb_attention_attr;

typedef struct zeb_activation_attr {
    uint32_t activation;
} zeb_activation_attr;

typedef enum zeb_pool_kind { ZEB_POOL_FIRST = 1, ZEB_POOL_MEAN = 2, ZEB_POOL_MAX = 3 } zeb_pool_kind;

typedef struct zeb_pool_attr {
    uint32_t kind;
} zeb_pool_attr;

typedef struct zeb_blocks_attr {
    int32_t size;    /* >= 1, divides the width of x */
    float threshold; /* >= 0 */
} zeb_blocks_attr;

typedef struct zeb_exit_attr {
    float confidence; /* in (0,1], or 0: logits alone, nothing is selected */
} zeb_exit_attr;

typedef struct zeb_head_topk_attr {
    int32_t heads; /* divides the width of x */
    int32_t count; /* 1 .. heads */
} zeb_head_topk_attr;

typedef struct zeb_node {
    const char *name; /* unique in the graph, for messages and profiles ("layer.2.attention") */
    zeb_op op;
    int32_t input[ZEB_NODE_INPUTS_MAX];   /* tensor ids, unused ones ZEB_NONE */
    int32_t output[ZEB_NODE_OUTPUTS_MAX]; /* tensor ids, unused ones ZEB_NONE */
    union {
        zeb_embed_attr embed;
        zeb_linear_attr linear;
        zeb_norm_attr norm;
        zeb_attention_attr attention;
        zeb_select select;
        zeb_activation_attr activation;
        zeb_pool_attr pool;
        zeb_blocks_attr blocks;
        zeb_exit_attr exit;
        zeb_head_topk_attr head_topk;
        uint64_t reserved[16]; /* room to grow; zero means the default */
    } attr;
} zeb_node;

typedef struct zeb_graph {
    uint32_t struct_size; /* sizeof(zeb_graph) of the harness */
    uint32_t tensor_count;
    uint32_t node_count;
    uint32_t reserved;
    const zeb_tensor *tensor;
    const zeb_node *node;
} zeb_graph;

/* Bytes of n elements; U4 packs two a byte. */
static inline size_t zeb_dtype_bytes(zeb_dtype dtype, size_t n) {
    switch (dtype) {
        case ZEB_F32:
        case ZEB_I32: return n * 4;
        case ZEB_F16:
        case ZEB_BF16: return n * 2;
        case ZEB_I8: return n;
        case ZEB_U4: return (n + 1) / 2;
    }
    return 0;
}

/* Does a row of this importance reach the threshold, among n rows? Never in modes without one. NaN does not. */
static inline int zeb_select_reaches(const zeb_select *select, float importance, int32_t n) {
    if (select->mode == ZEB_SELECT_RELATIVE) return importance * (float)n >= select->value;
    return select->mode == ZEB_SELECT_THRESHOLD && importance >= select->value;
}

/* How many of a sequence's n rows survive in the modes TOPK and RATIO, and at least survive in those of a threshold. */
static inline int32_t zeb_select_quota(const zeb_select *select, int32_t n) {
    if (n <= 0) return 0;
    if (select->mode == ZEB_SELECT_FIRST) return 1;
    if (select->mode == ZEB_SELECT_NONE) return n;
    int32_t quota = select->keep_last != 0 && n > 1 ? 2 : 1;
    if (quota < select->floor) quota = select->floor;
    if (select->mode == ZEB_SELECT_TOPK && quota < select->count) quota = select->count;
    if (select->mode == ZEB_SELECT_RATIO) {
        float share = select->value * (float)n;
        int32_t rows = (int32_t)share;
        if ((float)rows < share) ++rows;
        if (quota < rows) quota = rows;
    }
    return quota < n ? quota : n;
}

static inline const char *zeb_op_name(zeb_op op) {
    static const char *const name[] = {"?",      "embed",      "linear", "norm",      "attention",      "select",
                                       "gather", "activation", "pool",   "head-gate", "log-likelihood", "blocks",
                                       "exit",   "head-topk"};
    return (unsigned)op < sizeof name / sizeof name[0] ? name[op] : name[0];
}

#ifdef __cplusplus
}
#endif

#endif
