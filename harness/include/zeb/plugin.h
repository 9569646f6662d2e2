/* zeb/plugin.h - what a plugin exports, and what the harness promises it.
 *
 * A plugin is a shared object that exports one function, ZEB_PLUGIN_ENTRY, which returns one table. The harness loads
 * it with RTLD_NOW|RTLD_LOCAL, first in a child process (a crash there makes the plugin `broken`, not the run), checks
 * magic, ABI and struct_size before it reads anything else, and never unloads it. A plugin includes only zeb/ headers
 * and links no symbol of the harness.
 *
 * Tables only grow at their end; struct_size says how much of one is there. zeb_node, zeb_tensor and the other structs
 * that stand in arrays are fixed for an ABI number.
 *
 * Threads: the harness calls a device and its plans from one thread at a time; a plugin may use threads of its own.
 * A sensor is sampled from the sampler's thread while a device works in another. No call may exit, abort, install
 * signal handlers or print: what there is to say goes into *error. Errors leave the object usable unless they are
 * ZEB_ERR_DEVICE. */
#ifndef ZEB_PLUGIN_H
#define ZEB_PLUGIN_H

#include <stdbool.h>

#include "zeb/graph.h"
#include "zeb/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ZEB_PLUGIN_MAGIC 0x3142455au /* the bytes "ZEB1" in memory, little-endian */
#define ZEB_PLUGIN_ABI 1u
#define ZEB_PLUGIN_ENTRY_NAME "zeb_plugin_entry"

#if defined(__GNUC__)
#define ZEB_PLUGIN_EXPORT __attribute__((visibility("default")))
#else
#define ZEB_PLUGIN_EXPORT
#endif

enum { ZEB_NAME_MAX = 64, ZEB_TEXT_MAX = 256 };

/* ---- devices ------------------------------------------------------------------------------------------------- */

typedef enum zeb_device_kind {
    ZEB_DEVICE_CPU = 1,
    ZEB_DEVICE_GPU = 2,
    ZEB_DEVICE_NPU = 3,
    ZEB_DEVICE_NONE = 4,   /* computes nothing: its values are not compared, its rows not ranked */
    ZEB_DEVICE_EXAMPLE = 5 /* shows how a plugin is made: run only when it is named */
} zeb_device_kind;

/* What a device is. Text is UTF-8, NUL-terminated, empty when unknown. */
typedef struct zeb_device_info {
    char id[ZEB_NAME_MAX];     /* unique in the plugin, stable across runs of one machine: "0", "gpu0" */
    char name[ZEB_TEXT_MAX];   /* "AMD EPYC 9354", "NVIDIA H100" */
    char driver[ZEB_TEXT_MAX]; /* driver or runtime with its version */
    zeb_device_kind kind;
    uint32_t units;        /* hardware threads or compute units; 0 unknown */
    uint64_t memory_bytes; /* 0 unknown */
    double tdp_watts;      /* 0 unknown */
    uint64_t reserved[8];
} zeb_device_info;

/* What the harness asks for. 0 and "" mean: the plugin's own choice. */
typedef struct zeb_device_options {
    uint32_t struct_size;
    uint32_t threads; /* worker threads for CPU-like devices */
    uint32_t pin;     /* 1: pin threads to the processors this process may use */
    uint32_t reserved0;
    char isa[ZEB_NAME_MAX]; /* highest instruction set to use ("scalar", "avx2", "avx512", "neon", ...) */
    uint64_t reserved[8];
} zeb_device_options;

/* What took effect; the row stores this beside what was asked. */
typedef struct zeb_device_settings {
    uint32_t struct_size;
    uint32_t threads;
    uint32_t pinned;
    uint32_t reserved0;
    char isa[ZEB_NAME_MAX];
    char note[ZEB_TEXT_MAX]; /* anything else that took effect, "key=value key=value" */
    uint64_t reserved[8];
} zeb_device_settings;

/* The answer of check, one a node. */
typedef struct zeb_verdict {
    uint32_t supported;
    uint32_t reserved;
    char reason[ZEB_TEXT_MAX]; /* why not, with the limit that is in the way: "head_dim 96 > 64" */
} zeb_verdict;

/* How a device skips work that a live count says is not there. */
typedef enum zeb_skip_mode {
    ZEB_SKIP_UNKNOWN = 0,
    ZEB_SKIP_EXACT = 1,    /* only live work is issued (CPU loops) */
    ZEB_SKIP_INDIRECT = 2, /* the device issues live work from counts on the device */
    ZEB_SKIP_BOUNDED = 3   /* the maximum is issued; work past the live count ends early */
} zeb_skip_mode;

/* One span of device work inside the last pass, from the optional profile call. Times are of the device's own clock. */
typedef struct zeb_profile_span {
    char name[ZEB_NAME_MAX]; /* kernel or stage */
    int32_t node;            /* the graph node it belongs to, or ZEB_NONE */
    uint32_t kind;           /* 1 kernel, 2 host-to-device copy, 3 device-to-host copy, 4 wait of the host */
    uint64_t begin_ns;
    uint64_t end_ns;
} zeb_profile_span;

