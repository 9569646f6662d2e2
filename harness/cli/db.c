/* zeb db: what other tools measured into the database, and what it holds out to them. */
#include <stddef.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/export.h"
#include "store/import.h"

typedef struct db_settings {
    const char *db, *model, *format;
} db_settings;

#define AT(field) offsetof(db_settings, field)

static const char *const formats[] = {"training", "codecarbon", "openmetrics", NULL};

static const zeb_option options[] = {
    {"db", ZEB_OPTION_TEXT, "FILE", "results/local/zeb.db", AT(db), "Database of results; import makes a missing one.",
     NULL},
    {"model", ZEB_OPTION_TEXT, "NAME", NULL, AT(model),
     "Model that the imported training was for, as rows name it; the report then sets training beside inference.",
     NULL},
    {"format", ZEB_OPTION_CHOICE, "NAME", "training", AT(format),
     "What is exported. training: what was imported; codecarbon: the energy of all rows as an emissions.csv; "
     "openmetrics: its sum for each device and domain.",
     formats},
    {0}};

static const char *const examples[] = {
    "zeb db import baselines/bert-mini-sst2/emissions.csv --model bert-mini-sst2", "zeb db export > training.csv",
    "zeb db export --format codecarbon > emissions.csv", "zeb db export --format openmetrics > zeb.prom", NULL};

static zeb_status import(const db_settings *set, const char *path, zeb_error *error) {
    if (set->model != NULL && set->model[0] == '\0')
        return zeb_fail(error, ZEB_ERR_ARGUMENT,
                        "--model must not be empty: leave it out where the model is not known");
    zeb_store *store;
    zeb_import_counts counts;
    zeb_status status = zeb_store_open(set->db, true, &store, error);
    if (status != ZEB_OK) return status;
    status = zeb_store_import_emissions(store, path, set->model, &counts, error);
    zeb_store_close(store);
    if (status != ZEB_OK) return status;
    zeb_log log = zeb_cli_log(false);
    zeb_log_write(&log, ZEB_LOG_INFO, "%s: %llu imported, %llu known already", path,
                  (unsigned long long)counts.imported, (unsigned long long)counts.known);
    return ZEB_OK;
}

static zeb_status export(const db_settings *set, zeb_error *error) {
    zeb_store *store;
    zeb_status status = zeb_store_open_read(set->db, &store, error);
    if (status != ZEB_OK) return status;
    if (strcmp(set->format, "codecarbon") == 0)
        status = zeb_export_codecarbon(store, stdout, error);
    else if (strcmp(set->format, "openmetrics") == 0)
        status = zeb_export_openmetrics(store, stdout, error);
    else
        status = zeb_store_export_emissions(store, stdout, error);
    zeb_store_close(store);
    return status;
}

static int run(const void *settings, const char *const *operands, size_t operand_count) {
    zeb_error error = {{0}};
    zeb_status status;
    if (operand_count == 2 && strcmp(operands[0], "import") == 0)
        status = import(settings, operands[1], &error);
    else if (operand_count == 1 && strcmp(operands[0], "export") == 0)
        status = export(settings, &error);
    else
        status = zeb_fail(&error, ZEB_ERR_ARGUMENT, "say what to do: zeb db import FILE, or zeb db export");
    return status == ZEB_OK ? ZEB_EXIT_OK : zeb_cli_fail(zeb_cli_exit(status), &error);
}

const zeb_command zeb_command_db = {
    .name = "db",
    .summary = "import the energy of training (CodeCarbon's emissions.csv), export that or the rows'",
    .operands = "import FILE|export",
    .operand_max = 2,
    .options = options,
    .examples = examples,
    .settings_size = sizeof(db_settings),
    .run = run};
