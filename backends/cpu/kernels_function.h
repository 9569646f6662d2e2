/* kernels_function.h - exp and the activations over vectors; a part of kernels_body.h. */
#ifndef ZEB_CPU_KERNELS_FUNCTION_H
#define ZEB_CPU_KERNELS_FUNCTION_H

/* e^x: x = n ln 2 + r with |r| <= ln 2 / 2, ln 2 in two parts, e^r by the polynomial of Cephes' expf. */
INLINE vf vf_exp(vf x) {
    x = vf_max(vf_set1(-87.3365f), vf_min(vf_set1(88.3762f), x));
    const vf n = vf_round(vf_mul(x, vf_set1(1.44269504088896341f)));
    vf r = vf_fma(n, vf_set1(-0.693359375f), x);
    r = vf_fma(n, vf_set1(2.12194440e-4f), r);
    vf p = vf_set1(1.9875691500e-4f);
    p = vf_fma(p, r, vf_set1(1.3981999507e-3f));
    p = vf_fma(p, r, vf_set1(8.3334519073e-3f));
    p = vf_fma(p, r, vf_set1(4.1665795894e-2f));
    p = vf_fma(p, r, vf_set1(1.6666665459e-1f));
    p = vf_fma(p, r, vf_set1(5.0000001201e-1f));
    p = vf_add(vf_fma(p, vf_mul(r, r), r), vf_set1(1.0f));
    return vf_ldexp(p, n);
}

INLINE vf vf_sigmoid(vf x) {
    const vf one = vf_set1(1.0f);
    return vf_div(one, vf_add(one, vf_exp(vf_sub(vf_zero(), x))));
}

#ifdef VF_LOOKUP32
/* max(x, 0) - B(|x|), B(a) = a erfc(a / sqrt 2) / 2: cubics about the points i * 5.5 / 31, least-maximum fits, error
 * under 6e-7; 0 from 5.5 on up to 2e-7. Adding 1.5 * 2^23 rounds to the nearest point and leaves i in the low bits. */
static const float GELU_TABLE[4][32] = {
    {-3.20123057e-08f, 0.0762170181f,   0.128222436f,    0.158226058f,    0.169578835f,    0.166342616f,
     0.1528088f,       0.133049041f,    0.110564895f,    0.0880751759f,   0.067447193f,    0.0497508496f,
     0.0353969522f,    0.0243162848f,   0.0161405597f,   0.0103579657f,   0.00642913068f,  0.00386098004f,
     0.00224401033f,   0.00126248191f,  0.000687656458f, 0.000362679508f, 0.000185237077f, 9.16275239e-05f,
     4.38985226e-05f,  2.03716972e-05f, 9.15758028e-06f, 3.98776729e-06f, 1.6822512e-06f,  6.87507907e-07f,
     2.72208865e-07f,  1.04442591e-07f},
    {0.0887117311f,    0.0638558865f,    0.0405284092f,    0.0200446285f,    0.00334606552f,   -0.00909568835f,
     -0.0172874462f,   -0.0216449462f,   -0.0228691213f,   -0.0218000915f,   -0.0192799475f,   -0.0160473343f,
     -0.0126750544f,   -0.00955026597f,  -0.00688840821f,  -0.00476788124f,  -0.0031725599f,   -0.00203213538f,
     -0.00125429465f,  -0.000746620819f, -0.000428877363f, -0.000237861808f, -0.000127426742f, -6.59621874e-05f,
     -3.30033363e-05f, -1.59646352e-05f, -7.46779915e-06f, -3.37862411e-06f, -1.47866967e-06f, -6.26106328e-07f,
     -2.56522043e-07f, -1.29711324e-07f},
    {-0.0125782769f,  -0.0121517954f,  -0.0110371048f,  -0.0093478458f,
     -0.00730154384f, -0.00514149806f, -0.00309457444f, -0.00133712636f,
     2.43292689e-05f, 0.000956137956f, 0.0014865729f,   0.00168622786f,
     0.00164584885f,  0.00145678793f,  0.00119725312f,  0.000925281085f,
     0.000677620003f, 0.00047259251f,  0.000314969482f, 0.00020109769f,
     0.000123226928f, 7.2573901e-05f,  4.11259607e-05f, 2.24440191e-05f,
     1.18045818e-05f, 5.98725273e-06f, 2.92988557e-06f, 1.3839018e-06f,
     6.31175169e-07f, 2.7804893e-07f,  1.18341774e-07f, 0.0f},
    {6.57406199e-05f,  0.000256694388f,  0.000478102855f,  0.000636052049f,
     0.000714733265f,  0.000712813751f,  0.000642144238f,  0.000523704686f,
     0.000382174854f,  0.000240676352f,  0.000116897972f,  2.12315699e-05f,
     -4.31258595e-05f, -7.86406963e-05f, -9.12369505e-05f, -8.81055021e-05f,
     -7.60379844e-05f, -6.04180132e-05f, -4.48862556e-05f, -3.14650388e-05f,
     -2.0934338e-05f,  -1.32725299e-05f, -8.04208321e-06f, -4.66704432e-06f,
     -2.59833678e-06f, -1.38962548e-06f, -7.14671387e-07f, -3.53749414e-07f,
     -1.68646224e-07f, -7.74837474e-08f, -3.43257511e-08f, 0.0f}};