typedef enum zeb_peak_kind {
    ZEB_PEAK_OPERATIONS = 1, /* a multiply-add is two */
    ZEB_PEAK_BYTES = 2       /* read */
} zeb_peak_kind;

/* The most that a device can do of one thing, measured by its own kernels. Names that zeb knows: operations "fp32",
 * "bf16", "int8" (precisions that the device lacks are left out); bytes "L1", "L2", "L3", "DRAM" or what the device
 * calls its levels. */
typedef struct zeb_peak {
    char name[ZEB_NAME_MAX];
    uint32_t kind;              /* zeb_peak_kind */
    uint32_t threads;           /* that worked together; 1 for devices without */
    double per_second;          /* operations or bytes: the best of the repetitions */
    double median_per_second;   /* their median */
    uint64_t working_set_bytes; /* bytes: what was read over and over, all threads together; else 0 */
    uint64_t capacity_bytes;    /* bytes: what the level holds for these threads together; 0: no limit, or unknown */
    uint64_t reserved[4];
} zeb_peak;

/* One way of doing something that can be done in several, all with the same results: a value of a choice. */
typedef struct zeb_choice {
    char name[ZEB_NAME_MAX]; /* of the choice, lower-case words with hyphens */
    uint32_t value;
    uint32_t built_in; /* 1: this is what holds unasked */
    double ns;         /* that the plugin's own trial took with it, comparable within the choice; 0: not measured */
    uint64_t reserved[2];
} zeb_choice;

typedef struct zeb_device zeb_device; /* the plugin's own */
typedef struct zeb_plan zeb_plan;     /* the plugin's own */

/* All calls but the last six are required. Sizes are in bytes; tensor ids are those of the compiled graph. */
typedef struct zeb_backend {
    uint32_t struct_size;
    zeb_skip_mode skip;
    /* Number of devices on this machine now; 0 is a valid answer (no driver, no card). */
    zeb_status (*device_count)(uint32_t *count, zeb_error *error);
    zeb_status (*device_info)(uint32_t index, zeb_device_info *info, zeb_error *error);
    zeb_status (*open)(uint32_t index, const zeb_device_options *options, zeb_device **device, zeb_error *error);
    void (*close)(zeb_device *device); /* takes NULL; plans are released before */
    zeb_status (*settings)(zeb_device *device, zeb_device_settings *settings, zeb_error *error);
    /* Fills verdict[node_count]. ZEB_OK even when nodes are unsupported: errors are for a malformed graph. */
    zeb_status (*check)(zeb_device *device, const zeb_graph *graph, zeb_verdict *verdict, zeb_error *error);
    /* Packs weights, plans memory at the maximum extents and records the work. Fails with ZEB_ERR_UNSUPPORTED, naming
     * the node, where check would have. Weights' `data` stays mapped until release. */
    zeb_status (*compile)(zeb_device *device, const zeb_graph *graph, zeb_plan **plan, zeb_error *error);
    /* Copies `bytes` from data to the start of an INPUT or OUTPUT tensor (outputs so that tests can poison them).
     * data may be reused on return. */
    zeb_status (*write)(zeb_plan *plan, int32_t tensor, const void *data, size_t bytes, zeb_error *error);
    /* Starts one pass over what was written and returns without waiting where the device allows. Allocates nothing. */
    zeb_status (*submit)(zeb_plan *plan, zeb_error *error);
    /* Returns when the submitted pass is done. */
    zeb_status (*wait)(zeb_plan *plan, zeb_error *error);
    /* Copies the first `bytes` of an OUTPUT tensor (or an INPUT) to data, after wait. */
    zeb_status (*read)(zeb_plan *plan, int32_t tensor, void *data, size_t bytes, zeb_error *error);
    void (*release)(zeb_plan *plan); /* takes NULL */
    /* Optional (NULL): device memory held by a plan, weights included. */
    zeb_status (*memory)(zeb_plan *plan, uint64_t *bytes, zeb_error *error);
    /* Optional (NULL): spans of the last pass in begin order; *count is what there are, spans[capacity] what fits.
     * A first call may switch profiling on and report 0 spans until the next pass. */
    zeb_status (*profile)(zeb_plan *plan, zeb_profile_span *span, uint32_t capacity, uint32_t *count, zeb_error *error);
    /* Optional (NULL): measures what the device can do at most, with 1, 2, 4, ... up to the threads it was opened with.
     * Takes seconds. *count is what there are, peak[capacity] what fits; with capacity 0 nothing is measured. */
    zeb_status (*peaks)(zeb_device *device, zeb_peak *peak, uint32_t capacity, uint32_t *count, zeb_error *error);
    /* Optional (NULL: all of them): how many blocks of its rows the LINEAR behind a BLOCKS node really multiplied in
     * the last pass, at least the open ones. tensor: the node's out; or the context of an ATTENTION with gates, whose
     * heads are the blocks. */
    zeb_status (*blocks_done)(zeb_plan *plan, int32_t tensor, uint64_t *count, zeb_error *error);
    /* Optional (NULL: there are none): all values of all choices of the device, those of one side by side and in
     * ascending order; with `measure`, each timed by a short trial. *count is what there are, choice[capacity] what
     * fits. */
    zeb_status (*choices)(zeb_device *device, bool measure, zeb_choice *choice, uint32_t capacity, uint32_t *count,
                          zeb_error *error);
    /* With `choices`: takes that value from now on, in all plans of the device. */
    zeb_status (*choose)(zeb_device *device, const char *name, uint32_t value, zeb_error *error);
} zeb_backend;

