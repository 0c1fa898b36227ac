/* A libnvidia-ml.so.1 without a GPU: what the driver of a board with a known true power would say.
 *
 * The true power of GPU i is a square wave on CLOCK_MONOTONIC,
 *     P_i(t) = base + 20 i            while frac(t / wave) >= duty
 *            = base + 20 i + amp      while frac(t / wave) <  duty
 * so that its integral is known in closed form (fake.py has the same formula). From it come
 *   the energy counter    the integral up to the last multiple of tick_ms, in whole mJ; a call
 *                         burns latency_us of CPU, as an H200's does
 *   the sample buffer     120 means over sample_ms, stamped with the wall clock in us
 *   instant, average      means over 25 ms and 1 s, renewed every 100 ms
 * Environment: FAKE_NVML="key=value;..." with the keys of `struct settings`.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OK = 0, UNINITIALIZED = 1, NOT_LOADED = 9, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, SMALL = 7, LOST = 15 };
enum { SLOTS = 120 };

typedef union { double d; unsigned ui; unsigned long ul; unsigned long long ull; } value_t;
typedef struct { unsigned long long stamp_us; value_t value; } sample_t;
typedef struct {
    unsigned id, scope;
    long long stamp, latency_us;
    unsigned type, rc;
    value_t value;
} field_t;

static struct settings {
    double gpus, base, amp, wave, duty, tick_ms, sample_ms, latency_us, phase_ms;
    double no_counter, no_buffer, no_fields, no_memory_temperature, mig, frozen, average_only;
    double lost_after, reset_after; /* seconds after nvmlInit; 0 for never */
    double lost_gpu, old, drawing;
    double reload_after, reload_s; /* the driver goes then, and is back so much later */
} set = {.gpus = 2, .base = 100, .amp = 400, .wave = 1.7, .duty = 0.4, .tick_ms = 100,
         .sample_ms = 20, .phase_ms = 13, .lost_gpu = 1};
static double born;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static double wall_minus_monotonic(void) {
    struct timespec m, r;
    clock_gettime(CLOCK_MONOTONIC, &m);
    clock_gettime(CLOCK_REALTIME, &r);
    return (double)(r.tv_sec - m.tv_sec) + 1e-9 * (r.tv_nsec - m.tv_nsec);
}

static void configure(const char *text) {
    struct { const char *name; double *where; } keys[] = {
        {"gpus", &set.gpus}, {"base", &set.base}, {"amp", &set.amp}, {"wave", &set.wave},
        {"duty", &set.duty}, {"tick_ms", &set.tick_ms}, {"sample_ms", &set.sample_ms},
        {"latency_us", &set.latency_us}, {"phase_ms", &set.phase_ms},
        {"no_counter", &set.no_counter}, {"no_buffer", &set.no_buffer},
        {"no_fields", &set.no_fields}, {"average_only", &set.average_only},
        {"no_memory_temperature", &set.no_memory_temperature}, {"mig", &set.mig},
        {"frozen", &set.frozen}, {"lost_after", &set.lost_after},
        {"lost_gpu", &set.lost_gpu}, {"old", &set.old}, {"drawing", &set.drawing},
        {"reload_after", &set.reload_after}, {"reload_s", &set.reload_s}, {"reset_after", &set.reset_after},
    };
    char copy[1024], *rest = copy, *part;
    snprintf(copy, sizeof copy, "%s", text ? text : "");
    while ((part = strsep(&rest, ";"))) {
        char *is = strchr(part, '=');
        if (!is) continue;
        *is = 0;
        size_t i, known = sizeof keys / sizeof *keys;
        for (i = 0; i < known && strcmp(keys[i].name, part); i++) {}
        if (i == known) { fprintf(stderr, "fake nvml: no key %s\n", part); abort(); }
        *keys[i].where = atof(is + 1);
    }
}

static int index_of(void *device) { return (int)(intptr_t)device - 1; }

