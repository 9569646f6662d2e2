#include <string.h>

#include "run/change.h"

static bool same_text(const char *a, const char *b) {
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

static bool same_number(zeb_maybe_i64 a, zeb_maybe_i64 b) {
    return a.has == b.has && (!a.has || a.value == b.value);
}

static bool same_settings(const zeb_row_settings *a, const zeb_row_settings *b) {
    return same_number(a->threads, b->threads) && same_number(a->pinned, b->pinned) &&
           same_number(a->batch, b->batch) && same_number(a->seq_max, b->seq_max) && same_number(a->limit, b->limit) &&
           same_text(a->isa, b->isa);
}

/* Rows of a schema before 6 do not tell all that was asked. */
static bool tells(const zeb_record *r) {
    return r->row.requested.device != NULL;
}

/* The same by its path, or where the path has changed by what is in it. */
static bool same_file(const char *path, const char *other_path, const char *hash, const char *other_hash) {
    return same_text(path, other_path) || (hash[0] != '\0' && same_text(hash, other_hash));
}

/* Device, policy and data as asked. Names that a row has of what was opened say less: one that failed has others. */
static bool same_wish(const zeb_row *x, const zeb_row *y) {
    const zeb_row_settings *a = &x->requested, *b = &y->requested;
    return same_file(a->device, b->device, x->device, y->device) &&
           same_file(a->policy, b->policy, x->policy_hash, y->policy_hash) &&
           same_file(a->data, b->data, x->data_hash, y->data_hash);
}

static bool same_names(const zeb_row *a, const zeb_row *b) {
    bool device = a->device[0] == '\0' || b->device[0] == '\0' || same_text(a->device, b->device);
    return device && same_text(a->model, b->model) && same_text(a->policy, b->policy);
}

static bool same_place(const zeb_record *a, const zeb_record *b) {
    return same_text(a->run.host, b->run.host) &&
           same_file(a->row.model_path, b->row.model_path, a->row.model_hash, b->row.model_hash);
}

/* Settings that decide what is measured. What only decides how long for (target, caps, seed) is no part of a case. */
bool zeb_change_same_case(const zeb_record *a, const zeb_record *b, bool any_place) {
    const zeb_row *x = &a->row, *y = &b->row;
    const zeb_maybe_i64 tuned = x->requested.tune, other = y->requested.tune;
    bool told = tells(a) && tells(b) && !any_place; /* paths of another place say nothing */
    return same_text(x->task, y->task) && same_text(x->split, y->split) && same_text(x->backend, y->backend) &&
           same_text(x->scenario, y->scenario) && same_text(zeb_change_precision(x), zeb_change_precision(y)) &&
           same_settings(&x->requested, &y->requested) && (!tuned.has || !other.has || tuned.value == other.value) &&
           (told ? same_wish(x, y) : same_names(x, y)) && (any_place || same_place(a, b));
}

/* What a row beside `now` should be like: itself, and the expected row that it stands for, which knows the device and
 * the policy of one that failed, and which is which of two policies of one name. */
typedef struct pair_wish {
    const zeb_record *now, *stands_for; /* the latter may be NULL */
    bool any_place;
} pair_wish;

/* The least number is the best. */
static int distance(const zeb_record *r, const pair_wish *wish) {
    const zeb_record *like = wish->stands_for != NULL ? wish->stands_for : wish->now;
    const char *device = wish->now->row.device[0] != '\0' ? wish->now->row.device : like->row.device;
    int far = zeb_change_ok(r) ? 0 : 16;
    if (!same_text(r->row.device, device)) far += 8;
    if (!same_text(r->row.policy_hash, wish->now->row.policy_hash))
        far += same_text(r->row.policy_hash, like->row.policy_hash) ? 2 : 4;
    return far + !same_text(r->row.model_path, wish->now->row.model_path);
}

/* The nearest of from[count] and so_far, the newest of the nearest. */
static zeb_record *best(zeb_record *from, size_t count, const pair_wish *wish, zeb_record *so_far) {
    for (size_t i = 0; i < count; i++) {
        zeb_record *r = &from[i];
        if (!zeb_change_same_case(r, wish->now, wish->any_place)) continue;
        int far = distance(r, wish), now = so_far != NULL ? distance(so_far, wish) : far + 1;
        if (far < now || (far == now && r->id > so_far->id)) so_far = r;
    }
    return so_far;
}

/* Which of expected[] the rows of now[] stand for, one for one: those that fit in all first, so that the row of a
 * device that did not open is left for the device that no other row has. */
static void stand_for(const zeb_record *expected, size_t expected_count, const zeb_record *now, size_t now_count,
                      bool any_place, bool *met, const zeb_record **stands_for) {
    for (int strict = 1; strict >= 0; strict--) {
        for (size_t e = 0; e < expected_count; e++) {
            for (size_t i = 0; i < now_count && !met[e]; i++) {
                bool exact = same_text(expected[e].row.device, now[i].row.device) &&
                             same_text(expected[e].row.policy_hash, now[i].row.policy_hash);
                if (stands_for[i] != NULL || (strict && !exact) ||
                    !zeb_change_same_case(&expected[e], &now[i], any_place))
                    continue;
                met[e] = true;
                stands_for[i] = &expected[e];
            }
        }
    }
}

zeb_status zeb_changes_pair(zeb_record *then, size_t then_count, zeb_record *expected, size_t expected_count,
                            zeb_record *now, size_t now_count, bool any_place, zeb_arena *arena, zeb_change **change,
                            size_t *count, zeb_error *error) {
    void *memory = NULL, *flags = NULL, *pointers = NULL;
    *count = 0;
    zeb_status status = zeb_arena_alloc(arena, now_count + expected_count, sizeof **change, &memory, error);
    if (status == ZEB_OK) status = zeb_arena_alloc(arena, expected_count, sizeof(bool), &flags, error);
    if (status == ZEB_OK) status = zeb_arena_alloc(arena, now_count, sizeof(zeb_record *), &pointers, error);
    if (status != ZEB_OK) return status;
    *change = memory;
    bool *met = flags;
    const zeb_record **stands_for = pointers;
    stand_for(expected, expected_count, now, now_count, any_place, met, stands_for);
    for (size_t i = 0; i < now_count; i++) {
        const pair_wish wish = {.now = &now[i], .stands_for = stands_for[i], .any_place = any_place};
        zeb_record *stood = best(then, then_count, &wish, NULL);
        stood = best(expected, expected_count, &wish, stood);
        (*change)[(*count)++] = (zeb_change){.then = stood, .now = &now[i]};
    }
    for (size_t e = 0; e < expected_count; e++) {
        const pair_wish wish = {.now = &expected[e], .any_place = any_place};
        if (met[e]) continue;
        zeb_record *stood = best(then, then_count, &wish, &expected[e]);
        if (zeb_change_ok(stood)) (*change)[(*count)++] = (zeb_change){.then = stood};
    }
    return ZEB_OK;
}
