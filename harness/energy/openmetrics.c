#include "energy/openmetrics.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static void write_label(FILE *stream, const char *name, const char *value, char after) {
    (void)fprintf(stream, "%s=\"", name);
    for (; value != NULL && *value != '\0'; value++) {
        if (*value == '\n') {
            (void)fputs("\\n", stream);
            continue;
        }
        if (*value == '"' || *value == '\\') (void)fputc('\\', stream);
        (void)fputc(*value, stream);
    }
    (void)fprintf(stream, "\"%c", after);
}

/* Integers on both sides of the point: exact, and the same in every locale. */
static void write_sample(FILE *stream, const zeb_openmetric *sample) {
    (void)fputs("zeb_energy_joules_total{", stream);
    write_label(stream, "device", sample->device, ',');
    write_label(stream, "domain", sample->domain, ',');
    write_label(stream, "source", sample->source, ',');
    write_label(stream, "kind", sample->estimated ? "estimated" : "measured", '}');
    (void)fprintf(stream, " %" PRId64 ".%06" PRId64 "\n", sample->energy_uj / 1000000, sample->energy_uj % 1000000);
}

zeb_status zeb_openmetrics_write(FILE *stream, const zeb_openmetric *sample, size_t count, zeb_error *error) {
    for (size_t i = 0; i < count; i++) {
        if (sample[i].energy_uj >= 0) continue;
        return zeb_fail(error, ZEB_ERR_ARGUMENT, "OpenMetrics: a counter can't be negative (%s)", sample[i].domain);
    }
    errno = 0;
    (void)fputs("# TYPE zeb_energy_joules counter\n"
                "# UNIT zeb_energy_joules joules\n"
                "# HELP zeb_energy_joules Gross energy drawn while measured work ran.\n",
                stream);
    for (size_t i = 0; i < count; i++) {
        write_sample(stream, &sample[i]);
    }
    (void)fputs("# EOF\n", stream);
    if (fflush(stream) != 0 || ferror(stream)) {
        return zeb_fail(error, ZEB_ERR_IO, "OpenMetrics: %s", errno != 0 ? strerror(errno) : "write failed");
    }
    return ZEB_OK;
}
