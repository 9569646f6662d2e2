#include "suites/task.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "suites/glue/glue.h"
#include "suites/superglue/superglue.h"

size_t zeb_task_count(void) {
    return zeb_glue_count + zeb_superglue_count;
}

const zeb_task *zeb_task_at(size_t i) {
    return i < zeb_glue_count ? &zeb_glue_task[i] : &zeb_superglue_task[i - zeb_glue_count];
}

/* "glue/SST-2" -> "glue/sst2": what people write is lowered and its joints dropped. */
static void fold_name(const char *name, char *to, size_t capacity) {
    size_t length = 0;
    for (; *name != '\0' && length + 1 < capacity; name++) {
        if (*name == '-' || *name == '_') continue;
        to[length++] = *name >= 'A' && *name <= 'Z' ? (char)(*name - 'A' + 'a') : *name;
    }
    to[length] = '\0';
}

enum { NAME_MAX_FOLDED = 64 };

static bool name_fits(const zeb_task *task, const char *folded) {
    char own[NAME_MAX_FOLDED], folder[NAME_MAX_FOLDED];
    fold_name(task->name, own, sizeof own);
    fold_name(task->folder, folder, sizeof folder);
    const char *slash = strchr(own, '/');
    return strcmp(own, folded) == 0 || (slash != NULL && strcmp(slash + 1, folded) == 0);
}

/* Names that other tools give to these tasks. */
static const char *const alias[][2] = {
    {"mnlimatched", "glue/mnli"},       {"glue/mnlimatched", "glue/mnli"},       {"mnlim", "glue/mnli"},
    {"mnlimismatched", "glue/mnli-mm"}, {"glue/mnlimismatched", "glue/mnli-mm"}, {"glue/diagnostic", "glue/ax"},
    {"glue/axfull", "glue/ax"},
};

const zeb_task *zeb_task_find(const char *name) {
    char folded[NAME_MAX_FOLDED];
    if (strlen(name) >= sizeof folded) return NULL;
    fold_name(name, folded, sizeof folded);
    for (size_t i = 0; i < sizeof alias / sizeof alias[0]; i++)
        if (strcmp(alias[i][0], folded) == 0) return zeb_task_find(alias[i][1]);
    for (size_t i = 0; i < zeb_task_count(); i++)
        if (name_fits(zeb_task_at(i), folded)) return zeb_task_at(i);
    return NULL;
}

const char *zeb_task_suggest(const char *name) {
    const char *nearest = NULL;
    size_t best = strlen(name) / 3 + 2;
    for (size_t i = 0; i < zeb_task_count(); i++) {
        const char *own = zeb_task_at(i)->name, *bare = strchr(own, '/') + 1;
        size_t with = zeb_text_distance(name, own), without = zeb_text_distance(name, bare);
        size_t distance = with < without ? with : without;
        if (distance >= best) continue;
        best = distance;
        nearest = own;
    }
    return nearest;
}

static int32_t label_index(const char *const *names, int32_t count, const char *name) {
    for (int32_t i = 0; i < count; i++)
        if (strcasecmp(names[i], name) == 0) return i;
    return -1;
}

/* True for "LABEL_3" at place 3 and for the task's spelling of class 3: names that say no more than their number. */
static bool label_is_plain(const zeb_task *task, const char *name, int32_t place) {
    int64_t number;
    if (strncasecmp(name, "LABEL_", 6) == 0 && zeb_text_to_i64(name + 6, &number)) return number == place;
    return zeb_text_to_i64(name, &number) && number == place && task->labels > place;
}

static zeb_status labels_do_not_fit(const zeb_task *task, const char *label, zeb_error *error) {
    return zeb_fail(error, ZEB_ERR_FORMAT, "the model's label \"%s\" is none of %s's (%s, %s%s%s)", label, task->name,
                    task->label_name[0], task->label_name[1], task->labels > 2 ? ", " : "",
                    task->labels > 2 ? task->label_name[2] : "");
}

zeb_status zeb_task_map_labels(const zeb_task *task, const char *const *model_label, int32_t labels, int32_t *class_of,
                               zeb_error *error) {
    if (labels != task->labels)
        return zeb_fail(error, ZEB_ERR_FORMAT, "the model has %d outputs, %s has %d", labels, task->name, task->labels);
    bool named = false, seen[16] = {false};
    for (int32_t m = 0; m < labels; m++) {
        class_of[m] = m;
        if (model_label != NULL && task->label_name != NULL && !label_is_plain(task, model_label[m], m)) named = true;
    }
    for (int32_t m = 0; named && m < labels; m++) {
        int32_t class = label_index(task->label_name, labels, model_label[m]);
        if (class < 0) return labels_do_not_fit(task, model_label[m], error);
        if (seen[class]) return zeb_fail(error, ZEB_ERR_FORMAT, "the model has two labels \"%s\"", model_label[m]);
        seen[class] = true;
        class_of[m] = class;
    }
    return ZEB_OK;
}
