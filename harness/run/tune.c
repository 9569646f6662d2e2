#include "run/tune.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "graph/precision.h"
#include "run/predict.h"

enum { RAISES_MAX = 24, PRECISIONS = ZEB_PRECISION_W4A16 + 1 };
static const double no_longer = 1.01, faster = 0.99; /* a median is known to 1 %, */
static const double clearly = 0.97;                  /* a short trial isn't */

typedef struct tuning {
    zeb_session *session;
    zeb_predictor predictor;
    uint32_t chosen[PRECISIONS];   /* nodes that had a choice, by what they got */
    char dropped[64], raised[128]; /* "0,2", "1:20>24" */
    char choices[128];             /* "slab-rows:12": those that aren't built in */
    zeb_error *error;
} tuning;

bool zeb_tune_wanted(const zeb_case *what) {
    return what->tune || what->precisions != 0;
}

/* The model's own graph in a precision; *plain is NULL where the model has none. */
static zeb_status plain_open(const zeb_session *session, uint32_t precision, zeb_builder **builder,
                             const zeb_graph **plain, zeb_error *error) {
    const zeb_graph_options options = {
        .token_max = session->batch.token_max, .batch_max = session->batch.sequence_max, .precision = precision};
    *plain = NULL;
    zeb_status status = zeb_builder_create(builder, error);
    if (status == ZEB_OK) status = zeb_model_graph(session->model, &options, *builder, error);
    if (status == ZEB_ERR_UNSUPPORTED) return ZEB_OK;
    return status == ZEB_OK ? zeb_builder_finish(*builder, plain, error) : status;
}

/* What the case asks for, or the policy instead where that says what it bears. */
static uint32_t allowed(const zeb_session *session) {
    uint32_t policy = session->policy != NULL ? zeb_policy_precisions(session->policy) : 0;
    return session->what->precisions != 0 && policy != 0 ? policy : session->what->precisions;
}

/* ---- choices of the device -------------------------------------------------------------------------------------- */

/* The value of the choice that stands at choice[0 .. count] which was faster than the one built in. */
static const zeb_choice *fastest(const zeb_choice *choice, uint32_t count) {
    const zeb_choice *best = &choice[0];
    for (uint32_t i = 0; i < count; i++)
        if (choice[i].built_in) best = &choice[i];
    double least = clearly * best->ns;
    for (uint32_t i = 0; i < count; i++) {
        if (choice[i].ns >= least) continue;
        best = &choice[i];
        least = best->ns;
    }
    return best;
}

/* The rest of the pass is fitted to the device as it is built; its own choices come last. */
static zeb_status choose(tuning *t) {
    const zeb_device_handle *device = &t->session->device;
    zeb_choice choice[ZEB_CHOICES_MAX];
    uint32_t count, some = 1;
    zeb_status status = zeb_costs_choices(t->predictor.costs, device, choice, &count, t->error);
    for (uint32_t i = 0; i < count && status == ZEB_OK; i++)
        if (choice[i].ns < 0)
            status = zeb_fail(t->error, ZEB_ERR_NOT_FOUND,
                              "the cost table of this device lacks its choice %s: 'zeb explain' with the same options "
                              "measures it",
                              choice[i].name);
    for (uint32_t i = 0; i < count && status == ZEB_OK; i += some) {
        for (some = 1; i + some < count && strcmp(choice[i + some].name, choice[i].name) == 0;)
            some++;
        const zeb_choice *best = fastest(&choice[i], some);
        size_t used = strlen(t->choices);
        if (best->built_in) continue;
        status = zeb_backend_choose(device->backend)(device->device, best->name, best->value, t->error);
        (void)snprintf(t->choices + used, sizeof t->choices - used, "%s%s:%u", used > 0 ? "," : "", best->name,
                       best->value);
    }
    return status;
}

/* ---- precision a node ------------------------------------------------------------------------------------------- */

/* What is known of the choice of one node of the variant. */
typedef struct choice {
    double ns;          /* of the best so far; < 0: none is known */
    uint32_t precision; /* that one */
    uint32_t offered;   /* mask of what there was */
} choice;

static uint32_t *precision_of(zeb_node *node) {
    if (node->op == ZEB_OP_LINEAR) return &node->attr.linear.precision;
    return node->op == ZEB_OP_ATTENTION ? &node->attr.attention.precision : NULL;
}

