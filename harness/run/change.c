#include "run/change.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "run/change_answers.h"

/* ---- what is not the same about two rows ----------------------------------------------------------------------------
 */

typedef struct difference_list {
    zeb_difference *difference;
    size_t count;
} difference_list;

/* Cut at a character's boundary. */
static void copy_whole(char *to, size_t capacity, const char *text) {
    size_t bad;
    zeb_text_copy(to, capacity, text);
    if (!zeb_text_utf8_valid(to, strlen(to), &bad)) to[bad] = '\0';
}

/* unknown_counts: else a value that only an opened device gives, so that an unknown one is no difference. */
static void differ(difference_list *list, const char *what, const char *then, const char *now, bool unknown_counts) {
    if (then == NULL) then = "";
    if (now == NULL) now = "";
    if (strcmp(then, now) == 0 || list->count == ZEB_DIFFERENCES_MAX) return;
    if (!unknown_counts && (then[0] == '\0' || now[0] == '\0')) return;
    zeb_difference *d = &list->difference[list->count++];
    size_t most = strlen(what) > 5 && strcmp(what + strlen(what) - 5, "_hash") == 0 ? 13 : sizeof d->then;
    d->what = what;
    copy_whole(d->then, most, then);
    copy_whole(d->now, most, now);
}

static void differ_number(difference_list *list, const char *what, zeb_maybe_i64 then, zeb_maybe_i64 now) {
    char a[24] = "", b[24] = "";
    if (then.has) (void)snprintf(a, sizeof a, "%lld", (long long)then.value);
    if (now.has) (void)snprintf(b, sizeof b, "%lld", (long long)now.value);
    differ(list, what, a, b, false);
}

static void differ_settings(difference_list *list, const zeb_row_settings *then, const zeb_row_settings *now) {
    differ_number(list, "threads", then->threads, now->threads);
    differ_number(list, "pinned", then->pinned, now->pinned);
    differ_number(list, "batch", then->batch, now->batch);
    differ_number(list, "seq_max", then->seq_max, now->seq_max);
    differ(list, "isa", then->isa, now->isa, false);
    differ(list, "precision", then->precision, now->precision, false);
    differ(list, "note", then->note, now->note, false);
}

static zeb_maybe_i64 as_signed(zeb_maybe_u64 value) {
    return (zeb_maybe_i64){.has = value.has, .value = (int64_t)value.value};
}

static void differ_rows(difference_list *list, const zeb_row *then, const zeb_row *now) {
    differ(list, "model_path", then->model_path, now->model_path, true);
    differ(list, "model_hash", then->model_hash, now->model_hash, false);
    differ(list, "policy_hash", then->policy_hash, now->policy_hash, false);
    differ(list, "data_hash", then->data_hash, now->data_hash, false);
    differ_number(list, "task_version", then->task_version, now->task_version);
    differ_number(list, "examples", as_signed(zeb_u64_nonzero(then->examples)),
                  as_signed(zeb_u64_nonzero(now->examples)));
    differ(list, "backend_version", then->backend_version, now->backend_version, false);
    differ(list, "device", then->device, now->device, false);
    differ(list, "device_name", then->device_name, now->device_name, false);
    differ(list, "driver", then->driver, now->driver, false);
    differ_number(list, "seed", as_signed(then->seed), as_signed(now->seed));
    differ_settings(list, &then->effective, &now->effective);
}

static void differ_runs(difference_list *list, const zeb_run_info *then, const zeb_run_info *now) {
    differ(list, "host", then->host, now->host, true);
    differ(list, "cpu_model", then->cpu_model, now->cpu_model, true);
    differ_number(list, "cpu_count", then->cpu_count, now->cpu_count);
    differ(list, "governor", then->governor, now->governor, true);
    differ(list, "os", then->os, now->os, true);
    differ(list, "kernel", then->kernel, now->kernel, true);
    differ(list, "zeb_version", then->zeb_version, now->zeb_version, true);
    differ(list, "zeb_commit", then->zeb_commit, now->zeb_commit, true);
    differ(list, "compiler", then->compiler, now->compiler, true);
    differ(list, "build_flags", then->build_flags, now->build_flags, true);
}

size_t zeb_change_differences(const zeb_change *change, zeb_difference difference[ZEB_DIFFERENCES_MAX]) {
    difference_list list = {.difference = difference};
    if (change->then == NULL || change->now == NULL) return 0;
    differ_rows(&list, &change->then->row, &change->now->row);
    differ_runs(&list, &change->then->run, &change->now->run);
    return list.count;
}

/* ---- which runs -----------------------------------------------------------------------------------------------------
 */

