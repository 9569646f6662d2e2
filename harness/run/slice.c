#include "run/slice.h"

#include <stdlib.h>
#include <string.h>

enum { EXAMPLES_MIN = 8 };

static const char salt[] = "zeb-calib-1"; /* its NUL is hashed too */

zeb_status zeb_slice_has(const zeb_example *example, double share, bool *has, zeb_error *error) {
    bool grouped = example->group >= 0;
    size_t second = grouped ? 0 : 1 + example->b_len;
    size_t size = sizeof salt + example->a_len + second;
    char *text = malloc(size);
    if (text == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for the text of an example");
    memcpy(text, salt, sizeof salt);
    memcpy(text + sizeof salt, example->a, example->a_len);
    if (!grouped) text[sizeof salt + example->a_len] = '\t';
    if (!grouped && example->b_len > 0) memcpy(text + sizeof salt + example->a_len + 1, example->b, example->b_len);
    char hex[ZEB_SHA256_HEX];
    zeb_sha256(text, size, hex);
    free(text);
    hex[8] = '\0'; /* four bytes, most significant first */
    *has = strtoull(hex, NULL, 16) < (unsigned long long)(share * 4294967296.0);
    return ZEB_OK;
}

zeb_status zeb_slice_check(const char *split, double share, zeb_error *error) {
    if (!(share > 0 && share <= 1))
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "--share is the calibration slice's part of train: above 0");
    if (strncmp(split, "train", 5) == 0) return ZEB_OK;
    return zeb_fail(error, ZEB_ERR_ARGUMENT,
                    "--split %s: thresholds are fitted on train alone; a model that has seen the rows it is scored on "
                    "would look better than it is",
                    split);
}

typedef struct slice_filter {
    double share;
    zeb_status status;
    zeb_error *error;
} slice_filter;

static bool in_slice(const zeb_example *example, void *user) {
    slice_filter *filter = user;
    bool has = false;
    if (filter->status == ZEB_OK) filter->status = zeb_slice_has(example, filter->share, &has, filter->error);
    return has;
}

/* A train file that is the dev file under another name. */
static zeb_status check_leak(const zeb_session *session, zeb_error *error) {
    const zeb_case *what = session->what;
    const zeb_dataset *data = &session->data;
    zeb_arena *arena;
    zeb_dataset dev;
    zeb_error ignored;
    zeb_status status = zeb_arena_create(&arena, error);
    if (status != ZEB_OK) return status;
    bool same = zeb_dataset_open(data->task, what->data, NULL, 1, arena, &dev, &ignored) == ZEB_OK &&
                strcmp(dev.hash, data->hash) == 0;
    if (same)
        status = zeb_fail(error, ZEB_ERR_ARGUMENT, "%s holds the same bytes as the %s split: that is not train",
                          data->path, dev.split);
    zeb_arena_destroy(arena);
    return status;
}

/* Leaves examples that are long enough, and of these at most the limit, spread evenly. */
static void thin(zeb_session *session, int32_t min_tokens, size_t limit) {
    size_t kept = 0;
    for (size_t i = 0; i < session->data.count; i++) {
        if (session->sequence[i].length < min_tokens) continue;
        session->sequence[kept] = session->sequence[i];
        session->data.example[kept++] = session->data.example[i];
    }
    session->data.count = limit > 0 && limit < kept ? limit : kept;
    for (size_t i = 0; i < session->data.count; i++) {
        session->sequence[i] = session->sequence[i * kept / session->data.count];
        session->data.example[i] = session->data.example[i * kept / session->data.count];
    }
}

zeb_status zeb_slice_open(zeb_case *what, const zeb_slice *slice, const zeb_registry *registry, zeb_arena *arena,
                          zeb_session *session, zeb_row *row, zeb_error *error) {
    slice_filter filter = {.share = slice->share, .error = error};
    const size_t limit = what->limit;
    what->limit = 0;
    zeb_status status = (slice->plan_later ? zeb_session_prepare : zeb_session_open_kept)(
        what, registry, in_slice, &filter, arena, session, row, error);
    if (filter.status != ZEB_OK) return filter.status;
    if (status != ZEB_OK) return status;
    thin(session, slice->min_tokens, limit);
    if (session->data.count < EXAMPLES_MIN)
        return zeb_fail(error, ZEB_ERR_RANGE,
                        "the calibration slice of %s (%.3g %% of %llu rows) has %zu examples of at least %d tokens, "
                        "too few to fit anything on: raise --share",
                        session->data.path, 100 * slice->share, (unsigned long long)session->data.rows_read,
                        session->data.count, slice->min_tokens);
    if (session->device.info.kind == ZEB_DEVICE_NONE)
        return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "--device %s computes nothing: it cannot tell what matters",
                        what->device);
    return check_leak(session, error);
}
