/* memory.c - every tensor at its maximum in one arena; tensors that are never needed in the same chain share places.
 *
 * A tensor that one chain alone needs, over the rows that the chain walks, is not kept at its maximum. A worker that
 * takes a block of rows through the chain has room of its own for it, the same for every block: it stays in the
 * second-level cache instead of passing through memory once. Only where few rows are divided by columns do all workers
 * share it. */
#include <stdlib.h>
#include <string.h>

#include "plan.h"

enum { ALIGNMENT = 64, ROOM = 256 /* bytes that kernels may read past a tensor: nobody else writes there */ };

static void need(cpu_place *place, int when) {
    if (place->first < 0) place->first = place->last = when;
    if (when < place->first) place->first = when;
    if (when > place->last) place->last = when;
}

static void need_tensor(zeb_plan *plan, int32_t tensor, uint32_t chain) {
    if (tensor != ZEB_NONE) need(&plan->tensor[tensor].arena, (int)chain);
}

/* From the first to the last chain that touches a tensor, its count or its offsets; and from the first to the last
 * stage that touches the tensor itself. */
static void find_lifetimes(zeb_plan *plan) {
    for (uint32_t c = 0; c < plan->chains; c++) {
        for (uint32_t s = plan->chain[c].first; s < plan->chain[c].first + plan->chain[c].count; s++) {
            const cpu_stage *stage = &plan->stage[s];
            for (uint32_t i = 0; i < stage->reads + stage->writes; i++) {
                const int32_t id = i < stage->reads ? stage->read[i] : stage->write[i - stage->reads];
                need(&plan->tensor[id].local, (int)s);
                need_tensor(plan, id, c);
                need_tensor(plan, plan->tensor[id].live, c);
                need_tensor(plan, plan->tensor[id].offsets, c);
                const int32_t offsets = plan->tensor[id].offsets;
                if (offsets != ZEB_NONE) need_tensor(plan, plan->tensor[offsets].live, c);
            }
        }
    }
    for (uint32_t i = 0; i < plan->tensors; i++) {
        cpu_tensor *t = &plan->tensor[i];
        if (t->role != ZEB_ROLE_INPUT && t->role != ZEB_ROLE_OUTPUT) continue;
        t->arena.first = 0; /* written and read by the harness between passes */
        t->arena.last = (int)plan->chains;
    }
}

/* A span's stages read of what it writes only rows that the same worker has written, in one space (fuse.c). */
static bool is_local(const zeb_plan *plan, const cpu_tensor *t, uint32_t span) {
    const cpu_chain *chain = &plan->chain[span];
    const cpu_tensor *space = &plan->tensor[plan->stage[chain->first].space];
    return t->role == ZEB_ROLE_VALUE && t->local.first >= 0 && t->arena.first >= (int)span &&
           t->arena.last < (int)(span + chain->span) && t->rows == space->rows && t->live == space->live &&
           t->offsets == space->offsets;
}

static zeb_status find_locals(zeb_plan *plan, zeb_error *error) {
    uint32_t count = 0;
    plan->local = calloc(plan->tensors + 1u, sizeof *plan->local);
    if (plan->local == NULL) return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for a plan");
    for (uint32_t c = 0; c < plan->chains; c++) {
        const uint32_t first = count;
        for (uint32_t i = 0; plan->chain[c].span > 0 && i < plan->tensors; i++)
            if (is_local(plan, &plan->tensor[i], c)) plan->local[count++] = (int32_t)i;
        for (uint32_t k = 0; k < plan->chain[c].span; k++) {
            plan->chain[c + k].local = first;
            plan->chain[c + k].locals = count - first;
        }
    }
    return ZEB_OK;
}

/* A group is through its span before the next begins, and no worker waits for another in between: what lies in the
 * arena while some chain of a span needs it lies there for all of the span. */
static void widen_lifetimes(zeb_plan *plan) {
    for (uint32_t c = 0; c < plan->chains; c++) {
        const int first = (int)c, last = (int)(c + plan->chain[c].span) - 1;
        for (uint32_t i = 0; plan->chain[c].span > 1 && i < plan->tensors; i++) {
            cpu_place *p = &plan->tensor[i].arena;
            if (p->first < 0 || p->last < first || p->first > last || is_local(plan, &plan->tensor[i], c)) continue;
            if (p->first > first) p->first = first;
            if (p->last < last) p->last = last;
        }
    }
}

static bool in_arena(const cpu_tensor *t) {
    return t->role != ZEB_ROLE_WEIGHT && t->arena.first >= 0;
}

static size_t bytes_of(const cpu_tensor *t, int64_t rows) {
    const size_t bytes = zeb_dtype_bytes(t->dtype, (size_t)(rows < t->rows ? rows : t->rows) * t->ld) + ROOM;
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* True where p, which is to begin at `at`, would meet o. */
static bool meets(const cpu_place *p, size_t at, const cpu_place *o) {
    return o->first <= p->last && p->first <= o->last && o->at < at + p->size && at < o->at + o->size;
}

/* The lowest place at which t meets no tensor before `index` that lives when it does. */
static size_t lowest_place(const zeb_plan *plan, uint32_t index) {
    const cpu_tensor *t = &plan->tensor[index];
    size_t at = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (uint32_t i = 0; i < index; i++) {
            const cpu_tensor *o = &plan->tensor[i];
            if (!in_arena(o) || !meets(&t->arena, at, &o->arena)) continue;
            at = o->arena.at + o->arena.size;
            moved = true;
        }
    }
    return at;
}