/* Words of a command line that choose no case, each with its value but the last. */
static const char *const idle_word[] = {"--predictions", "--db", "--format", "--verbose"};
enum { IDLE_WORDS = sizeof idle_word / sizeof idle_word[0], IDLE_FLAG = IDLE_WORDS - 1 };

enum { NIGHTS = 7 }; /* that a missing case is told */

/* The next word from *at on that matters, which *at is then behind; NULL: no more. */
static const char *word_of_weight(const zeb_run_info *run, size_t *at) {
    while (*at < run->argc) {
        const char *word = run->argv[(*at)++];
        size_t length = strcspn(word, "="), i = 0;
        while (i < IDLE_WORDS && (strlen(idle_word[i]) != length || strncmp(idle_word[i], word, length) != 0))
            i++;
        if (i == IDLE_WORDS) return word;
        if (i < IDLE_FLAG && word[length] == '\0') (*at)++;
    }
    return NULL;
}

/* Word 0 is the program, which may stand elsewhere each time. */
static bool same_command(const zeb_run_info *a, const zeb_run_info *b) {
    size_t at_a = 1, at_b = 1;
    for (;;) {
        const char *x = word_of_weight(a, &at_a), *y = word_of_weight(b, &at_b);
        if (x == NULL || y == NULL) return x == y;
        if (strcmp(x, y) != 0) return false;
    }
}

static bool runs_cases(const zeb_stored_run *run) {
    return run->rows > 0 || (run->info.argc > 1 && strcmp(run->info.argv[1], "run") == 0);
}

/* Whether the run should have had the cases of an earlier one. */
static bool is_like(const zeb_stored_run *earlier, const zeb_stored_run *now) {
    const char *a = earlier->info.host, *b = now->info.host;
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0 && earlier->rows > 0 && earlier->finished_utc != NULL &&
           earlier->interrupted == 0 && same_command(&earlier->info, &now->info);
}

static const zeb_stored_run *find_expected(const zeb_stored_run *run, const zeb_stored_run *now) {
    for (const zeb_stored_run *r = now; r-- > run;)
        if (is_like(r, now)) return r;
    return NULL;
}

static zeb_status named_run(const zeb_stored_run *run, size_t count, const char *option, int64_t id,
                            const zeb_stored_run **found, zeb_error *error) {
    for (size_t i = 0; i < count && *found == NULL; i++)
        if (run[i].id == id) *found = &run[i];
    if (*found == NULL)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "%s %lld: no such run; the database has runs %lld to %lld", option,
                        (long long)id, (long long)run[0].id, (long long)run[count - 1].id);
    if (!runs_cases(*found))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "%s %lld: that was 'zeb %s', which runs no cases", option,
                        (long long)id, (*found)->info.argc > 1 ? (*found)->info.argv[1] : "?");
    return ZEB_OK;
}

static zeb_status choose_runs(const zeb_stored_run *run, size_t count, const zeb_changes_options *options,
                              zeb_changes *changes, zeb_error *error) {
    const zeb_stored_run *now = NULL;
    zeb_status status = ZEB_OK;
    for (size_t i = count; i-- > 0 && now == NULL && options->run == 0;)
        if (runs_cases(&run[i])) now = &run[i];
    if (count == 0 || (options->run == 0 && now == NULL))
        return zeb_fail(error, ZEB_ERR_NOT_FOUND, "the database holds no run of cases: there is nothing to compare");
    if (options->run != 0) status = named_run(run, count, "--run", options->run, &now, error);
    if (status == ZEB_OK && options->base != 0)
        status = named_run(run, count, "--base", options->base, &changes->base, error);
    if (status != ZEB_OK) return status;
    if (changes->base == now)
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "--base %lld is the run itself", (long long)options->base);
    changes->run = *now;
    changes->expected = changes->base != NULL ? changes->base : find_expected(run, now);
    return ZEB_OK;
}

/* ---- the comparison -------------------------------------------------------------------------------------------------
 */

static zeb_status rows_of(zeb_store *store, int64_t run, int64_t ok_before, zeb_arena *arena, zeb_record **record,
                          size_t *count, zeb_error *error) {
    const zeb_store_filter filter = {.run_id = run, .ok_before = ok_before};
    return zeb_store_rows(store, &filter, arena, record, count, error);
}

/* The run of that id, within the last NIGHTS before now that it should be like. */
static bool is_recent(const zeb_stored_run *run, const zeb_stored_run *now, int64_t id) {
    int nights = NIGHTS;
    for (const zeb_stored_run *r = now; r-- > run && nights > 0;) {
        if (!is_like(r, now)) continue;
        if (r->id == id) return true;
        nights--;
    }
    return false;
}

