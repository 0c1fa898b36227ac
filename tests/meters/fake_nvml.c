/* A libnvidia-ml.so.1 without a GPU: what the driver of a board with a known true power would say.
 *
 * The true power of GPU i is a square wave on CLOCK_MONOTONIC,
 *     P_i(t) = base + 20 i            while frac(t / wave) >= duty
 *            = base + 20 i + amp      while frac(t / wave) <  duty
 * so that its integral is known in closed form (fake.py has the same formula). From it come
 *   the energy counter    the integral up to the last multiple of tick_ms, in whole mJ; a call
 *                         burns latency_us of CPU, as an H200's does
 *   the sample buffer     120 means over sample_ms, stamped with the wall clock in us
 *   instant, average      means over instant_ms and average_ms, renewed every renew_ms
 *   power cap time        for how long the wave has been on
 * With module=W the GPU is part of a module that draws W watts more, told by scope 1 of the power
 * fields; module_counter=1 and module_samples=1 let counter and buffer count the module.
 * With old_memory=1 the driver knows no memory information without its own reserve.
 * The driver can go away (down_at .. up_at, seconds after the first nvmlInit): every call fails until
 * an nvmlInit after that; handles from before are then invalid, the counters begin at 0 and, with
 * reorder=1, the GPUs have other indices. A GPU can be lost for a while (lost_after .. lost_until).
 * The no_* keys hold for all GPUs, or for that of only_gpu alone.
 * Environment: FAKE_NVML="key=value;..." with the keys of `struct settings`.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, SMALL = 7,
       NOT_LOADED = 9, LOST = 15, MISMATCH = 18 };
enum { SLOTS = 120 };

typedef union { double d; unsigned ui; unsigned long ul; unsigned long long ull; } value_t;
typedef struct { unsigned long long stamp_us; value_t value; } sample_t;
typedef struct {
    unsigned id, scope;
    long long stamp, latency_us;
    unsigned type, rc;
    value_t value;
} field_t;

struct memory_v2 { unsigned version; unsigned long long total, reserved, free, used; };

static struct settings {
    double gpus, base, amp, wave, duty, tick_ms, sample_ms, latency_us, phase_ms;
    double no_counter, no_buffer, no_fields, no_memory_temperature, mig, frozen, average_only;
    double lost_after, reset_after; /* seconds after nvmlInit; 0 for never */
    double lost_gpu, lost_until;
    double down_at, up_at, mismatch, reorder;
    double average_ms, instant_ms, renew_ms, field_us, brake_us, only_gpu;
    double no_times, no_violation, no_driver_version, processes, graphics;
    double module, module_counter, module_samples, old_memory;
} set = {.gpus = 2, .base = 100, .amp = 400, .wave = 1.7, .duty = 0.4, .tick_ms = 100,
         .sample_ms = 20, .phase_ms = 13, .lost_gpu = 1, .average_ms = 1000, .instant_ms = 25,
         .renew_ms = 100, .only_gpu = -1};
static double born;
static int generation = -1; /* how often the driver came back */

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
        {"lost_gpu", &set.lost_gpu}, {"reset_after", &set.reset_after},
        {"lost_until", &set.lost_until}, {"down_at", &set.down_at}, {"up_at", &set.up_at},
        {"mismatch", &set.mismatch}, {"reorder", &set.reorder},
        {"average_ms", &set.average_ms}, {"instant_ms", &set.instant_ms},
        {"renew_ms", &set.renew_ms}, {"field_us", &set.field_us}, {"brake_us", &set.brake_us},
        {"only_gpu", &set.only_gpu}, {"no_times", &set.no_times},
        {"no_violation", &set.no_violation}, {"no_driver_version", &set.no_driver_version},
        {"processes", &set.processes}, {"graphics", &set.graphics},
        {"module", &set.module}, {"module_counter", &set.module_counter},
        {"module_samples", &set.module_samples},
        {"old_memory", &set.old_memory},
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

/* A handle holds the generation of the driver that gave it. */
static int index_of(void *device) {
    intptr_t number = (intptr_t)device - 1;
    return number >= 0 && number / 1000 == generation ? (int)(number % 1000) : -1;
}
static void *handle_of(int gpu) { return (void *)(intptr_t)(1000 * generation + gpu + 1); }

static int down(void) {
    return set.down_at && generation == 0 && now() > born + set.down_at;
}

static int lacks(int gpu, double what) {
    return what && (set.only_gpu < 0 || gpu == (int)set.only_gpu);
}

static void burn(double us) {
    double until = now() + 1e-6 * us;
    while (us > 0 && now() < until) {}
}

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
    if (!set.lost_after || gpu != (int)set.lost_gpu) return 0;
    double t = now() - born;
    return t > set.lost_after && (!set.lost_until || t < set.lost_until);
}

