#include "energy/codecarbon.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

typedef enum field_kind { FIELD_TEXT, FIELD_NUMBER, FIELD_RATE } field_kind;

typedef struct field {
    const char *name;
    field_kind kind;
    size_t offset;
} field;

#define TEXT(name)                                                                                                     \
    { #name, FIELD_TEXT, offsetof(zeb_codecarbon, name) }
#define NUMBER(name)                                                                                                   \
    { #name, FIELD_NUMBER, offsetof(zeb_codecarbon, name) }

/* clang-format off */
static const field fields[] = {
    TEXT(timestamp), TEXT(project_name), TEXT(run_id), TEXT(experiment_id), NUMBER(duration), NUMBER(emissions),
    {"emissions_rate", FIELD_RATE, 0}, NUMBER(cpu_power), NUMBER(gpu_power), NUMBER(ram_power), NUMBER(cpu_energy),
    NUMBER(gpu_energy), NUMBER(ram_energy), NUMBER(energy_consumed), NUMBER(water_consumed), TEXT(country_name),
    TEXT(country_iso_code), TEXT(region), TEXT(cloud_provider), TEXT(cloud_region), TEXT(os), TEXT(python_version),
    TEXT(codecarbon_version), NUMBER(cpu_count), TEXT(cpu_model), NUMBER(gpu_count), TEXT(gpu_model), NUMBER(longitude),
    NUMBER(latitude), NUMBER(ram_total_size), TEXT(tracking_mode), NUMBER(cpu_utilization_percent),
    NUMBER(gpu_utilization_percent), NUMBER(ram_utilization_percent), NUMBER(ram_used_gb), TEXT(on_cloud), NUMBER(pue),
    NUMBER(wue),
};
/* clang-format on */
enum { FIELD_COUNT = sizeof fields / sizeof fields[0] };

void zeb_codecarbon_clear(zeb_codecarbon *row) {
    memset(row, 0, sizeof *row);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (fields[i].kind != FIELD_NUMBER) continue;
        double unknown = (double)NAN;
        memcpy((char *)row + fields[i].offset, &unknown, sizeof unknown);
    }
}

static void write_text(FILE *stream, const char *text) {
    if (text == NULL) return;
    if (strpbrk(text, ",\"\r\n") == NULL) {
        (void)fputs(text, stream);
        return;
    }
    (void)fputc('"', stream);
    for (; *text != '\0'; text++) {
        if (*text == '"') (void)fputc('"', stream);
        (void)fputc(*text, stream);
    }
    (void)fputc('"', stream);
}

/* Shortest of 15 or 17 digits; a locale's comma becomes a point. */
static void write_number(FILE *stream, double value) {
    if (!isfinite(value)) return;
    char text[40];
    (void)snprintf(text, sizeof text, "%.15g", value);
    char *comma = strchr(text, ',');
    if (comma != NULL) *comma = '.';
    (void)fputs(text, stream);
}

static double number_of(const zeb_codecarbon *row, const field *f) {
    if (f->kind == FIELD_RATE) return row->duration > 0 ? row->emissions / row->duration : (double)NAN;
    double value;
    memcpy(&value, (const char *)row + f->offset, sizeof value);
    return value;
}

static void write_field(FILE *stream, const zeb_codecarbon *row, const field *f) {
    if (f->kind == FIELD_TEXT) {
        const char *text;
        memcpy(&text, (const char *)row + f->offset, sizeof text);
        write_text(stream, text);
    } else {
        write_number(stream, number_of(row, f));
    }
}

static zeb_status finish(FILE *stream, zeb_error *error) {
    (void)fputc('\n', stream);
    if (fflush(stream) != 0 || ferror(stream)) {
        return zeb_fail(error, ZEB_ERR_IO, "emissions.csv: %s", errno != 0 ? strerror(errno) : "write failed");
    }
    return ZEB_OK;
}

zeb_status zeb_codecarbon_header(FILE *stream, zeb_error *error) {
    errno = 0;
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (i > 0) (void)fputc(',', stream);
        (void)fputs(fields[i].name, stream);
    }
    return finish(stream, error);
}

zeb_status zeb_codecarbon_write(FILE *stream, const zeb_codecarbon *row, zeb_error *error) {
    errno = 0;
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (i > 0) (void)fputc(',', stream);
        write_field(stream, row, &fields[i]);
    }
    return finish(stream, error);
}