/* Joules from time 0 to t. */
static double energy(int gpu, double t) {
    double waves = floor(t / set.wave), part = t / set.wave - waves;
    return (set.base + 20 * gpu) * t + set.amp * set.wave * (waves * set.duty + fmin(part, set.duty));
}

static double mean_mw(int gpu, double from, double to) {
    return 1e3 * (energy(gpu, to) - energy(gpu, from)) / (to - from);
}

/* The last time before t on a grid of `period` seconds, shifted per GPU. */
static double grid(int gpu, double t, double period) {
    double phase = 1e-3 * set.phase_ms * (gpu + 1);
    return floor((t - phase) / period) * period + phase;
}

static int lost(int gpu) {
    return set.lost_after && gpu == (int)set.lost_gpu && now() > born + set.lost_after;
}

static double taken; /* when a process last took hold of the driver */

static double reloaded(void) {
    double back = born + set.reload_after + set.reload_s;
    return set.reload_after && now() > back ? back : 0;
}

static int void_handles(void) {
    return set.reload_after && now() > born + set.reload_after
           && taken < born + set.reload_after + set.reload_s;
}

#define GUARD(device) \
    if (void_handles()) return UNINITIALIZED; \
    int gpu = index_of(device); \
    if (gpu < 0 || gpu >= set.gpus) return INVALID; \
    if (lost(gpu)) return LOST

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    configure(getenv("FAKE_NVML"));
    if (!born) born = now();
    if (set.reload_after && now() > born + set.reload_after && !reloaded()) return NOT_LOADED;
    taken = now();
    return OK;
}
int nvmlShutdown(void) { return OK; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    snprintf(text, size, "0.0-fake");
    return OK;
}
int nvmlSystemGetNVMLVersion(char *text, unsigned size) {
    return nvmlSystemGetDriverVersion(text, size);
}
int nvmlSystemGetCudaDriverVersion(int *version) { *version = 12080; return OK; }
const char *nvmlErrorString(int rc) { return rc == LOST ? "GPU is lost" : "an error"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = (unsigned)set.gpus; return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    if (index >= set.gpus) return INVALID;
    *device = (void *)(intptr_t)(index + 1);
    return OK;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    int gpu = atoi(uuid + strlen(uuid) - 4);
    return nvmlDeviceGetHandleByIndex_v2((unsigned)gpu, device);
}
int nvmlDeviceGetName(void *device, char *name, unsigned size) {
    GUARD(device);
    snprintf(name, size, "Fake GPU (test)");
    return OK;
}
/* What CodeCarbon asks for besides. */
int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *mw) {
    GUARD(device);
    *mw = 700000;
    return OK;
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *mj) {
    GUARD(device);
    if (set.no_counter) return NOT_SUPPORTED;
    double until = now() + 1e-6 * set.latency_us;
    while (now() < until) {}
    double t = set.frozen ? 1000 : grid(gpu, now(), 1e-3 * set.tick_ms);
    double since = set.reset_after && now() > born + set.reset_after ? born + set.reset_after : 0;
    since = fmax(since, reloaded());
    *mj = (unsigned long long)(1e3 * (energy(gpu, fmax(t, since)) - energy(gpu, since)));
    return OK;
}

static double power_mw(int gpu, double window) {
    double t = grid(gpu, now(), 0.1);
    return mean_mw(gpu, t - window, t);
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *mw) {
    GUARD(device);
    *mw = (unsigned)power_mw(gpu, 1.0);
    return OK;
}

