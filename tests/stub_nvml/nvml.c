/* A libnvidia-ml.so.1 for tests: answers as NVIDIA's does, on a machine without NVIDIA.
 *
 * It is told by environment variables, read at every call:
 *   STUB_NVML_FOLDER  where its state lies: lock-<n> holds "min,max" while GPU n is locked, so that a lock outlives the
 *                     process as NVIDIA's does; "calls" lists every set and reset. Not set: the driver is not loaded.
 *   STUB_NVML_BOARD   "volta" (without it), "pascal" (no energy counter, no lock), "jetson" (opens, shows one GPU,
 *                     supports nothing), "none" (no GPU)
 *   STUB_NVML_COUNT   how many GPUs there are; 1 without it
 *   STUB_NVML_FAIL    "function=code function=code": these answer that error; "*" is every function of a device
 *   STUB_NVML_LOST_AFTER  after so many calls of device functions the GPU is lost
 *   STUB_NVML_CLOCK   MHz that the clock reads as, whatever is locked (it has not settled, or heat holds it down)
 *   STUB_NVML_ENERGY  mJ that the counter reads as; without it every reading is 1,500 mJ above the one before
 *   STUB_NVML_HIGHEST, STUB_NVML_BOOST  MHz that the GPU may reach: the chip's limit, and the vendor's if there is one
 *   STUB_NVML_REASONS bits of why clocks are held down, in hexadecimal
 * Compiled with -DOLD_DRIVER it lacks the functions that came late. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
       DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };
enum { MOST_GPUS = 4, IDLE_MHZ = 135, LOWEST_MHZ = 135, HIGHEST_MHZ = 1530, CLOCKS = 187 };

typedef struct gpu { unsigned index; } gpu;
static gpu gpus[MOST_GPUS] = {{0}, {1}, {2}, {3}};
static int opened = 0;
static long device_calls = 0;
static unsigned long long energy_mj = 5000000;

/* How often it is open: only the stub has this. */
int edgeexit_stub_nvml(void) { return opened; }

static const char *setting(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

static int board_is(const char *name) { return strcmp(setting("STUB_NVML_BOARD", "volta"), name) == 0; }

static unsigned count_gpus(void) { return board_is("none") ? 0 : (unsigned)atoi(setting("STUB_NVML_COUNT", "1")); }

static int told_to_fail(const char *function) {
    const char *rest = setting("STUB_NVML_FAIL", "");
    while (*rest) {
        size_t length = strcspn(rest, "= ");
        if (rest[length] != '=') return SUCCESS;
        int same = strlen(function) == length && strncmp(rest, function, length) == 0;
        int all = length == 1 && *rest == '*' && strncmp(function, "nvmlDevice", 10) == 0;
        if (same || all) return atoi(rest + length + 1);
        rest += strcspn(rest, " ");
        rest += strspn(rest, " ");
    }
    return SUCCESS;
}

static int check(const char *function) {
    if (!opened) return UNINITIALIZED;
    if (atol(setting("STUB_NVML_LOST_AFTER", "1000000000")) < ++device_calls) return GPU_IS_LOST;
    return told_to_fail(function);
}

/* What every function of a device does first. */
#define BEGIN(supported) \
    do { \
        int code = check(__func__); \
        if (code != SUCCESS) return code; \
        if (!(supported)) return NOT_SUPPORTED; \
    } while (0)

static void path_of(char *path, size_t size, const char *name, unsigned index) {
    snprintf(path, size, "%s/%s-%u", setting("STUB_NVML_FOLDER", "/nowhere"), name, index);
}

static void note_call(const char *text) {
    char path[4096];
    snprintf(path, sizeof path, "%s/calls", setting("STUB_NVML_FOLDER", "/nowhere"));
    FILE *file = fopen(path, "a");
    if (!file) return;
    fprintf(file, "%s\n", text);
    fclose(file);
}

static int locked_mhz(unsigned index) {
    char path[4096];
    unsigned low = 0, high = 0;
    path_of(path, sizeof path, "lock", index);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    int found = fscanf(file, "%u,%u", &low, &high);
    fclose(file);
    return found == 2 ? (int)high : 0;
}

static int supported_clock(unsigned step) { return HIGHEST_MHZ - (int)(7.5 * step); }

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    if (!getenv("STUB_NVML_FOLDER")) return DRIVER_NOT_LOADED;
    int code = told_to_fail("nvmlInitWithFlags");
    if (code == SUCCESS) opened++;
    return code;
}