/* The index of a node by its name, or ZEB_NONE. */
static int32_t node_named(const zeb_graph *graph, const char *name) {
    for (uint32_t i = 0; i < graph->node_count; i++)
        if (strcmp(graph->node[i].name, name) == 0) return (int32_t)i;
    return ZEB_NONE;
}

/* Offers every node of the variant the precision that it has in another graph of the model. */
static zeb_status offer(const tuning *t, const zeb_variant *v, const zeb_graph *other, choice *best) {
    zeb_status status = ZEB_OK;
    for (uint32_t i = 0; i < v->graph->node_count && status == ZEB_OK; i++) {
        zeb_node node = v->graph->node[i];
        int32_t at = node_named(other, node.name);
        double ns;
        if (precision_of(&node) == NULL || at == ZEB_NONE) continue;
        zeb_node as = other->node[at];
        *precision_of(&node) = *precision_of(&as);
        if (best[i].offered >> *precision_of(&as) & 1u) continue;
        best[i].offered |= 1u << *precision_of(&as);
        status = zeb_predict_node(&t->predictor, v, &node, &ns, t->error);
        if (ns >= 0 && (best[i].ns < 0 || ns < faster * best[i].ns))
            best[i] = (choice){.ns = ns, .precision = *precision_of(&as), .offered = best[i].offered};
    }
    return status;
}

static zeb_status offer_all(const tuning *t, const zeb_variant *v, choice *best) {
    zeb_status status = ZEB_OK;
    for (uint32_t i = 0; i < v->graph->node_count; i++)
        best[i].ns = -1;
    for (uint32_t p = 0; p < PRECISIONS && status == ZEB_OK; p++) {
        zeb_builder *builder = NULL;
        const zeb_graph *other;
        if ((allowed(t->session) >> p & 1u) == 0) continue;
        status = plain_open(t->session, p, &builder, &other, t->error);
        if (status == ZEB_OK && other != NULL) status = offer(t, v, other, best);
        zeb_builder_destroy(builder);
    }
    for (uint32_t i = 0; i < v->graph->node_count && status == ZEB_OK; i++)
        if (best[i].offered != 0 && best[i].ns < 0)
            status = zeb_predict_unknown(v->graph, &v->graph->node[i], t->error);
    return status;
}

/* Writes the choices into own[]: nodes of the session's plain graph. */
static void take_choices(tuning *t, const zeb_variant *v, const choice *best, zeb_node *own) {
    for (uint32_t i = 0; i < v->graph->node_count; i++) {
        int32_t at = node_named(t->session->plain_graph, v->graph->node[i].name);
        if (best[i].offered == 0 || at == ZEB_NONE) continue;
        *precision_of(&own[at]) = best[i].precision;
        if ((best[i].offered & (best[i].offered - 1)) != 0) t->chosen[best[i].precision]++;
    }
}

/* The model's graph with the fastest allowed precision in every node becomes the session's plain graph. */
static zeb_status choose_precisions(tuning *t) {
    zeb_session *session = t->session;
    const zeb_graph *old = session->plain_graph;
    void *graph = NULL, *nodes = NULL, *best = NULL;
    zeb_variant v;
    zeb_status status = zeb_variant_open(session, old, session->policy, &v, t->error);
    if (status == ZEB_OK) status = zeb_arena_alloc(session->arena, 1, sizeof(zeb_graph), &graph, t->error);
    if (status == ZEB_OK) status = zeb_arena_alloc(session->arena, old->node_count, sizeof(zeb_node), &nodes, t->error);
    if (status == ZEB_OK)
        status = zeb_arena_alloc(session->arena, v.graph->node_count, sizeof(choice), &best, t->error);
    if (status == ZEB_OK) status = offer_all(t, &v, best);
    if (status == ZEB_OK) {
        zeb_graph *plain = graph;
        *plain = *old;
        plain->node = memcpy(nodes, old->node, old->node_count * sizeof(zeb_node));
        take_choices(t, &v, best, nodes);
        session->plain_graph = plain;
    }
    zeb_variant_close(&v);
    return status;
}

/* ---- selections ------------------------------------------------------------------------------------------------- */

