#include "run/costs.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "graph/precision.h"

enum { METHOD = 1 }; /* of measuring: another one makes other tables */

const char zeb_costs_pass[] = "pass";

/* ---- whose table ------------------------------------------------------------------------------------------------ */

zeb_status zeb_costs_fingerprint(const zeb_registry *registry, const zeb_device_handle *device,
                                 char fingerprint[ZEB_FINGERPRINT_MAX], zeb_error *error) {
    const zeb_plugin_record *record = zeb_registry_find(registry, device->plugin->name);
    const zeb_device_settings *set = &device->settings;
    char file[ZEB_SHA256_HEX], text[2048];
    if (record == NULL)
        return zeb_fail(error, ZEB_ERR_NOT_FOUND, "plugin '%s' is not in the registry", device->plugin->name);
    zeb_status status = zeb_sha256_file(record->path, file, error);
    if (status != ZEB_OK) return status;
    int length = snprintf(text, sizeof text, "costs %d\n%s %s %s\n%s\n%s\n%s\n%u threads, pinned %u, isa %s\n%s",
                          METHOD, device->plugin->name, device->plugin->version, file, device->info.id,
                          device->info.name, device->info.driver, set->threads, set->pinned, set->isa, set->note);
    zeb_sha256(text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1, fingerprint);
    return ZEB_OK;
}

static int by_key(const void *a, const void *b) {
    const zeb_timing *x = a, *y = b;
    int order = strcmp(x->signature, y->signature);
    return order != 0 ? order : (x->rows > y->rows) - (x->rows < y->rows);
}

zeb_status zeb_costs_make(const char *fingerprint, const zeb_stored_timing *stored, size_t stored_count,
                          const zeb_timing *made, size_t made_count, zeb_arena *arena, zeb_costs *costs,
                          zeb_error *error) {
    void *memory;
    *costs = (zeb_costs){0};
    zeb_text_copy(costs->fingerprint, sizeof costs->fingerprint, fingerprint);
    zeb_status status = zeb_arena_alloc(arena, stored_count + made_count, sizeof(zeb_timing), &memory, error);
    if (status != ZEB_OK) return status;
    zeb_timing *timing = memory;
    size_t count = made_count;
    if (made_count > 0) memcpy(timing, made, made_count * sizeof *made);
    qsort(timing, made_count, sizeof *timing, by_key);
    for (size_t i = 0; i < stored_count; i++) {
        if (strcmp(stored[i].fingerprint, fingerprint) != 0) continue;
        if (bsearch(&stored[i].timing, timing, made_count, sizeof *timing, by_key) == NULL)
            timing[count++] = stored[i].timing;
    }
    qsort(timing, count, sizeof *timing, by_key);
    costs->timing = timing;
    costs->count = count;
    return ZEB_OK;
}

