#include "run/change_answers.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

typedef struct answer {
    int64_t index;
    bool right;
} answer;

/* The lines of one model, task and device. */
typedef struct answer_group {
    char *model, *task, *device;
    answer *answer;
    size_t count, capacity, right;
    bool mixed; /* of several rows that the lines don't tell apart */
} answer_group;

typedef struct answer_file {
    const char *path;
    answer_group *group;
    size_t count;
} answer_file;

struct zeb_answers {
    answer_file then, now;
    char note[256];
};

static void close_file(answer_file *file) {
    for (size_t i = 0; i < file->count; i++) {
        free(file->group[i].model);
        free(file->group[i].task);
        free(file->group[i].device);
        free(file->group[i].answer);
    }
    free(file->group);
}

void zeb_answers_close(zeb_answers *answers) {
    if (answers == NULL) return;
    close_file(&answers->then);
    close_file(&answers->now);
    free(answers);
}

/* ---- reading --------------------------------------------------------------------------------------------------------
 */

static answer_group *find_group(answer_file *file, const char *model, const char *task, const char *device) {
    for (size_t i = file->count; i-- > 0;) { /* the newest first: lines of a group stand together */
        answer_group *g = &file->group[i];
        if (strcmp(g->model, model) == 0 && strcmp(g->task, task) == 0 && strcmp(g->device, device) == 0) return g;
    }
    answer_group *grown = realloc(file->group, (file->count + 1) * sizeof *grown);
    if (grown == NULL) return NULL;
    file->group = grown;
    answer_group *g = &grown[file->count++];
    *g = (answer_group){.model = strdup(model), .task = strdup(task), .device = strdup(device)};
    return g->model != NULL && g->task != NULL && g->device != NULL ? g : NULL;
}

static bool add_answer(answer_group *group, int64_t index, bool right) {
    if (group->count == group->capacity) {
        size_t capacity = group->capacity > 0 ? 2 * group->capacity : 1024;
        answer *grown = realloc(group->answer, capacity * sizeof *grown);
        if (grown == NULL) return false;
        group->answer = grown;
        group->capacity = capacity;
    }
    /* Rows are written in the order of the data: an index that does not rise begins another row. */
    group->mixed |= group->count > 0 && index <= group->answer[group->count - 1].index;
    group->answer[group->count++] = (answer){.index = index, .right = right};
    group->right += right;
    return true;
}

static zeb_status take_line(answer_file *file, const char *text, size_t line, zeb_error *error) {
    json_t *root = json_loads(text, 0, NULL);
    const char *model = json_string_value(json_object_get(root, "model"));
    const char *task = json_string_value(json_object_get(root, "task"));
    const char *device = json_string_value(json_object_get(root, "device"));
    const json_t *index = json_object_get(root, "index"), *label = json_object_get(root, "label");
    const json_t *prediction = json_object_get(root, "prediction");
    zeb_status status = ZEB_OK;
    if (model == NULL || task == NULL || device == NULL || !json_is_integer(index) || !json_is_number(prediction)) {
        status = zeb_fail(error, ZEB_ERR_FORMAT, "%s:%zu: not a line of `zeb run --predictions`", file->path, line);
    } else if (json_is_integer(label) && json_is_integer(prediction)) { /* else a number, or no gold label */
        answer_group *group = find_group(file, model, task, device);
        bool right = json_integer_value(label) == json_integer_value(prediction);
        if (group == NULL || !add_answer(group, json_integer_value(index), right))
            status = zeb_fail(error, ZEB_ERR_MEMORY, "%s: no memory for its lines", file->path);
    }
    json_decref(root);
    return status;
}

static zeb_status read_file(const char *path, answer_file *file, zeb_error *error) {
    char *text = NULL;
    size_t capacity = 0;
    zeb_status status = ZEB_OK;
    if (path == NULL) return ZEB_OK;
    file->path = path;
    FILE *from = fopen(path, "re");
    if (from == NULL) return zeb_fail(error, ZEB_ERR_IO, "%s: %s", path, strerror(errno));
    for (size_t line = 1; status == ZEB_OK && getline(&text, &capacity, from) > 0; line++)
        status = take_line(file, text, line, error);
    if (status == ZEB_OK && ferror(from) != 0) status = zeb_fail(error, ZEB_ERR_IO, "%s: could not be read", path);
    free(text);
    (void)fclose(from);
    return status;
}

