/* The calls around the arithmetic: what a backend must refuse, and stay usable after. */
#include <string.h>

#include "suite.h"

static void expect(op_suite *suite, const char *what, bool fine) {
    if (fine)
        ++suite->tally[OP_LINE_CONTRACT].passed;
    else
        op_failure(suite, OP_LINE_CONTRACT, what, "does not hold");
}

/* x -> activation -> activation, of which only the second is readable. */
static zeb_status build(op_fixture *fx, zeb_error *error) {
    op_rows(fx, 8, 2);
    zeb_node node = zeb_node_make("inner", ZEB_OP_NORM);
    node.input[ZEB_NORM_X] = op_rows_input(fx, "x", OP_FILL_NORMAL, 0, 4);
    node.input[ZEB_NORM_GAMMA] = op_vector(fx, "gamma", ZEB_F32, 4, 1.0, 0.1);
    node.attr.norm = (zeb_norm_attr){.kind = ZEB_NORM_LAYER, .epsilon = 1e-5f};
    node.input[ZEB_NORM_X] = op_node(fx, &node, 0);
    node.name = "outer";
    op_node(fx, &node, 0);
    return op_fixture_finish(fx, error);
}

static void refusals(op_suite *suite, const op_fixture *fx, zeb_plan *plan) {
    const zeb_backend *backend = suite->target.backend;
    float room[64] = {0};
    zeb_error error = {""};
    int32_t x = fx->input[0].tensor, outer = fx->final[0];
    int32_t inner = zeb_graph_find(&fx->closed, "inner"), gamma = zeb_graph_find(&fx->closed, "gamma");
    size_t bytes = fx->closed.tensor[x].bytes;
    expect(suite, "write more than the tensor holds", backend->write(plan, x, room, bytes + 4, &error) != ZEB_OK);
    expect(suite, "the refusal says why", error.text[0] != '\0');
    expect(suite, "read more than the tensor holds", backend->read(plan, outer, room, bytes + 4, &error) != ZEB_OK);
    expect(suite, "write tensor -1", backend->write(plan, -1, room, 4, &error) != ZEB_OK);
    expect(suite, "write a tensor past the last",
           backend->write(plan, (int32_t)fx->closed.tensor_count, room, 4, &error) != ZEB_OK);
    expect(suite, "write a weight", backend->write(plan, gamma, room, 4, &error) != ZEB_OK);
    expect(suite, "read a value inside the plan", backend->read(plan, inner, room, 4, &error) != ZEB_OK);
    expect(suite, "write nothing", backend->write(plan, x, room, 0, &error) == ZEB_OK);
    float some[3] = {1.0f, -2.0f, 3.0f}, back[3] = {0};
    expect(suite, "write part of an input", backend->write(plan, x, some, sizeof some, &error) == ZEB_OK);
    expect(suite, "read an input back",
           backend->read(plan, x, back, sizeof back, &error) == ZEB_OK && back[0] == some[0] && back[1] == some[1] &&
               back[2] == some[2]);
}

void op_contract(op_suite *suite) {
    const op_target *target = &suite->target;
    const zeb_backend *backend = target->backend;
    zeb_error error = {""};
    zeb_device_settings settings = {.struct_size = sizeof settings};
    zeb_device_info info;
    uint32_t count = 0;
    op_fixture fx;
    zeb_plan *plan = NULL;
    if (suite->list || (suite->only != NULL && strcmp(suite->only, "contract") != 0)) return;
    (void)snprintf(suite->now, OP_NOW_MAX, "contract");
    expect(suite, "device has an id and a name", target->info.id[0] != '\0' && target->info.name[0] != '\0');
    expect(suite, "settings", backend->settings(target->device, &settings, &error) == ZEB_OK);
    expect(suite, "settings say the threads in use", settings.threads >= 1);
    expect(suite, "device_count", backend->device_count(&count, &error) == ZEB_OK && count > 0);
    expect(suite, "info of a device past the last", backend->device_info(count, &info, &error) != ZEB_OK);
    backend->close(NULL);
    backend->release(NULL);
    if (op_fixture_create(&fx, suite->seed, &error) != ZEB_OK) return;
    zeb_status status = build(&fx, &error);
    if (status == ZEB_OK) status = backend->compile(target->device, &fx.closed, &plan, &error);
    expect(suite, "compile two norms (or say that they are unsupported)",
           status == ZEB_OK || status == ZEB_ERR_UNSUPPORTED);
    if (status == ZEB_OK) refusals(suite, &fx, plan);
    backend->release(plan);
    op_fixture_destroy(&fx);
}
