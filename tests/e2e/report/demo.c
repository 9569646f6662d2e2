/* Writes a demonstration database and its report: demo DATABASE OUT.html [ROWS]; ROWS keeps the first few alone. */
#include <stdio.h>

#include "base/text.h"
#include "rows.h"
#include "store/report.h"

static zeb_status fill(zeb_store *store, zeb_arena *arena, uint64_t most, zeb_error *error) {
    zeb_run_info info = test_run_info();
    zeb_row *row = NULL;
    size_t count = 0;
    int64_t run = 0;
    test_rows_demo(arena, &row, &count);
    zeb_status status = zeb_store_begin_run(store, &info, &run, error);
    for (size_t i = 0; status == ZEB_OK && i < count && i < most; i++)
        status = zeb_store_put(store, run, &row[i], NULL, error);
    /* The first case once more: the older row must be history. */
    if (status == ZEB_OK && most > count) status = zeb_store_put(store, run, &row[0], NULL, error);
    if (status == ZEB_OK) status = zeb_store_end_run(store, run, "2026-11-23T21:04:00Z", 1, error);
    return status;
}

int main(int argc, char **argv) {
    zeb_error error = {.text = ""};
    zeb_store *store = NULL;
    zeb_arena *arena = NULL;
    uint64_t most = UINT64_MAX;
    if (argc < 3 || (argc > 3 && !zeb_text_to_u64(argv[3], &most))) return 2;
    zeb_status status = zeb_store_open(argv[1], true, &store, &error);
    if (status == ZEB_OK) status = zeb_arena_create(&arena, &error);
    if (status == ZEB_OK) status = fill(store, arena, most, &error);
    zeb_store_close(store);
    zeb_arena_destroy(arena);
    if (status == ZEB_OK) status = zeb_report_save(argv[1], ZEB_FORMAT_HTML, argv[2], &error);
    if (status == ZEB_OK) status = zeb_report_write(argv[1], ZEB_FORMAT_TABLE, stdout, &error);
    if (status == ZEB_OK) status = zeb_report_write(argv[1], ZEB_FORMAT_MD, stdout, &error);
    if (status != ZEB_OK) (void)fprintf(stderr, "%s\n", error.text);
    return status == ZEB_OK ? 0 : 1;
}