zeb_status zeb_costs_hash(const zeb_costs *costs, char hash[13], zeb_error *error) {
    char *text = NULL, hex[ZEB_SHA256_HEX];
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (stream == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for a cost table");
    (void)fprintf(stream, "%s\n", costs->fingerprint);
    for (size_t i = 0; i < costs->count; i++)
        (void)fprintf(stream, "%s\n%u %.17g\n", costs->timing[i].signature, costs->timing[i].rows, costs->timing[i].ns);
    bool written = fclose(stream) == 0;
    if (written) zeb_sha256(text, size, hex);
    free(text);
    if (!written) return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for a cost table");
    memcpy(hash, hex, 12);
    hash[12] = '\0';
    return ZEB_OK;
}

/* ---- what it says ----------------------------------------------------------------------------------------------- */

/* The timings of a signature: first .. first + count. */
static const zeb_timing *find(const zeb_costs *costs, const char *signature, size_t *count) {
    size_t low = 0, high = costs->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(costs->timing[middle].signature, signature) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *count = 0;
    while (low + *count < costs->count && strcmp(costs->timing[low + *count].signature, signature) == 0)
        ++*count;
    return *count > 0 ? &costs->timing[low] : NULL;
}

uint32_t zeb_costs_reach(const zeb_costs *costs, const char *signature) {
    size_t count;
    const zeb_timing *t = find(costs, signature, &count);
    return count > 0 ? t[count - 1].rows : 0;
}

double zeb_costs_at(const zeb_costs *costs, const char *signature, double rows) {
    size_t count, i = 0;
    const zeb_timing *t = find(costs, signature, &count);
    if (count == 0) return -1;
    if (rows <= 0) return 0;
    if (count == 1 || rows <= t[0].rows) return t[0].ns;
    while (i + 2 < count && t[i + 1].rows < rows)
        i++;
    double slope = (t[i + 1].ns - t[i].ns) / ((double)t[i + 1].rows - t[i].rows);
    if (rows > t[count - 1].rows && slope < 0) slope = 0;
    return t[i + 1].ns + slope * (rows - t[i + 1].rows);
}

/* ---- choices ---------------------------------------------------------------------------------------------------- */

void zeb_costs_choice(const zeb_choice *choice, char signature[ZEB_SIGNATURE_MAX]) {
    (void)snprintf(signature, ZEB_SIGNATURE_MAX, "choice %s", choice->name);
}

zeb_status zeb_costs_choices(const zeb_costs *costs, const zeb_device_handle *device,
                             zeb_choice choice[ZEB_CHOICES_MAX], uint32_t *count, zeb_error *error) {
    zeb_choices_fn list = zeb_backend_choices(device->backend);
    *count = 0;
    if (list == NULL || zeb_backend_choose(device->backend) == NULL) return ZEB_OK;
    zeb_status status = list(device->device, false, choice, ZEB_CHOICES_MAX, count, error);
    if (*count > ZEB_CHOICES_MAX) *count = ZEB_CHOICES_MAX;
    for (uint32_t i = 0; i < *count && status == ZEB_OK; i++) {
        char signature[ZEB_SIGNATURE_MAX];
        size_t known;
        zeb_costs_choice(&choice[i], signature);
        const zeb_timing *t = find(costs, signature, &known);
        choice[i].ns = -1;
        for (size_t j = 0; j < known; j++)
            if (t[j].rows == choice[i].value) choice[i].ns = t[j].ns;
    }
    return status;
}

/* ---- nodes ------------------------------------------------------------------------------------------------------ */

bool zeb_costs_selects(const zeb_node *node) {
    return node->op == ZEB_OP_ATTENTION && node->attr.attention.select.mode != ZEB_SELECT_NONE;
}

uint32_t zeb_costs_driver(const zeb_node *node) {
    if (node->op == ZEB_OP_ATTENTION) return ZEB_ATTENTION_K;
    if (node->op == ZEB_OP_GATHER) return ZEB_GATHER_INDICES;
    if (node->op == ZEB_OP_SELECT) return ZEB_SELECT_ROWS;
    if (node->op == ZEB_OP_EXIT) return ZEB_EXIT_ROWS;
    return 0; /* x, or ids */
}

bool zeb_costs_in_rows(const zeb_graph *graph, const zeb_node *node, uint32_t input) {
    const zeb_tensor *driver = &graph->tensor[node->input[zeb_costs_driver(node)]];
    const zeb_tensor *tensor = &graph->tensor[node->input[input]];
    if (tensor->role == ZEB_ROLE_WEIGHT) return false;
    if (node->op == ZEB_OP_GATHER) return true; /* from more rows into these */
    return tensor->offsets == driver->offsets && tensor->extent[0].max == driver->extent[0].max;
}

static size_t add_shape(const zeb_graph *graph, const zeb_node *node, uint32_t input, char *text, size_t capacity) {
    static const char *const dtype[] = {"?", "f32", "f16", "bf16", "i32", "i8", "u4"};
    if (node->input[input] == ZEB_NONE) return (size_t)snprintf(text, capacity, " -");
    const zeb_tensor *t = &graph->tensor[node->input[input]];
    size_t used = (size_t)snprintf(text, capacity, " %s:", (unsigned)t->dtype < 7 ? dtype[t->dtype] : "?");
    bool weight = t->role == ZEB_ROLE_WEIGHT;
    for (uint32_t i = 0; i < t->rank && used < capacity; i++) {
        if (i > 0 || weight)
            used +=
                (size_t)snprintf(text + used, capacity - used, "%s%lld", i > 0 ? "x" : "", (long long)t->extent[i].max);
        else
            used += (size_t)snprintf(text + used, capacity - used, zeb_costs_in_rows(graph, node, input) ? "T" : "B");
    }
    if (t->group > 0 && used < capacity) used += (size_t)snprintf(text + used, capacity - used, "/%d", t->group);
    return used;
}

/* The attributes but for the selection: bytes up to the last that is not 0. */
static size_t add_attributes(const zeb_node *node, char *text, size_t capacity) {
    zeb_node plain = *node;
    if (node->op == ZEB_OP_ATTENTION) plain.attr.attention.select = (zeb_select){0};
    const unsigned char *byte = (const unsigned char *)&plain.attr;
    size_t length = sizeof plain.attr, used = 0;
    while (length > 0 && byte[length - 1] == 0)
        length--;
    for (size_t i = 0; i < length && used < capacity; i++)
        used += (size_t)snprintf(text + used, capacity - used, "%s%02x", i == 0 ? " " : "", byte[i]);
    return used;
}

void zeb_costs_signature(const zeb_graph *graph, const zeb_node *node, bool half, char text[ZEB_SIGNATURE_MAX]) {
    size_t used = (size_t)snprintf(text, ZEB_SIGNATURE_MAX, "%s", zeb_op_name(node->op));
    if (node->op == ZEB_OP_LINEAR || node->op == ZEB_OP_ATTENTION)
        used += (size_t)snprintf(text + used, ZEB_SIGNATURE_MAX - used, " %s",
                                 zeb_precision_name(node->op == ZEB_OP_LINEAR ? node->attr.linear.precision
                                                                              : node->attr.attention.precision));
    if (zeb_costs_selects(node))
        used += (size_t)snprintf(text + used, ZEB_SIGNATURE_MAX - used, " keeps %s", half ? "half" : "all");
    uint32_t last = ZEB_NODE_INPUTS_MAX;
    while (last > 0 && node->input[last - 1] == ZEB_NONE)
        last--;
    for (uint32_t i = 0; i < last && used < ZEB_SIGNATURE_MAX; i++)
        used += add_shape(graph, node, i, text + used, ZEB_SIGNATURE_MAX - used);
    if (used < ZEB_SIGNATURE_MAX) (void)add_attributes(node, text + used, ZEB_SIGNATURE_MAX - used);
}

/* ---- a pass ----------------------------------------------------------------------------------------------------- */

double zeb_costs_node(const zeb_costs *costs, const zeb_graph *graph, const zeb_node *node, const zeb_cost *cost,
                      size_t sequences) {
    char signature[ZEB_SIGNATURE_MAX];
    const zeb_tensor *driver = &graph->tensor[node->input[zeb_costs_driver(node)]];
    double rows = (double)zeb_cost_rows(cost, node->input[zeb_costs_driver(node)]), times = 1;
    if (driver->offsets == ZEB_NONE) rows = (double)sequences; /* a row a sequence */
    if (node->op == ZEB_OP_ATTENTION && sequences > 0) {
        rows /= (double)sequences; /* measured of one sequence */
        times = (double)sequences;
    }
    zeb_costs_signature(graph, node, false, signature);
    double all = zeb_costs_at(costs, signature, rows);
    if (!zeb_costs_selects(node) || all < 0 || rows <= 0) return all < 0 ? -1 : times * all;
    zeb_costs_signature(graph, node, true, signature);
    double half = zeb_costs_at(costs, signature, rows);
    if (half < 0) return -1;
    double kept = (double)zeb_cost_rows(cost, node->output[ZEB_ATTENTION_OFFSETS]) / (rows * times);
    double ns = half + (all - half) * (2 * kept - 1);
    return times * (ns > 0 ? ns : 0);
}

double zeb_costs_graph(const zeb_costs *costs, const zeb_graph *graph, const zeb_cost *cost, size_t sequences) {
    double sum = zeb_costs_at(costs, zeb_costs_pass, 1);
    for (uint32_t i = 0; i < graph->node_count && sum >= 0; i++) {
        double ns = zeb_costs_node(costs, graph, &graph->node[i], cost, sequences);
        sum = ns < 0 ? -1 : sum + ns;
    }
    return sum;
}
