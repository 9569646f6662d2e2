/* op/suite.h - the suite: a target device, the reference, and what has been counted. */
#ifndef ZEB_OP_SUITE_H
#define ZEB_OP_SUITE_H

#include "fixture.h"
#include "zeb/plugin.h"

/* An opened device of a loaded plugin. */
typedef struct op_target {
    const zeb_plugin *plugin;
    const zeb_backend *backend;
    zeb_device *device;
    zeb_device_info info;
} op_target;

/* plugin.c: plain dlopen, for good. */
zeb_status op_plugin_load(const char *path, const zeb_plugin **plugin, zeb_error *error);
zeb_status op_target_open(const zeb_plugin *plugin, uint32_t index, uint32_t threads, const char *isa,
                          op_target *target, zeb_error *error);
/* Takes the least, or the greatest, value of everything that the device may choose between. */
ZEB_MUST_CHECK zeb_status op_target_choose(op_target *target, bool most, zeb_error *error);
void op_target_close(op_target *target);

/* The lines of the table: one an op, one for chains, one for the contract of the calls, one for random graphs, one for
 * models. */
enum { OP_LINE_CHAIN = 0, OP_LINE_CONTRACT = ZEB_OP_HEAD_TOPK + 1, OP_LINE_RANDOM, OP_LINE_MODEL, OP_LINES };
const char *op_line_name(int line);

enum { OP_REASONS_MAX = 6 };
typedef struct op_tally {
    uint64_t passed, failed, unsupported;
    double worst; /* greatest error in units of the tolerance */
    char reason[OP_REASONS_MAX][ZEB_TEXT_MAX];
    uint32_t reasons;
} op_tally;

typedef struct op_suite {
    uint64_t seed;
    bool list;        /* name the cases, run none */
    const char *only; /* the name of the one line to run, or NULL */
    char *now;        /* the case under way, in memory that outlives a crash; OP_NOW_MAX bytes */
    op_target ref, target;
    op_target single;      /* the device on one thread, where target has more; else closed */
    uint64_t first, seeds; /* of random graphs */
    op_tally tally[OP_LINES];
} op_suite;
enum { OP_NOW_MAX = 512, OP_FAILURES_SHOWN = 5 };

/* case.c. One case: build makes the graph, then every pass runs on both devices and is compared. */
typedef void op_build_fn(op_fixture *fx, const void *parameters);
void op_case(op_suite *suite, int line, const char *name, op_build_fn *build, const void *parameters);
/* Counts a failure and says it. */
ZEB_PRINTF(4, 5) void op_failure(op_suite *suite, int line, const char *name, const char *format, ...);

/* The cases. */
void op_cases_rows(op_suite *suite);
void op_cases_linear(op_suite *suite);
void op_cases_attention(op_suite *suite);
void op_cases_select(op_suite *suite);
void op_cases_chain(op_suite *suite);
void op_cases_random(op_suite *suite);
/* Checkpoints as users run them, where the rooms that read them are built in; folder NULL: none;
 * policy: paths up to NULL. */
void op_cases_model(op_suite *suite, const char *folder, const char *const *policy);
void op_contract(op_suite *suite);

#endif
