/* Which layer keeps how many of the heads that gave most: greedily, a step at a time. */
#include "run/calibrate_search.h"

/* One head less in layer l, and no more than that in the layers behind it; false where none is left to drop. */
static bool drop_head(const zeb_search *s, const zeb_trial *from, int32_t l, zeb_trial *to) {
    *to = (zeb_trial){.shape = from->shape};
    for (int32_t j = 0; j < s->session.layers; j++) {
        to->tokens[j] = from->tokens[j];
        to->heads[j] = from->heads[j];
        if (j >= l && to->heads[j] >= from->heads[l]) to->heads[j] = from->heads[l] - 1;
    }
    return to->heads[l] >= 1;
}

/* The step that moves the logits least for what it saves, or least of all those that reach the wanted work; *found is
 * false where no step is left, or none in budget. */
static zeb_status best_step(zeb_search *s, const zeb_trial *from, zeb_trial *best, bool *found) {
    double least = 0;
    bool arrived = false;
    *found = false;
    for (int32_t l = 1; l < s->session.layers; l++) {
        zeb_trial next;
        if (!drop_head(s, from, l, &next)) continue;
        zeb_status status = zeb_search_measure(s, &next);
        if (status != ZEB_OK) return status;
        bool reached = zeb_search_reached(s, &next), arrives = reached && s->options->flops > 0;
        if (s->options->flops <= 0 && !reached) continue;
        double price = arrives ? next.moved : (next.moved - from->moved) / (from->flops - next.flops);
        if (*found && (arrives == arrived ? price >= least : arrived)) continue;
        *best = next;
        least = price;
        arrived = arrives;
        *found = true;
    }
    return ZEB_OK;
}

zeb_status zeb_search_heads(zeb_search *s, zeb_trial *best) {
    int32_t heads = zeb_model_about(s->session.model)->heads;
    *best = (zeb_trial){.shape = ZEB_SHAPE_BEST};
    for (int32_t l = 0; l < s->session.layers; l++) {
        best->tokens[l] = (zeb_select){.floor = s->options->floor, .keep_last = s->options->keep_last};
        best->heads[l] = l > 0 ? heads : 0; /* nothing is known of heads in the first layer */
    }
    zeb_status status = zeb_search_measure(s, best);
    bool found = true;
    while (status == ZEB_OK && found && !(s->options->flops > 0 && zeb_search_reached(s, best))) {
        zeb_trial next;
        status = best_step(s, best, &next, &found);
        if (status == ZEB_OK && found) *best = next;
    }
    if (status == ZEB_OK && s->options->flops > 0 && !zeb_search_reached(s, best))
        return zeb_fail(s->error, ZEB_ERR_RANGE,
                        "--flops %.4g is out of reach: with one head left in each layer but the first it is still %.3f "
                        "of the dense work",
                        s->options->flops, best->flops / s->dense_flops);
    return status;
}