/* The same among local[0 .. index], tensors of one span. */
static size_t lowest_local(const zeb_plan *plan, const int32_t *local, uint32_t index) {
    const cpu_place *p = &plan->tensor[local[index]].local;
    size_t at = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (uint32_t i = 0; i < index; i++) {
            const cpu_place *o = &plan->tensor[local[i]].local;
            if (!meets(p, at, o)) continue;
            at = o->at + o->size;
            moved = true;
        }
    }
    return at;
}

/* The most rows of a span that a worker takes at a time: of a group, or its share of all. */
static int64_t rows_in_room(const zeb_plan *plan, const cpu_chain *chain) {
    const cpu_tensor *space = &plan->tensor[plan->stage[chain->first].space];
    const int64_t workers = cpu_pool_threads(plan->pool), share = (space->rows + workers - 1) / workers;
    const bool groups = chain->span > 1 && plan->tensor[space->offsets].rows > CPU_SEQUENCES_LEAST * workers;
    return groups || share > CPU_BLOCK_ROWS_MAX ? CPU_BLOCK_ROWS_MAX : share;
}

static void place_locals(zeb_plan *plan) {
    for (uint32_t c = 0; c < plan->chains; c++) {
        const int32_t *local = plan->local + plan->chain[c].local;
        for (uint32_t i = 0; plan->chain[c].span > 0 && i < plan->chain[c].locals; i++) {
            cpu_place *p = &plan->tensor[local[i]].local;
            p->size = bytes_of(&plan->tensor[local[i]], rows_in_room(plan, &plan->chain[c]));
            p->at = lowest_local(plan, local, i);
            if (p->at + p->size > plan->local_bytes) plan->local_bytes = p->at + p->size;
        }
    }
    plan->local_bytes = (plan->local_bytes + 4095) / 4096 * 4096;
}

zeb_status cpu_plan_place(zeb_plan *plan, zeb_error *error) {
    const uint32_t workers = cpu_pool_threads(plan->pool);
    size_t total = 0;
    find_lifetimes(plan);
    zeb_status status = find_locals(plan, error);
    if (status != ZEB_OK) return status;
    widen_lifetimes(plan);
    place_locals(plan);
    for (uint32_t i = 0; i < plan->tensors; i++) {
        cpu_tensor *t = &plan->tensor[i];
        if (!in_arena(t)) continue;
        t->arena.size = bytes_of(t, cpu_in_block(plan, t) ? (int64_t)workers * CPU_WORKER_ROWS_MAX : t->rows);
        t->arena.at = lowest_place(plan, i);
        if (t->arena.at + t->arena.size > total) total = t->arena.at + t->arena.size;
    }
    plan->scratch_bytes = (plan->scratch_bytes + 4095) / 4096 * 4096 + 128;
    total = (total + 4095) / 4096 * 4096;
    const size_t own = total;
    total += workers * (plan->scratch_bytes + plan->local_bytes);
    plan->arena_bytes = total + plan->common_bytes + ROOM;
    status = cpu_plan_hold(plan, plan->arena_bytes, (void **)&plan->arena, error);
    if (status != ZEB_OK) return status;
    for (uint32_t i = 0; i < plan->tensors; i++)
        if (in_arena(&plan->tensor[i])) plan->tensor[i].data = plan->arena + plan->tensor[i].arena.at;
    for (uint32_t i = 0; i < workers; i++) {
        unsigned char *mine = plan->arena + own + i * (plan->scratch_bytes + plan->local_bytes);
        plan->hand[i] = (cpu_hand){.plan = plan,
                                   .whole = plan,
                                   .worker = i,
                                   .workers = workers,
                                   .scratch = mine + plan->local_bytes,
                                   .local = mine};
    }
    plan->common = plan->arena + total;
    return ZEB_OK;
}

zeb_status cpu_plan_view(zeb_plan *plan, zeb_error *error) {
    if (plan->local_bytes == 0) return ZEB_OK;
    for (uint32_t i = 0; i < cpu_pool_threads(plan->pool); i++) {
        zeb_plan *view = malloc(sizeof *view);
        cpu_tensor *tensor = malloc(plan->tensors * sizeof *tensor);
        if (view == NULL || tensor == NULL) {
            free(view);
            free(tensor);
            return zeb_fail(error, ZEB_ERR_MEMORY, "no memory for a plan");
        }
        memcpy(view, plan, sizeof *view);
        memcpy(tensor, plan->tensor, plan->tensors * sizeof *tensor);
        view->tensor = tensor;
        plan->hand[i].plan = view;
    }
    return ZEB_OK;
}