INLINE vf vf_gelu_erf(vf x) {
    const vf round = vf_set1(12582912.0f);
    const vf t = vf_min(vf_set1(31.0f), vf_mul(vf_abs(x), vf_set1(31.0f / 5.5f)));
    const vf i = vf_add(t, round), r = vf_sub(t, vf_sub(i, round));
    vf b = vf_fma(vf_lookup32(GELU_TABLE[3], i), r, vf_lookup32(GELU_TABLE[2], i));
    b = vf_fma(b, r, vf_lookup32(GELU_TABLE[1], i));
    b = vf_fma(b, r, vf_lookup32(GELU_TABLE[0], i));
    return vf_sub(vf_max(vf_zero(), x), b);
}
#else
/* max(x, 0) - a (1/2 - a P(u)), a = min(|x|, 5.5), u = 2 (a / 5.5)^2 - 1: P is the least-maximum fit of
 * erf(a / sqrt 2) / 2a, weighted by a^2, on [0, 5.5]; beyond it a (1 - erf) / 2 is under 2e-7. No large numbers cancel.
 */
INLINE vf vf_gelu_erf(vf x) {
    const vf c = vf_min(vf_set1(5.5f), vf_abs(x));
    const vf u = vf_fma(vf_mul(c, c), vf_set1(2.0f / 30.25f), vf_set1(-1.0f));
    static const float p[14] = {0.12855194509029388f,   -0.06417197734117508f,  0.047735605388879776f,
                                -0.03880469501018524f,  0.03211359307169914f,   -0.025941895321011543f,
                                0.02002955600619316f,   -0.01537326816469431f,  0.011425253935158253f,
                                -0.006292687263339758f, 0.002475366462022066f,  -0.0025182405952364206f,
                                0.0025922537315636873f, -0.0009117363952100277f};
    vf q = vf_set1(p[13]);
    UNROLL for (int i = 12; i >= 0; i--) q = vf_fma(q, u, vf_set1(p[i]));
    const vf tail = vf_sub(vf_set1(0.5f), vf_mul(c, q));
    return vf_sub(vf_max(vf_zero(), x), vf_mul(c, tail));
}
#endif

INLINE vf vf_act(const uint32_t activation, vf x) {
    switch (activation) {
        case ZEB_ACT_GELU_ERF: return vf_gelu_erf(x);
        case ZEB_ACT_GELU_TANH: {
            const vf x2 = vf_mul(x, x);
            const vf twice = vf_mul(
                x, vf_fma(x2, vf_set1(2.0f * 0.7978845608028654f * 0.044715f), vf_set1(2.0f * 0.7978845608028654f)));
            return vf_mul(x, vf_sigmoid(twice)); /* 1 + tanh(y) = 2 sigmoid(2y) */
        }
        case ZEB_ACT_RELU: return vf_max(vf_zero(), x);
        case ZEB_ACT_SILU: return vf_mul(x, vf_sigmoid(x));
        case ZEB_ACT_TANH: return vf_fma(vf_set1(2.0f), vf_sigmoid(vf_add(x, x)), vf_set1(-1.0f));
        default: return x;
    }
}

INLINE void activate_as(const uint32_t activation, float *x, size_t ld, int rows, int n) {
    for (int r = 0; r < rows; r++, x += ld) {
        int i = 0;
        for (; i + 2 * VW <= n; i += 2 * VW) { /* two at a time hide each other's latency */
            const vf a = vf_act(activation, vf_load(x + i)), b = vf_act(activation, vf_load(x + i + VW));
            vf_store(x + i, a);
            vf_store(x + i + VW, b);
        }
        for (; i < n; i += VW) {
            const int live = n - i < VW ? n - i : VW;
            vf_store_n(x + i, vf_act(activation, vf_load_n(x + i, live)), live);
        }
    }
}

static void activate(uint32_t activation, float *x, size_t ld, int rows, int n) {
    switch (activation) {
        case ZEB_ACT_GELU_ERF: activate_as(ZEB_ACT_GELU_ERF, x, ld, rows, n); break;
        case ZEB_ACT_GELU_TANH: activate_as(ZEB_ACT_GELU_TANH, x, ld, rows, n); break;
        case ZEB_ACT_RELU: activate_as(ZEB_ACT_RELU, x, ld, rows, n); break;
        case ZEB_ACT_SILU: activate_as(ZEB_ACT_SILU, x, ld, rows, n); break;
        case ZEB_ACT_TANH: activate_as(ZEB_ACT_TANH, x, ld, rows, n); break;
        default: break;
    }
}

#endif
