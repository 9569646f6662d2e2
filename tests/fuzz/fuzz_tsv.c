/* Any bytes as a data file of any task: the first byte chooses the task, the second whether labels must be there. What
 * comes back must keep the promises of suites/task.h. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "suites/task.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds) {
    if (!holds) __builtin_trap();
}

static void check_text(const char *text, size_t length) {
    must(strlen(text) == length);
    must(zeb_text_utf8_valid(text, length, NULL));
}

static void check_example(const zeb_dataset *dataset, size_t i) {
    const zeb_task *task = dataset->task;
    const zeb_example *example = &dataset->example[i];
    check_text(example->a, example->a_len);
    if (example->b != NULL) check_text(example->b, example->b_len);
    must(example->a_len + example->b_len > 0);
    if (task->shape >= ZEB_SHAPE_COPA)
        must((uint64_t)example->index == i);
    else
        must(example->index >= 0 && (uint64_t)example->index < dataset->rows_read);
    if (i > 0 && example->group >= 0) must(example->group >= example[-1].group); /* groups stand together */
    must(example->label >= -1 && example->label < task->labels);
    if (task->kind == ZEB_TASK_REGRESSION)
        must(example->target >= task->target_min && example->target <= task->target_max);
    else
        must((example->label >= 0) == dataset->labelled);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    const zeb_task *task = zeb_task_at(data[0] % zeb_task_count());
    zeb_arena *arena;
    zeb_dataset dataset;
    zeb_error error = {0};
    if (zeb_arena_create(&arena, &error) != ZEB_OK) return 0;
    zeb_status status =
        zeb_dataset_parse(task, NULL, data[1] % 2 != 0, "fuzz", data + 2, size - 2, 0, arena, &dataset, &error);
    if (status == ZEB_OK) {
        must(dataset.count > 0);
        for (size_t i = 0; i < dataset.count; i++)
            check_example(&dataset, i);
        for (size_t i = 0; i < dataset.skips; i++)
            must(strncmp(dataset.skip[i], "fuzz:", 5) == 0);
        must((dataset.rows_skipped > 0) == (dataset.skips > 0));
    } else {
        must(error.text[0] != '\0');
    }
    zeb_arena_destroy(arena);
    return 0;
}