int nvmlShutdown(void) {
    if (!opened) return UNINITIALIZED;
    opened--;
    return told_to_fail("nvmlShutdown");
}

const char *nvmlErrorString(int code) { return code == GPU_IS_LOST ? "GPU is lost" : "an error of the stub"; }

int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    if (!opened) return UNINITIALIZED;
    int code = told_to_fail(__func__);
    if (code == SUCCESS) snprintf(text, length, "550.54.15");
    return code;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    BEGIN(1);
    *count = count_gpus();
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, gpu **device) {
    BEGIN(1);
    if (index >= count_gpus()) return INVALID_ARGUMENT;
    *device = &gpus[index];
    return SUCCESS;
}

static void uuid_of(char *text, size_t length, unsigned index) {
    snprintf(text, length, "GPU-96ab329d-7a1f-73a8-a9b7-18b4b2855f9%u", index);
}

int nvmlDeviceGetHandleByUUID(const char *uuid, gpu **device) {
    BEGIN(1);
    for (unsigned index = 0; index < count_gpus(); index++) {
        char text[64];
        uuid_of(text, sizeof text, index);
        if (strcmp(text, uuid) == 0) {
            *device = &gpus[index];
            return SUCCESS;
        }
    }
    return NOT_FOUND;
}

int nvmlDeviceGetName(gpu *device, char *text, unsigned length) {
    (void)device;
    BEGIN(1);
    const char *name = board_is("jetson") ? "Orin (nvgpu)" : board_is("pascal") ? "Quadro P1000" : "Tesla V100-SXM2-16GB";
    snprintf(text, length, "%s", name);
    return SUCCESS;
}

int nvmlDeviceGetUUID(gpu *device, char *text, unsigned length) {
    BEGIN(!board_is("jetson"));
    uuid_of(text, length, device->index);
    return SUCCESS;
}

int nvmlDeviceGetArchitecture(gpu *device, unsigned *architecture) {
    (void)device;
    BEGIN(!board_is("jetson"));
    *architecture = board_is("pascal") ? 4 : 5;
    return SUCCESS;
}

int nvmlDeviceGetSupportedMemoryClocks(gpu *device, unsigned *count, unsigned *clocks) {
    (void)device;
    BEGIN(!board_is("jetson"));
    if (!clocks) {
        *count = 1;
        return INSUFFICIENT_SIZE;
    }
    clocks[0] = 877;
    return SUCCESS;
}

int nvmlDeviceGetSupportedGraphicsClocks(gpu *device, unsigned memory_mhz, unsigned *count, unsigned *clocks) {
    (void)device;
    BEGIN(!board_is("jetson"));
    if (memory_mhz != 877) return INVALID_ARGUMENT;
    if (!clocks) {
        *count = CLOCKS;
        return INSUFFICIENT_SIZE;
    }
    for (unsigned step = 0; step < CLOCKS; step++) clocks[step] = (unsigned)supported_clock(step);
    return SUCCESS;
}

int nvmlDeviceGetClockInfo(gpu *device, unsigned type, unsigned *mhz) {
    BEGIN(!board_is("jetson"));
    if (type > 1) return INVALID_ARGUMENT;
    int locked = locked_mhz(device->index);
    *mhz = (unsigned)atoi(setting("STUB_NVML_CLOCK", "0"));
    if (*mhz == 0) *mhz = locked ? (unsigned)locked : IDLE_MHZ;
    return SUCCESS;
}