zeb_status zeb_answers_open(const char *then_path, const char *now_path, zeb_answers **answers, zeb_error *error) {
    *answers = calloc(1, sizeof **answers);
    if (*answers == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for answers");
    zeb_status status = read_file(then_path, &(*answers)->then, error);
    if (status == ZEB_OK) status = read_file(now_path, &(*answers)->now, error);
    if (status == ZEB_OK) return ZEB_OK;
    zeb_answers_close(*answers);
    *answers = NULL;
    return status;
}

/* ---- pairing --------------------------------------------------------------------------------------------------------
 */

static void note(zeb_answers *answers, const answer_file *file, const zeb_row *row, const char *why) {
    if (answers->note[0] == '\0')
        (void)snprintf(answers->note, sizeof answers->note, "%s: %s of %s, %s, %s; answers were not used", file->path,
                       why, row->model, row->task, row->backend);
}

/* "cpu" and "cpu:0" both name device 0 of plugin cpu, which was asked for in one of these ways. */
static bool is_device(const char *asked, const zeb_row *row) {
    size_t length = strlen(row->backend);
    if (strncmp(asked, row->backend, length) != 0) return false;
    return asked[length] == '\0' || (asked[length] == ':' && strcmp(asked + length + 1, row->device) == 0);
}

/* The group that holds the row's answers, and nothing else; NULL without one. */
static const answer_group *group_of(zeb_answers *answers, const answer_file *file, const zeb_row *row) {
    const answer_group *found = NULL;
    bool several = false;
    for (size_t i = 0; i < file->count; i++) {
        const answer_group *g = &file->group[i];
        if (strcmp(g->model, row->model) != 0 || strcmp(g->task, row->task) != 0 || !is_device(g->device, row))
            continue;
        several = found != NULL;
        found = g;
    }
    double value = row->metric[0].value.value;
    if (found == NULL)
        note(answers, file, row, "no lines");
    else if (several || found->mixed)
        note(answers, file, row, "several rows' lines");
    else if (found->count != row->examples || !(fabs((double)found->right / (double)found->count - value) < 1e-9))
        note(answers, file, row, "not the score");
    else
        return found;
    return NULL;
}

static bool is_accuracy(const zeb_row *row) {
    return row->outcome == ZEB_OUTCOME_OK && row->metric_count > 0 && row->metric[0].value.has &&
           strcmp(row->metric[0].name, "accuracy") == 0;
}

zeb_status zeb_answers_pair(zeb_answers *answers, const zeb_row *then, const zeb_row *now, zeb_arena *arena,
                            const bool **then_right, const bool **now_right, size_t *count, zeb_error *error) {
    *count = 0;
    if (answers->then.path == NULL || answers->now.path == NULL || !is_accuracy(then) || !is_accuracy(now))
        return ZEB_OK;
    const answer_group *a = group_of(answers, &answers->then, then), *b = group_of(answers, &answers->now, now);
    if (a == NULL || b == NULL || a->count != b->count) return ZEB_OK;
    for (size_t i = 0; i < a->count; i++)
        if (a->answer[i].index != b->answer[i].index) return ZEB_OK;
    void *memory = NULL;
    zeb_status status = zeb_arena_alloc(arena, 2 * a->count, sizeof(bool), &memory, error);
    if (status != ZEB_OK) return status;
    bool *right = memory;
    for (size_t i = 0; i < a->count; i++) {
        right[i] = a->answer[i].right;
        right[a->count + i] = b->answer[i].right;
    }
    *then_right = right;
    *now_right = right + a->count;
    *count = a->count;
    return ZEB_OK;
}

const char *zeb_answers_note(const zeb_answers *answers) {
    return answers->note;
}