static zeb_status predict_policy(const tuning *t, double *ns) {
    zeb_variant v;
    zeb_status status = zeb_variant_open(t->session, t->session->plain_graph, t->session->policy, &v, t->error);
    if (status == ZEB_OK) status = zeb_predict(&t->predictor, &v, ns, t->error);
    zeb_variant_close(&v);
    return status;
}

/* Appends to a list. */
static void say(char *text, size_t capacity, const char *entry) {
    size_t used = strlen(text);
    (void)snprintf(text + used, capacity - used, "%s%s", used > 0 ? "," : "", entry);
}

/* Drops selections that cost more than they save, the first layers first. *ns is what is predicted then. */
static zeb_status drop_selections(tuning *t, double *ns) {
    zeb_policy *policy = t->session->policy;
    zeb_status status = predict_policy(t, ns);
    for (int32_t l = 0; l + 1 < t->session->layers && status == ZEB_OK; l++) {
        const zeb_select asked = zeb_policy_tokens(policy, l);
        zeb_select none = asked;
        double without;
        if (asked.mode == ZEB_SELECT_NONE) continue;
        none.mode = ZEB_SELECT_NONE;
        zeb_policy_set_tokens(policy, l, &none);
        status = predict_policy(t, &without);
        if (status == ZEB_OK && without < *ns) {
            char entry[16];
            *ns = without;
            (void)snprintf(entry, sizeof entry, "%d", l);
            say(t->dropped, sizeof t->dropped, entry);
        } else {
            zeb_policy_set_tokens(policy, l, &asked);
        }
    }
    return status;
}

/* Raises the rows that a layer keeps at least, as far as the pass stays within the limit. What changes nothing for the
 * samples is left as it is. */
static zeb_status raise_layer(tuning *t, int32_t layer, double limit_ns) {
    zeb_policy *policy = t->session->policy;
    const zeb_select asked = zeb_policy_tokens(policy, layer);
    zeb_select best = asked;
    bool counts = asked.mode == ZEB_SELECT_TOPK;
    double before, ns;
    zeb_status status = predict_policy(t, &before);
    for (int32_t more = 1; more <= RAISES_MAX && status == ZEB_OK; more++) {
        zeb_select tried = asked;
        *(counts ? &tried.count : &tried.floor) += more;
        zeb_policy_set_tokens(policy, layer, &tried);
        status = predict_policy(t, &ns);
        if (status == ZEB_OK && ns <= limit_ns && ns > before) best = tried;
    }
    zeb_policy_set_tokens(policy, layer, status == ZEB_OK ? &best : &asked);
    int32_t from = counts ? asked.count : asked.floor, to = counts ? best.count : best.floor;
    char entry[48];
    (void)snprintf(entry, sizeof entry, "%d:%d>%d", layer, from, to);
    if (to > from) say(t->raised, sizeof t->raised, entry);
    return status;
}

static zeb_status fit_policy(tuning *t) {
    double ns;
    zeb_status status = drop_selections(t, &ns);
    if (t->session->batch.sequence_max > 1) return status; /* rows of several sequences add up: there are no steps */
    for (int32_t l = 0; l + 1 < t->session->layers && status == ZEB_OK; l++)
        if (zeb_policy_tokens(t->session->policy, l).mode != ZEB_SELECT_NONE)
            status = raise_layer(t, l, ns * no_longer);
    return status;
}

/* ---- what took effect ------------------------------------------------------------------------------------------- */

/* "fp32:2,w8a8:14", nodes that had a choice; and their precision, or "mixed". */
static void tell_precisions(const tuning *t, zeb_row *row, char *text, size_t capacity) {
    char *effective = row->effective.precision;
    effective[0] = '\0';
    for (uint32_t p = 0; p < PRECISIONS; p++) {
        char entry[32];
        if (t->chosen[p] == 0) continue;
        (void)snprintf(entry, sizeof entry, "%s:%u", zeb_precision_name(p), t->chosen[p]);
        say(text, capacity, entry);
        zeb_text_copy(effective, sizeof row->effective.precision,
                      effective[0] == '\0' ? zeb_precision_name(p) : "mixed");
    }
    for (uint32_t p = 0; p < PRECISIONS && effective[0] == '\0'; p++) /* no node had a choice */
        if (allowed(t->session) >> p & 1u)
            zeb_text_copy(effective, sizeof row->effective.precision, zeb_precision_name(p));
}