/* ---- sensors ------------------------------------------------------------------------------------------------- */

typedef enum zeb_channel_kind {
    ZEB_CHANNEL_ENERGY_COUNTER = 1, /* value: energy since some start, in units of resolution_uj; wraps at `range` */
    ZEB_CHANNEL_POWER = 2,          /* value: power now, microwatts */
    ZEB_CHANNEL_TEMPERATURE = 3     /* value: millidegrees Celsius */
} zeb_channel_kind;

#define ZEB_RANGE_UNKNOWN UINT64_MAX

/* One raw quantity. Plugins hand over raw values only; the harness unwraps, integrates and rejects. */
typedef struct zeb_channel {
    char name[ZEB_NAME_MAX];   /* unique in the sensor: "package-0", "dram-0", "psys" */
    char domain[ZEB_NAME_MAX]; /* "package", "core", "uncore", "dram", "psys", "gpu", "board", a rail's label */
    zeb_channel_kind kind;
    int32_t parent; /* index of the channel whose energy already contains this one, or ZEB_NONE */
    int32_t mirror; /* index of the channel of which this is another view (mirrored die), or ZEB_NONE */
    uint32_t reserved0;
    uint64_t range;        /* counters: the value after which it wraps to 0, in the counter's unit; 0: never wraps;
                              ZEB_RANGE_UNKNOWN: it wraps, and where can't be read (windows are then invalid) */
    uint64_t max_power_uw; /* the most this domain can draw (its long-term limit or TDP); 0 unknown */
    uint64_t update_ns;    /* how often the value changes, as far as known; 0 unknown */
    double unit_uj;        /* counters: microjoules of one count */
    uint64_t
        window_min_ns; /* the shortest window that this source can be trusted over; 0: the harness's for the kind */
    uint64_t reserved[5];
} zeb_channel;

typedef struct zeb_reading {
    uint64_t value;
    uint64_t time_ns; /* CLOCK_MONOTONIC just after the value was read; the harness's clock */
    uint32_t valid;   /* 0: unreadable this time (value is meaningless) */
    uint32_t reserved;
} zeb_reading;

typedef struct zeb_sensor zeb_sensor; /* the plugin's own */

typedef struct zeb_sensor_table {
    uint32_t struct_size;
    uint32_t reserved;
    /* root: where the system's files are looked for, "" on a live machine, a folder for a recorded tree ("<root>/sys/
     * class/powercap/..."). ZEB_ERR_NOT_FOUND: there is no such sensor here (error says what was looked for);
     * ZEB_ERR_IO: it is there but may not be read (error says which file and what would help). */
    zeb_status (*open)(const char *root, zeb_sensor **sensor, zeb_error *error);
    /* *count is what there are; channel[capacity] what fits. Constant while open. */
    zeb_status (*channels)(zeb_sensor *sensor, zeb_channel *channel, uint32_t capacity, uint32_t *count,
                           zeb_error *error);
    /* One reading a channel, in order. Cheap, allocates nothing. Fails only when no channel could be read. */
    zeb_status (*sample)(zeb_sensor *sensor, zeb_reading *reading, uint32_t count, zeb_error *error);
    void (*close)(zeb_sensor *sensor); /* takes NULL */
} zeb_sensor_table;

/* ---- the table ----------------------------------------------------------------------------------------------- */

typedef struct zeb_plugin {
    uint32_t magic;       /* ZEB_PLUGIN_MAGIC */
    uint32_t abi;         /* ZEB_PLUGIN_ABI of the headers that it was built with */
    uint32_t struct_size; /* sizeof(zeb_plugin) of those headers */
    uint32_t reserved;
    const char *name; /* what --device and --sensor say: [a-z0-9-]+, equal to the file name zeb_<name>.so */
    const char *version;
    const zeb_backend *backend;     /* NULL: no devices */
    const zeb_sensor_table *sensor; /* NULL: no sensor */
} zeb_plugin;

typedef const zeb_plugin *(*zeb_plugin_entry_fn)(void);

/* What a plugin defines. */
ZEB_PLUGIN_EXPORT const zeb_plugin *zeb_plugin_entry(void);

#ifdef __cplusplus
}
#endif

#endif