int nvmlDeviceGetMaxClockInfo(gpu *device, unsigned type, unsigned *mhz) {
    (void)device;
    (void)type;
    BEGIN(!board_is("jetson"));
    *mhz = (unsigned)atoi(setting("STUB_NVML_HIGHEST", "1530"));
    return SUCCESS;
}

int nvmlDeviceGetMaxCustomerBoostClock(gpu *device, unsigned type, unsigned *mhz) {
    (void)device;
    (void)type;
    BEGIN(!board_is("jetson") && getenv("STUB_NVML_BOOST"));
    *mhz = (unsigned)atoi(setting("STUB_NVML_BOOST", "1530"));
    return SUCCESS;
}

int nvmlDeviceSetGpuLockedClocks(gpu *device, unsigned low, unsigned high) {
    char path[4096], temporary[4200], text[64];
    BEGIN(!board_is("jetson") && !board_is("pascal"));
    if (low > high || low < LOWEST_MHZ || high > HIGHEST_MHZ) return INVALID_ARGUMENT;
    snprintf(text, sizeof text, "gpu%u set %u,%u", device->index, low, high);
    note_call(text);
    path_of(path, sizeof path, "lock", device->index);
    snprintf(temporary, sizeof temporary, "%s.%d", path, (int)getpid());
    FILE *file = fopen(temporary, "w");
    if (!file) return 999;
    fprintf(file, "%u,%u", low, high);
    fclose(file);
    return rename(temporary, path) == 0 ? SUCCESS : 999;
}

int nvmlDeviceResetGpuLockedClocks(gpu *device) {
    char path[4096], text[64];
    BEGIN(!board_is("jetson") && !board_is("pascal"));
    snprintf(text, sizeof text, "gpu%u reset", device->index);
    note_call(text);
    path_of(path, sizeof path, "lock", device->index);
    unlink(path);
    return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(gpu *device, unsigned long long *mj) {
    (void)device;
    BEGIN(!board_is("jetson") && !board_is("pascal"));
    *mj = energy_mj += 1500;
    if (getenv("STUB_NVML_ENERGY")) *mj = strtoull(getenv("STUB_NVML_ENERGY"), NULL, 10);
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(gpu *device, unsigned *mw) {
    (void)device;
    BEGIN(!board_is("jetson"));
    *mw = 48250;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(gpu *device, unsigned sensor, unsigned *c) {
    (void)device;
    BEGIN(!board_is("jetson"));
    if (sensor != 0) return INVALID_ARGUMENT;
    *c = 47;
    return SUCCESS;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(gpu *device, unsigned long long *bits) {
    (void)device;
    BEGIN(!board_is("jetson"));
    *bits = strtoull(setting("STUB_NVML_REASONS", "0"), NULL, 16);
    return SUCCESS;
}

#ifndef OLD_DRIVER
int nvmlDeviceGetCurrentClocksEventReasons(gpu *device, unsigned long long *bits) {
    (void)device;
    BEGIN(!board_is("jetson"));
    *bits = strtoull(setting("STUB_NVML_REASONS", "0"), NULL, 16);
    return SUCCESS;
}

typedef struct { unsigned version, sensor; int c; } temperature;

int nvmlDeviceGetTemperatureV(gpu *device, temperature *reading) {
    (void)device;
    BEGIN(!board_is("jetson"));
    if (reading->version != (sizeof(temperature) | 1u << 24) || reading->sensor != 0) return INVALID_ARGUMENT;
    reading->c = 47;
    return SUCCESS;
}

typedef struct {
    unsigned field, scope;
    long long timestamp, latency_us;
    int type, code;
    union { double d; int si; unsigned ui; unsigned long long ull; } value;
} field_value;

int nvmlDeviceGetFieldValues(gpu *device, int count, field_value *values) {
    (void)device;
    BEGIN(!board_is("jetson"));
    for (int index = 0; index < count; index++) {
        values[index].code = values[index].field == 186 && board_is("volta") ? SUCCESS : NOT_SUPPORTED;
        values[index].type = 1;
        values[index].value.ui = 51125;
    }
    return SUCCESS;
}
#endif