static zeb_status tell(const tuning *t, zeb_row *row) {
    char hash[13], precisions[96] = "", *note = row->effective.note;
    size_t used = strlen(note), capacity = sizeof row->effective.note;
    zeb_status status = zeb_costs_hash(t->predictor.costs, hash, t->error);
    if (status != ZEB_OK) return status;
    used += (size_t)snprintf(note + used, capacity - used, "%scosts=%s", used > 0 ? " " : "", hash);
    if (t->session->what->precisions != 0) {
        tell_precisions(t, row, precisions, sizeof precisions);
        if (used < capacity)
            used += (size_t)snprintf(note + used, capacity - used, " precisions=%s",
                                     precisions[0] != '\0' ? precisions : row->effective.precision);
    }
    if (t->session->what->tune && used < capacity)
        used +=
            (size_t)snprintf(note + used, capacity - used, " dropped=%s raised=%s",
                             t->dropped[0] != '\0' ? t->dropped : "none", t->raised[0] != '\0' ? t->raised : "none");
    if (t->session->what->tune && used < capacity)
        (void)snprintf(note + used, capacity - used, " choices=%.127s",
                       t->choices[0] != '\0' ? t->choices : "built-in");
    return ZEB_OK;
}

/* Compiles the session as it was decided; what compiling cost is that of the plan that runs. */
static zeb_status recompile(const tuning *t, zeb_row *row) {
    zeb_session *session = t->session;
    zeb_policy *policy = session->policy;
    zeb_memory_fn memory = zeb_backend_memory(session->device.backend);
    uint64_t bytes, begin = zeb_clock_now_ns();
    session->policy = NULL; /* replan would close it */
    zeb_status status = zeb_session_replan(session, policy, false, t->error);
    if (status != ZEB_OK) return status;
    row->compile_ns = zeb_u64(zeb_clock_now_ns() - begin);
    if (memory != NULL && memory(session->plan, &bytes, t->error) == ZEB_OK) row->device_memory_bytes = zeb_u64(bytes);
    return ZEB_OK;
}

zeb_status zeb_tune(zeb_session *session, const zeb_costs *costs, zeb_row *row, zeb_error *error) {
    tuning *t = calloc(1, sizeof *t);
    if (t == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory to tune");
    t->session = session;
    t->error = error;
    zeb_status status = zeb_predictor_open(session, costs, &t->predictor, error);
    if (status == ZEB_OK && session->what->precisions != 0) status = choose_precisions(t);
    if (status == ZEB_OK && session->what->tune && session->policy != NULL) status = fit_policy(t);
    if (status == ZEB_OK && session->what->tune) status = choose(t);
    if (status == ZEB_OK) status = recompile(t, row);
    if (status == ZEB_OK) status = tell(t, row);
    free(t);
    return status;
}

/* ---- what may have to be compared ------------------------------------------------------------------------------- */

static zeb_status measure_under(zeb_session *session, const zeb_graph *plain, const zeb_policy *policy,
                                const zeb_costs *have, zeb_shared *shared, zeb_costs_made *made, zeb_error *error) {
    zeb_variant v;
    zeb_status status = zeb_variant_open(session, plain, policy, &v, error);
    if (status == ZEB_OK)
        status = zeb_costs_measure(&session->device, v.graph, session->what->seq_max, have, shared, made, error);
    zeb_variant_close(&v);
    return status;
}

zeb_status zeb_tune_measure(zeb_session *session, const zeb_costs *have, zeb_shared *shared, zeb_costs_made *made,
                            zeb_error *error) {
    const zeb_case *what = session->what;
    uint32_t asked = allowed(session) != 0 ? allowed(session) : 1u << what->precision;
    bool dense = what->tune && session->policy != NULL; /* attention without its selection */
    zeb_status status = ZEB_OK;
    for (uint32_t p = 0; p < PRECISIONS && status == ZEB_OK; p++) {
        zeb_builder *builder = NULL;
        const zeb_graph *plain;
        if ((asked >> p & 1u) == 0) continue;
        status = plain_open(session, p, &builder, &plain, error);
        if (status == ZEB_OK && plain != NULL)
            status = measure_under(session, plain, session->policy, have, shared, made, error);
        if (status == ZEB_OK && plain != NULL && dense)
            status = measure_under(session, plain, NULL, have, shared, made, error);
        zeb_builder_destroy(builder);
    }
    return status;
}