int nvmlDeviceGetFieldValues(void *device, int count, field_t *fields) {
    GUARD(device);
    if (set.no_fields) return NOT_SUPPORTED;
    for (int i = 0; i < count; i++) {
        field_t *f = fields + i;
        f->type = 1;
        f->rc = OK;
        if (f->id == 186 && !set.average_only) f->value.ui = (unsigned)power_mw(gpu, 0.025);
        else if (f->id == 185) f->value.ui = (unsigned)power_mw(gpu, 1.0);
        else if (f->id == 82 && !set.no_memory_temperature) f->value.ui = 41;
        else if (f->id == 74 && !set.old) { /* ns under the power cap: a tenth of the time */
            f->type = 3;
            f->value.ull = (unsigned long long)(1e8 * (now() - born));
        }
        else f->rc = NOT_SUPPORTED;
    }
    return OK;
}

int nvmlDeviceGetSamples(void *device, int kind, unsigned long long since, int *type,
                         unsigned *count, sample_t *samples) {
    GUARD(device);
    if (set.no_buffer || kind != 0) return NOT_SUPPORTED;
    double period = 1e-3 * set.sample_ms, newest = grid(gpu, now(), period);
    double offset = wall_minus_monotonic();
    *type = 1;
    if (!samples) { *count = SLOTS; return OK; }
    unsigned found = 0;
    for (int i = SLOTS - 1; i >= 0 && found < *count; i--) {
        double t = newest - i * period;
        unsigned long long stamp = (unsigned long long)llround((t + offset) * 1e6);
        if (stamp <= since) continue;
        samples[found].stamp_us = stamp;
        samples[found++].value.ui = (unsigned)lround(mean_mw(gpu, t - period, t));
    }
    *count = found;
    return found ? OK : NOT_FOUND;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *t) {
    (void)sensor;
    GUARD(device);
    *t = 35 + gpu;
    return OK;
}
int nvmlDeviceGetClockInfo(void *device, int which, unsigned *mhz) {
    GUARD(device);
    *mhz = (unsigned)(which == 1 ? 1980 + gpu : 3201 + gpu);
    return OK;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *mask) {
    GUARD(device);
    *mask = (unsigned long long)gpu;
    return OK;
}
int nvmlDeviceGetUtilizationRates(void *device, unsigned *rates) {
    GUARD(device);
    rates[0] = 50 + (unsigned)gpu;
    rates[1] = 10;
    return OK;
}
int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *info) {
    GUARD(device);
    info[0] = 150ULL << 30;
    info[1] = 140ULL << 30;
    info[2] = (10ULL << 30) + (unsigned)gpu;
    return OK;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, void *processes) {
    GUARD(device);
    (void)processes;
    *count = 0;
    return OK;
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *device, unsigned *count, unsigned *processes) {
    GUARD(device);
    unsigned room = *count;
    *count = (unsigned)set.drawing;
    if (room < *count) return *count ? 7 : OK;
    for (unsigned i = 0; i < *count; i++) processes[6 * i] = 100 + i; /* pid of 24 bytes each */
    return OK;
}
int nvmlDeviceGetPerformanceState(void *device, int *state) {
    GUARD(device);
    *state = 0;
    return OK;
}
int nvmlDeviceGetViolationStatus(void *device, int policy, unsigned long long *times) {
    GUARD(device);
    if (policy) return NOT_SUPPORTED;
    times[0] = (unsigned long long)(1e6 * now());
    times[1] = (unsigned long long)(1e8 * (now() - born));
    return OK;
}
int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) {
    GUARD(device);
    *current = *pending = (unsigned)set.mig;
    return OK;
}
int nvmlDeviceGetVirtualizationMode(void *device, unsigned *mode) {
    GUARD(device);
    *mode = 0;
    return OK;
}
int nvmlDeviceGetArchitecture(void *device, unsigned *architecture) {
    GUARD(device);
    *architecture = 9;
    return OK;
}
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    GUARD(device);
    *major = 9;
    *minor = 0;
    return OK;
}
int nvmlDeviceGetUUID(void *device, char *uuid, unsigned size) {
    GUARD(device);
    snprintf(uuid, size, "GPU-00000000-1111-2222-3333-%012d", gpu);
    return OK;
}
