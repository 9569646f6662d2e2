/* ops_reduce.c - rows in fewer bits, for the linear layers that want them: once a tensor, however many layers read it.
 */
#include "plan.h"

void cpu_code_rows(const zeb_plan *plan, int32_t x, int32_t codes, int64_t r0, int64_t r1) {
    const cpu_tensor *c = &plan->tensor[codes], *t = &plan->tensor[x];
    unsigned char *to = (unsigned char *)c->data + (size_t)r0 * c->ld;
    plan->kernels->quantise(cpu_row(plan, x, r0), t->ld, (int)(r1 - r0), (int)t->width, to, c->ld,
                            cpu_row(plan, codes + 1, r0));
}

/* Rows to bfloat16: as such for slabs, else as floats. */
static void round_rows(const zeb_plan *plan, int32_t x, int32_t halves, int64_t r0, int64_t r1) {
    const cpu_kernels *kernels = plan->kernels;
    const cpu_tensor *h = &plan->tensor[halves], *t = &plan->tensor[x];
    if (h->dtype == ZEB_BF16) {
        kernels->narrow(cpu_row(plan, x, r0), t->ld, (int)(r1 - r0), (int)t->width,
                        (uint16_t *)h->data + (size_t)r0 * h->ld, h->ld * sizeof(uint16_t));
        return;
    }
    for (int64_t r = r0; r < r1; r++)
        kernels->round_bf16(cpu_row(plan, x, r), (int)t->width, cpu_row(plan, halves, r));
}

static void run_reduce(const cpu_hand *hand, const cpu_stage *stage, int64_t r0, int64_t r1, int p0, int p1) {
    const zeb_plan *plan = hand->plan;
    const cpu_reduce *r = &stage->as.reduce;
    (void)p0, (void)p1;
    if (r->codes != ZEB_NONE) cpu_code_rows(plan, r->x, r->codes, r0, r1);
    if (r->halves != ZEB_NONE) round_rows(plan, r->x, r->halves, r0, r1);
}

int32_t cpu_add_tensor(zeb_plan *plan, int32_t x, zeb_dtype dtype, int64_t width, size_t ld) {
    const int32_t id = (int32_t)plan->tensors++;
    cpu_tensor *t = &plan->tensor[id];
    *t = plan->tensor[x];
    t->dtype = dtype;
    t->role = ZEB_ROLE_VALUE;
    t->width = width;
    t->ld = ld;
    t->codes = t->halves = ZEB_NONE;
    t->arena.first = t->local.first = -1;
    t->data = NULL;
    return id;
}

static void add_stage(zeb_plan *plan, int32_t x, int32_t codes, int32_t halves) {
    cpu_stage *stage = &plan->stage[plan->stages++];
    (void)snprintf(stage->name, sizeof stage->name, "%s", codes != ZEB_NONE ? "(to 8 bits)" : "(to bf16)");
    stage->node = stage->scattered = ZEB_NONE;
    stage->as.reduce = (cpu_reduce){x, codes, halves};
    cpu_stage_reads(stage, x);
    cpu_stage_writes(stage, codes != ZEB_NONE ? codes : halves);
    if (codes != ZEB_NONE) cpu_stage_writes(stage, codes + 1);
    stage->space = x;
    stage->rows = run_reduce;
}

/* Whether a stage before writes x and can make its codes in passing. */
static bool made_in_passing(zeb_plan *plan, int32_t x, int32_t codes) {
    for (uint32_t i = 0; i < plan->stages; i++) {
        cpu_stage *stage = &plan->stage[i];
        int32_t *wish = NULL;
        if (stage->op == ZEB_OP_NORM && stage->as.norm.out == x) wish = &stage->as.norm.codes;
        if (stage->op == ZEB_OP_EMBED && stage->as.embed.out == x) wish = &stage->as.embed.codes;
        if (wish == NULL) continue;
        *wish = codes;
        cpu_stage_writes(stage, codes);
        cpu_stage_writes(stage, codes + 1);
        return true;
    }
    return false;
}

zeb_status cpu_want_codes(zeb_plan *plan, int32_t x, zeb_error *error) {
    (void)error;
    if (plan->tensor[x].codes != ZEB_NONE) return ZEB_OK;
    const cpu_kernels *kernels = plan->kernels;
    const size_t bytes = (size_t)plan->tensor[x].width * (size_t)kernels->i8_bytes;
    size_t ld = (bytes + 63) / 64 * 64; /* whole groups of i8_step; what lies past the width meets weights of 0 */
    if (ld % 512 == 0) ld += 64;        /* as stride_of in compile.c */
    const int32_t codes = cpu_add_tensor(plan, x, ZEB_I8, (int64_t)bytes, ld);
    (void)cpu_add_tensor(plan, x, ZEB_F32, 1, 1);
    plan->tensor[x].codes = codes;
    if (!made_in_passing(plan, x, codes)) add_stage(plan, x, codes, ZEB_NONE);
    return ZEB_OK;
}

zeb_status cpu_want_halves(zeb_plan *plan, int32_t x, zeb_error *error) {
    (void)error;
    if (plan->tensor[x].halves != ZEB_NONE) return ZEB_OK;
    const cpu_tensor *t = &plan->tensor[x];
    size_t ld = ((size_t)t->width + 31) / 32 * 32; /* whole steps of slabs */
    if (ld % 256 == 0) ld += 32;
    const bool slabs = plan->kernels->slab_bf16 != NULL && t->flags == ZEB_NONE;
    const int32_t halves = cpu_add_tensor(plan, x, slabs ? ZEB_BF16 : ZEB_F32, t->width, slabs ? ld : t->ld);
    plan->tensor[x].halves = halves;
    add_stage(plan, x, ZEB_NONE, halves);
    return ZEB_OK;
}
