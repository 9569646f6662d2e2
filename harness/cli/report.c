/* zeb report: a page from a database. */
#include <stddef.h>
#include <string.h>

#include "cli/commands.h"
#include "store/report.h"

typedef struct report_settings {
    const char *db, *format, *out;
} report_settings;

#define AT(field) offsetof(report_settings, field)

static const char *const formats[] = {"html", "md", "csv", "json", "jsonl", "table", NULL};

static const zeb_option options[] = {
    {"db", ZEB_OPTION_TEXT, "FILE", "results/local/zeb.db", AT(db), "Database of results.", NULL},
    {"format", ZEB_OPTION_CHOICE, "NAME", "html", AT(format), "What is written.", formats},
    {"out", ZEB_OPTION_TEXT, "FILE", NULL, AT(out), "Where to; replaced only when all is written. Default: stdout.",
     NULL},
    {0}};

static const char *const examples[] = {"zeb report --out report.html", "zeb report --db nightly.db --format md",
                                       "zeb report --format csv --out rows.csv", NULL};

static int run(const void *settings, const char *const *operands, size_t operand_count) {
    (void)operands;
    (void)operand_count;
    const report_settings *set = settings;
    zeb_row_format format = zeb_row_format_find(set->format);
    zeb_error error = {{0}};
    zeb_status status = set->out != NULL ? zeb_report_save(set->db, format, set->out, &error)
                                         : zeb_report_write(set->db, format, stdout, &error);
    return status == ZEB_OK ? ZEB_EXIT_OK : zeb_cli_fail(zeb_cli_exit(status), &error);
}

const zeb_command zeb_command_report = {.name = "report",
                                        .summary = "draw and tabulate what a database holds",
                                        .operands = "",
                                        .options = options,
                                        .examples = examples,
                                        .settings_size = sizeof(report_settings),
                                        .run = run};
