/* kernels_half.h - rows to bfloat16, and products of bfloat16 in the register tiles of kernels_tile_i8.h, whose steps
 * take as many bytes of k; a part of kernels_body.h. */
#ifndef ZEB_CPU_KERNELS_HALF_H
#define ZEB_CPU_KERNELS_HALF_H

/* `live` floats from p on, up to two vectors of them, to one of bfloat16. */
INLINE vi narrow_n(const float *p, int live) {
    if (live >= 2 * VW) return vi_narrow(vf_load(p), vf_load(p + VW));
    return live > VW ? vi_narrow(vf_load(p), vf_load_n(p + VW, live - VW))
                     : vi_narrow(live > 0 ? vf_load_n(p, live) : vf_zero(), vf_zero());
}

static void narrow(const float *x, size_t ldx, int rows, int n, uint16_t *out, size_t ldo) {
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < (n + 31) / 32 * 32; i += 2 * VW)
            vi_store((int32_t *)(void *)((char *)out + (size_t)r * ldo + (size_t)i * 2),
                     narrow_n(x + (size_t)r * ldx + i, n - i));
}

#ifndef KERNELS_AMX
/* As i8_any: sums begin with the bits of floats. */
INLINE void half_any(const cpu_tile_i8 *t, const int rows) {
    vi acc[TILE_ROWS][TILE_VECTORS];
    vf sum[TILE_ROWS][TILE_VECTORS];
    i8_sum(KIND_HALVES, rows, acc, t->x, t->ldx, t->w, NULL, t->start, t->steps, t->ahead);
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < TILE_VECTORS; v++) sum[r][v] = vi_as_floats(acc[r][v]);
    }
    i8_finish(rows, sum, t);
}

#define HALF_FUNCTION(rows)                                                                                            \
    static void half_##rows(const cpu_tile_i8 *t) {                                                                    \
        half_any(t, rows);                                                                                             \
    }
HALF_FUNCTION(1)
HALF_FUNCTION(2)
HALF_FUNCTION(3)
HALF_FUNCTION(4)
HALF_FUNCTION(5)
HALF_FUNCTION(6)
#if KERNELS_TILE_ROWS >= 12
HALF_FUNCTION(7)
HALF_FUNCTION(8)
HALF_FUNCTION(9)
HALF_FUNCTION(10)
HALF_FUNCTION(11)
HALF_FUNCTION(12)
#endif

static const cpu_tile_i8_fn half_tile[TILE_ROWS + 1] = {NULL,   half_1, half_2, half_3,  half_4,  half_5, half_6,
#if KERNELS_TILE_ROWS >= 12
                                                        half_7, half_8, half_9, half_10, half_11, half_12
#endif
};

/* Tiles of one panel, their heights balanced. */
static void half_panel(const cpu_slab *s, int panel) {
    static const int32_t zeros[TILE_COLUMNS] = {0};
    const int tiles = (s->rows + TILE_ROWS - 1) / TILE_ROWS, steps = s->steps * 64 / I8_STEP;
    const int column = panel * TILE_COLUMNS, left = s->n - column;
    const bool late = s->residual != NULL && s->activation != ZEB_ACT_NONE;
    const size_t bytes = (size_t)s->steps * 64 * TILE_COLUMNS;
    cpu_tile_i8 tile = {.ldx = s->ldx,
                        .w = (const int8_t *)s->w + (size_t)panel * bytes,
                        .start = s->bias == NULL ? zeros : (const int32_t *)(const void *)(s->bias + column),
                        .ldc = s->ldc,
                        .ldr = s->ldr,
                        .steps = steps,
                        .n = left < TILE_COLUMNS ? left : TILE_COLUMNS};
    for (int i = 0, r = 0, end; i < tiles; i++, r = end) {
        end = r + s->rows / tiles + (i < s->rows % tiles);
        /* the next panel, half of it in each of the first two tiles */
        tile.ahead = i < 2 ? (const char *)tile.w + bytes + (size_t)i * (bytes / 2) : NULL;
        tile.x = (const unsigned char *)s->x + (size_t)r * s->ldx;
        tile.c = s->c + (size_t)r * s->ldc + column;
        tile.residual = s->residual == NULL || late ? NULL : s->residual + (size_t)r * s->ldr + column;
        half_tile[end - r](&tile);
        if (s->activation != ZEB_ACT_NONE) activate(s->activation, tile.c, tile.ldc, end - r, tile.n);
        for (int j = r; late && j < end; j++)
            axpy(s->c + (size_t)j * s->ldc + column, s->residual + (size_t)j * s->ldr + column, 1.0f, tile.n);
    }
}

static void slab_half(const cpu_slab *s) {
    for (int panel = 0; panel * TILE_COLUMNS < s->n; panel++)
        half_panel(s, panel);
}
#endif

#endif