static bool is_among(const zeb_record *record, size_t count, const zeb_record *one) {
    for (size_t i = 0; i < count; i++)
        if (zeb_change_same_case(&record[i], one, false)) return true;
    return false;
}

/* A case that is missing stays missing for some nights: adds to expected[*count] those of then[] that it lacks. */
static zeb_status add_missed(const zeb_stored_run *run, const zeb_stored_run *now, const zeb_record *then,
                             size_t then_count, zeb_arena *arena, zeb_record **expected, size_t *count,
                             zeb_error *error) {
    void *memory;
    zeb_status status = zeb_arena_alloc(arena, *count + then_count, sizeof **expected, &memory, error);
    if (status != ZEB_OK) return status;
    zeb_record *all = memory;
    if (*count > 0) memcpy(all, *expected, *count * sizeof *all);
    for (size_t i = then_count; i-- > 0;) /* the newest of a case first */
        if (is_recent(run, now, then[i].run_id) && !is_among(all, *count, &then[i])) all[(*count)++] = then[i];
    *expected = all;
    return ZEB_OK;
}

static zeb_status find_pairs(zeb_store *store, const zeb_stored_run *run, zeb_arena *arena, zeb_changes *changes,
                             zeb_error *error) {
    zeb_record *now = NULL, *then = NULL, *expected = NULL;
    size_t now_count = 0, then_count = 0, expected_count = 0;
    bool by_hand = changes->base != NULL;
    zeb_status status = rows_of(store, changes->run.id, 0, arena, &now, &now_count, error);
    if (status == ZEB_OK && !by_hand) status = rows_of(store, 0, changes->run.id, arena, &then, &then_count, error);
    if (status == ZEB_OK && changes->expected != NULL)
        status = rows_of(store, changes->expected->id, 0, arena, &expected, &expected_count, error);
    const zeb_stored_run *at = run;
    while (at->id != changes->run.id)
        at++;
    if (status == ZEB_OK && !by_hand)
        status = add_missed(run, at, then, then_count, arena, &expected, &expected_count, error);
    return status == ZEB_OK ? zeb_changes_pair(then, then_count, expected, expected_count, now, now_count, by_hand,
                                               arena, &changes->change, &changes->count, error)
                            : status;
}

/* Samples are read into an arena that ends with the pair: those of all rows together may not fit. */
static zeb_status measure(zeb_store *store, zeb_change *change, zeb_answers *answers, zeb_error *error) {
    zeb_arena *arena = NULL;
    const bool *then_right = NULL, *now_right = NULL;
    size_t count = 0;
    if (change->then == NULL || change->now == NULL) return ZEB_OK;
    zeb_row then = change->then->row, now = change->now->row;
    zeb_status status = zeb_arena_create(&arena, error);
    if (status == ZEB_OK) status = zeb_store_samples(store, change->then->id, arena, &change->then->row, error);
    if (status == ZEB_OK) status = zeb_store_samples(store, change->now->id, arena, &change->now->row, error);
    if (status == ZEB_OK)
        status = zeb_answers_pair(answers, &then, &now, arena, &then_right, &now_right, &count, error);
    if (status == ZEB_OK) status = zeb_change_measure(change, then_right, now_right, count, error);
    change->then->row = then;
    change->now->row = now;
    zeb_arena_destroy(arena);
    return status;
}

zeb_status zeb_changes_find(zeb_store *store, const zeb_changes_options *options, zeb_arena *arena,
                            zeb_changes *changes, zeb_error *error) {
    *changes = (zeb_changes){0};
    zeb_stored_run *run = NULL;
    zeb_answers *answers = NULL;
    size_t runs = 0;
    zeb_status status = zeb_store_runs(store, arena, &run, &runs, error);
    if (status == ZEB_OK) status = choose_runs(run, runs, options, changes, error);
    if (status == ZEB_OK) status = find_pairs(store, run, arena, changes, error);
    if (status == ZEB_OK) status = zeb_answers_open(options->then_answers, options->now_answers, &answers, error);
    for (size_t i = 0; status == ZEB_OK && i < changes->count; i++)
        status = measure(store, &changes->change[i], answers, error);
    if (status == ZEB_OK) zeb_text_copy(changes->note, sizeof changes->note, zeb_answers_note(answers));
    zeb_answers_close(answers);
    if (status != ZEB_OK) return status;
    zeb_changes_settle(changes->change, changes->count, options->tolerance);
    for (size_t i = 0; i < changes->count; i++) {
        const zeb_change *c = &changes->change[i];
        changes->tally[c->kind]++;
        changes->losses += zeb_change_is_loss(c->kind);
        changes->compared += c->kind != ZEB_CHANGE_NEW && c->kind != ZEB_CHANGE_NEVER_OK;
    }
    return ZEB_OK;
}
