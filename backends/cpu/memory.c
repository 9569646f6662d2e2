/* memory.c - every tensor at its maximum in one arena; tensors that are never needed in the same chain share places. */
#include <string.h>

#include "plan.h"

enum { ALIGNMENT = 64, ROOM = 256 /* bytes that kernels may read past a tensor: nobody else writes there */ };

static void need(zeb_plan *plan, int32_t tensor, int chain) {
    if (tensor == ZEB_NONE) return;
    cpu_tensor *t = &plan->tensor[tensor];
    if (t->first < 0 || chain < t->first) t->first = chain;
    if (chain > t->last) t->last = chain;
}

/* From the first to the last chain that touches a tensor, its count or its offsets. */
static void find_lifetimes(zeb_plan *plan) {
    for (uint32_t c = 0; c < plan->chains; c++) {
        for (uint32_t s = plan->chain[c].first; s < plan->chain[c].first + plan->chain[c].count; s++) {
            const cpu_stage *stage = &plan->stage[s];
            for (uint32_t i = 0; i < stage->reads + stage->writes; i++) {
                const int32_t id = i < stage->reads ? stage->read[i] : stage->write[i - stage->reads];
                need(plan, id, (int)c);
                need(plan, plan->tensor[id].live, (int)c);
                need(plan, plan->tensor[id].offsets, (int)c);
                const int32_t offsets = plan->tensor[id].offsets;
                if (offsets != ZEB_NONE) need(plan, plan->tensor[offsets].live, (int)c);
            }
        }
    }
    for (uint32_t i = 0; i < plan->tensors; i++) {
        cpu_tensor *t = &plan->tensor[i];
        if (t->role != ZEB_ROLE_INPUT && t->role != ZEB_ROLE_OUTPUT) continue;
        t->first = 0; /* written and read by the harness between passes */
        t->last = (int)plan->chains;
    }
}

static bool in_arena(const cpu_tensor *t) {
    return t->role != ZEB_ROLE_WEIGHT && t->first >= 0;
}

/* The lowest place at which t meets no tensor before `index` that lives when it does. */
static size_t lowest_place(const zeb_plan *plan, uint32_t index) {
    const cpu_tensor *t = &plan->tensor[index];
    size_t place = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (uint32_t i = 0; i < index; i++) {
            const cpu_tensor *o = &plan->tensor[i];
            const bool meets = in_arena(o) && o->first <= t->last && t->first <= o->last &&
                               o->place < place + t->size && place < o->place + o->size;
            if (!meets) continue;
            place = o->place + o->size;
            moved = true;
        }
    }
    return place;
}

zeb_status cpu_plan_place(zeb_plan *plan, zeb_error *error) {
    size_t total = 0;
    find_lifetimes(plan);
    for (uint32_t i = 0; i < plan->tensors; i++) {
        cpu_tensor *t = &plan->tensor[i];
        if (!in_arena(t)) continue;
        const size_t bytes = zeb_dtype_bytes(t->dtype, (size_t)t->rows * t->ld) + ROOM;
        t->size = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        t->place = lowest_place(plan, i);
        if (t->place + t->size > total) total = t->place + t->size;
    }
    const uint32_t workers = cpu_pool_threads(plan->pool);
    plan->scratch_bytes = (plan->scratch_bytes + 4095) / 4096 * 4096 + 128;
    total = (total + 4095) / 4096 * 4096;
    const size_t scratch = total;
    total += workers * plan->scratch_bytes;
    plan->arena_bytes = total + plan->common_bytes + ROOM;
    const zeb_status status = cpu_plan_hold(plan, plan->arena_bytes, (void **)&plan->arena, error);
    if (status != ZEB_OK) return status;
    for (uint32_t i = 0; i < plan->tensors; i++)
        if (in_arena(&plan->tensor[i])) plan->tensor[i].data = plan->arena + plan->tensor[i].place;
    for (uint32_t i = 0; i < workers; i++)
        plan->hand[i] = (cpu_hand){plan, i, workers, plan->arena + scratch + i * plan->scratch_bytes};
    plan->common = plan->arena + total;
    return ZEB_OK;
}