#define GUARD(device) \
    if (down()) return UNINITIALIZED; \
    int gpu = index_of(device); \
    if (gpu < 0 || gpu >= set.gpus) return INVALID; \
    if (lost(gpu)) return LOST

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    if (generation < 0) {
        configure(getenv("FAKE_NVML"));
        born = now();
        generation = 0;
    } else if (down()) {
        if (now() < born + set.up_at) return set.mismatch ? MISMATCH : NOT_LOADED;
        generation = 1;
    }
    return OK;
}
int nvmlShutdown(void) { return down() ? UNINITIALIZED : OK; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    if (set.no_driver_version) return NOT_SUPPORTED;
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
    if (down()) return UNINITIALIZED;
    if (index >= set.gpus) return INVALID;
    *device = handle_of(set.reorder && generation ? (int)set.gpus - 1 - (int)index : (int)index);
    return OK;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    int gpu;
    if (down()) return UNINITIALIZED;
    if (sscanf(uuid, "GPU-00000000-1111-2222-3333-%d", &gpu) != 1 || gpu >= set.gpus) return NOT_FOUND;
    if (lost(gpu)) return LOST;
    *device = handle_of(gpu);
    return OK;
}
int nvmlDeviceGetUUID(void *device, char *uuid, unsigned size) {
    GUARD(device);
    snprintf(uuid, size, "GPU-00000000-1111-2222-3333-%012d", gpu);
    return OK;
}
int nvmlDeviceGetName(void *device, char *name, unsigned size) {
    GUARD(device);
    snprintf(name, size, "Fake GPU (test)");
    return OK;
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *mj) {
    GUARD(device);
    if (lacks(gpu, set.no_counter)) return NOT_SUPPORTED;
    burn(set.latency_us);
    double t = set.frozen ? 1000 : grid(gpu, now(), 1e-3 * set.tick_ms);
    double since = set.reset_after && now() > born + set.reset_after ? born + set.reset_after : 0;
    if (generation) since = born + set.up_at;
    double more = set.module_counter ? set.module * (fmax(t, since) - since) : 0;
    *mj = (unsigned long long)(1e3 * (energy(gpu, fmax(t, since)) - energy(gpu, since) + more));
    return OK;
}

static double power_mw(int gpu, double window) {
    double t = grid(gpu, now(), 1e-3 * set.renew_ms);
    return mean_mw(gpu, t - window, t);
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *mw) {
    GUARD(device);
    *mw = (unsigned)power_mw(gpu, 1e-3 * set.average_ms);
    return OK;
}

static unsigned long long on_ns(void) {
    double waves = floor(now() / set.wave), part = now() / set.wave - waves;
    return (unsigned long long)(1e9 * set.wave * (waves * set.duty + fmin(part, set.duty)));
}

/* Fields that tell for how long a reason held the clocks; two of them are dear, as on an H200. */
static int time_ns(int gpu, unsigned id, unsigned long long *ns) {
    if (lacks(gpu, set.no_times)) return NOT_SUPPORTED;
    if (id == 270 || id == 271) burn(set.brake_us);
    *ns = id == 74 ? on_ns() : 0;
    return id == 74 || id == 76 || (id >= 269 && id <= 271) ? OK : NOT_SUPPORTED;
}

int nvmlDeviceGetFieldValues(void *device, int count, field_t *fields) {
    GUARD(device);
    if (lacks(gpu, set.no_fields)) return NOT_SUPPORTED;
    burn(set.field_us);
    for (int i = 0; i < count; i++) {
        field_t *f = fields + i;
        f->type = 1;
        f->rc = OK;
        if (f->scope) {
            if (f->scope == 1 && f->id == 185 && set.module)
                f->value.ui = (unsigned)(power_mw(gpu, 1e-3 * set.average_ms) + 1e3 * set.module);
            else f->rc = NOT_SUPPORTED;
        } else if (f->id == 186 && !lacks(gpu, set.average_only))
            f->value.ui = (unsigned)power_mw(gpu, 1e-3 * set.instant_ms);
        else if (f->id == 185) f->value.ui = (unsigned)power_mw(gpu, 1e-3 * set.average_ms);
        else if (f->id == 82 && !lacks(gpu, set.no_memory_temperature)) f->value.ui = 41;
        else if (time_ns(gpu, f->id, &f->value.ull) == OK) f->type = 3;
        else f->rc = NOT_SUPPORTED;
    }
    return OK;
}

int nvmlDeviceGetViolationStatus(void *device, int policy, unsigned long long *times) {
    GUARD(device);
    if (lacks(gpu, set.no_violation) || policy > 1) return NOT_SUPPORTED;
    times[0] = (unsigned long long)(1e6 * now());
    times[1] = policy ? 0 : on_ns();
    return OK;
}

int nvmlDeviceGetSamples(void *device, int kind, unsigned long long since, int *type,
                         unsigned *count, sample_t *samples) {
    GUARD(device);
    if (lacks(gpu, set.no_buffer) || kind != 0) return NOT_SUPPORTED;
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
        double more = set.module_samples ? 1e3 * set.module : 0;
        samples[found++].value.ui = (unsigned)lround(mean_mw(gpu, t - period, t) + more);
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
int nvmlDeviceGetMemoryInfo_v2(void *device, struct memory_v2 *info) {
    GUARD(device);
    if (set.old_memory) return INVALID;
    if (info->version != (sizeof *info | 2 << 24)) return MISMATCH;
    info->total = 150ULL << 30;
    info->reserved = 480ULL << 20;
    info->used = (10ULL << 30) + (unsigned)gpu - info->reserved;
    info->free = info->total - info->reserved - info->used;
    return OK;
}
int nvmlDeviceGetPerformanceState(void *device, unsigned *state) {
    GUARD(device);
    *state = 0;
    return OK;
}
int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *mw) {
    GUARD(device);
    *mw = 700000;
    return OK;
}

int nvmlDeviceGetPowerManagementLimitConstraints(void *device, unsigned *lowest, unsigned *highest) {
    GUARD(device);
    *lowest = 200000;
    *highest = 700000;
    return OK;
}

typedef struct { unsigned pid; unsigned long long memory; unsigned instance, compute; } process_t;

static int processes(unsigned first, unsigned there, unsigned *count, process_t *found) {
    unsigned room = found ? *count : 0;
    *count = there;
    if (there > room) return SMALL;
    for (unsigned i = 0; i < there; i++) found[i] = (process_t){.pid = first + i};
    return OK;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, process_t *found) {
    GUARD(device);
    return processes(1, (unsigned)set.processes, count, found);
}
/* The first graphics process computes, too. */
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *device, unsigned *count, process_t *found) {
    GUARD(device);
    return processes(1, (unsigned)set.graphics, count, found);
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
