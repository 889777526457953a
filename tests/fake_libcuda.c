/* A driver without a device, for the tests: memory is memory of this machine, a launch is handed to
   whoever said that it takes launches, and the rules that a real driver has are kept.

   It stands where libcuda.so.1 does, so that what is tested are the calls as they leave the real
   Python bindings: a wrong type, order or number of arguments ends up here.

   fake_on_launch(function)      who runs kernels
   fake_fail(name, times, error) calls of that name give an error
   fake_calls(name)              how often it was called
   fake_say(setting, value)      what the device says of itself: "count", "major", "minor"  */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int status;
typedef uint64_t address;
typedef void (*launcher)(const char *code, const char *name, unsigned grid, unsigned block,
                         int count, const address *pointers);

enum {
    SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100,
    INVALID_DEVICE = 101, INVALID_IMAGE = 200, INVALID_CONTEXT = 201, INVALID_HANDLE = 400,
    NOT_FOUND = 500, ILLEGAL_ADDRESS = 700, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901,
    CAPTURE_WRONG_THREAD = 908,
};
enum { LEGACY = 1, PER_THREAD = 2, MOST = 4096, MOST_PARAMETERS = 256 };

/* ---- what the tests say and ask ---------------------------------------------------------------*/

struct counter { char name[48]; int calls, fails, error; };
static struct counter counters[64];
static int count_of_devices = 1, major = 9, minor = 0;
static launcher run_kernel;

static struct counter *counter_of(const char *name) {
    for (int i = 0; i < 64; i++) {
        if (!counters[i].name[0]) strncpy(counters[i].name, name, 47);
        if (!strcmp(counters[i].name, name)) return &counters[i];
    }
    abort();
}

void fake_on_launch(launcher function) { run_kernel = function; }
void fake_fail(const char *name, int times, int error) {
    counter_of(name)->fails = times;
    counter_of(name)->error = error;
}
int fake_calls(const char *name) { return counter_of(name)->calls; }
void fake_say(const char *setting, int value) {
    *(!strcmp(setting, "count") ? &count_of_devices : !strcmp(setting, "major") ? &major : &minor) =
        value;
}

static status told(const char *name) {
    struct counter *counter = counter_of(name);
    counter->calls++;
    if (counter->fails > 0) { counter->fails--; return counter->error; }
    return SUCCESS;
}

/* ---- contexts, memory, streams ----------------------------------------------------------------*/

static int is_started;
static char primary;                       /* its address is the primary context */
static __thread void *current;
static struct { char *start; size_t size; } blocks[MOST];

struct work { int is_copy; char *target, *source; size_t bytes;
              const char *code, *name; unsigned grid, block; int count; address *pointers; };
struct graph { struct work *items; int count; struct graph *next; };
struct stream { struct graph *captured; int is_invalid, mode; };
static struct stream *capturing;           /* by this driver at most one at a time */
static __thread int is_capturing_here;

#define CALLED(name)                                                      \
    do {                                                                  \
        status failed_ = told(name);                                      \
        if (failed_) return failed_;                                      \
        if (!is_started) return NOT_INITIALIZED;                          \
    } while (0)
#define IN_CONTEXT(name)                                                  \
    do {                                                                  \
        CALLED(name);                                                     \
        if (current != &primary) return INVALID_CONTEXT;                  \
    } while (0)
/* What a thread must not do while it captures, unless it said that it minds nothing. */
#define NOT_CAPTURED(name)                                                \
    do {                                                                  \
        IN_CONTEXT(name);                                                 \
        if (is_capturing_here && capturing && capturing->mode != 2) {     \
            capturing->is_invalid = 1;                                    \
            return CAPTURE_UNSUPPORTED;                                   \
        }                                                                 \
    } while (0)

static int holds(const char *start, size_t bytes) {
    for (int i = 0; i < MOST; i++)
        if (blocks[i].start && start >= blocks[i].start &&
            start + bytes <= blocks[i].start + blocks[i].size)
            return 1;
    return 0;
}

static struct stream *captured(void *stream) {
    return (uintptr_t)stream > PER_THREAD && ((struct stream *)stream)->captured ? stream : NULL;
}

static status run(const struct work *work) {
    if (work->is_copy) memmove(work->target, work->source, work->bytes);
    else run_kernel(work->code, work->name, work->grid, work->block, work->count, work->pointers);
    return SUCCESS;
}

static status put(void *stream, struct work work) {
    struct stream *open = captured(stream);
    if (!open) return run(&work);
    if (open->is_invalid) return CAPTURE_INVALIDATED;
    struct graph *graph = open->captured;
    graph->items = realloc(graph->items, (graph->count + 1) * sizeof work);
    graph->items[graph->count++] = work;
    return SUCCESS;
}

status cuInit(unsigned flags) {
    status failed = told("cuInit");
    if (failed) return failed;
    is_started = 1;
    return flags ? INVALID_VALUE : SUCCESS;
}
status cuDriverGetVersion(int *version) { *version = 12090; return SUCCESS; }
status cuGetErrorString(status error, const char **text) {
    (void)error;
    *text = "so it is";
    return SUCCESS;
}
status cuGetErrorName(status error, const char **text) {
    (void)error;
    *text = "CUDA_ERROR";
    return SUCCESS;
}
status cuDeviceGetCount(int *count) {
    CALLED("cuDeviceGetCount");
    *count = count_of_devices;
    return SUCCESS;
}
status cuDeviceGet(int *device, int number) {
    CALLED("cuDeviceGet");
    *device = number;
    return number < count_of_devices ? SUCCESS : INVALID_DEVICE;
}
status cuDeviceGetName(char *name, int length, int device) {
    CALLED("cuDeviceGetName");
    snprintf(name, length, "No GPU %d", device);
    return SUCCESS;
}
status cuDeviceGetAttribute(int *value, int attribute, int device) {
    CALLED("cuDeviceGetAttribute");
    (void)device;
    *value = attribute == 75 ? major : attribute == 76 ? minor : 0;
    return SUCCESS;
}
status cuDevicePrimaryCtxRetain(void **context, int device) {
    CALLED("cuDevicePrimaryCtxRetain");
    (void)device;
    *context = &primary;
    return SUCCESS;
}
status cuDevicePrimaryCtxReset(int device) {
    CALLED("cuDevicePrimaryCtxReset");
    (void)device;
    return SUCCESS;
}
status cuCtxSetCurrent(void *context) {
    CALLED("cuCtxSetCurrent");
    current = context;
    return SUCCESS;
}

status cuMemAlloc(address *pointer, size_t bytes) {
    NOT_CAPTURED("cuMemAlloc");
    for (int i = 0; bytes && i < MOST; i++)
        if (!blocks[i].start) {
            blocks[i].start = aligned_alloc(256, (bytes + 255) / 256 * 256);
            blocks[i].size = bytes;
            memset(blocks[i].start, 0xA5, bytes);
            *pointer = (address)blocks[i].start;
            return SUCCESS;
        }
    return INVALID_VALUE;
}
status cuMemFree(address pointer) {
    NOT_CAPTURED("cuMemFree");
    for (int i = 0; i < MOST; i++)
        if (blocks[i].start == (char *)pointer) {
            free(blocks[i].start);
            blocks[i].start = NULL;
            return SUCCESS;
        }
    return INVALID_VALUE;
}
status cuMemGetInfo(size_t *unused, size_t *total) {
    IN_CONTEXT("cuMemGetInfo");
    *unused = 1 << 20;
    *total = 1 << 30;
    return SUCCESS;
}
status cuMemcpyHtoDAsync(address target, const void *source, size_t bytes, void *stream) {
    IN_CONTEXT("cuMemcpyHtoDAsync");
    if (!holds((char *)target, bytes)) return INVALID_VALUE;
    return put(stream, (struct work){1, (char *)target, (char *)source, bytes, 0, 0, 0, 0, 0, 0});
}
status cuMemcpyDtoHAsync(void *target, address source, size_t bytes, void *stream) {
    IN_CONTEXT("cuMemcpyDtoHAsync");
    if (!holds((char *)source, bytes)) return INVALID_VALUE;
    return put(stream, (struct work){1, target, (char *)source, bytes, 0, 0, 0, 0, 0, 0});
}
status cuMemcpyDtoDAsync(address target, address source, size_t bytes, void *stream) {
    IN_CONTEXT("cuMemcpyDtoDAsync");
    if (!holds((char *)source, bytes) || !holds((char *)target, bytes)) return INVALID_VALUE;
    return put(stream, (struct work){1, (char *)target, (char *)source, bytes, 0, 0, 0, 0, 0, 0});
}
/* All memory that the tests make is on the first device, or no device's. */
status cuPointerGetAttribute(void *value, int attribute, address pointer) {
    CALLED("cuPointerGetAttribute");
    if (!holds((char *)pointer, 1)) return INVALID_VALUE;
    if (attribute == 2) { *(unsigned *)value = 2; return SUCCESS; }
    if (attribute == 9) { *(int *)value = 0; return SUCCESS; }
    return INVALID_VALUE;
}

/* ---- code -------------------------------------------------------------------------------------*/

struct module { char *text; };
struct function { char *code, *name; int count; };

status cuModuleLoadDataEx(struct module **module, const void *image, unsigned count, int *options,
                          void **values) {
    for (unsigned i = 0; i < count; i++)
        if (options[i] == 5 && counter_of("cuModuleLoadDataEx")->fails)
            strcpy(values[i], "ptxas: what it says");
    NOT_CAPTURED("cuModuleLoadDataEx");
    if (!strstr(image, ".version") || count != 2 || options[0] != 5 || options[1] != 6 ||
        (uintptr_t)values[1] < 64)
        return INVALID_IMAGE;
    *module = malloc(sizeof **module);
    (*module)->text = strdup(image);
    return SUCCESS;
}
status cuModuleUnload(struct module *module) {
    NOT_CAPTURED("cuModuleUnload");
    free(module->text);
    free(module);
    return SUCCESS;
}
status cuModuleGetFunction(struct function **function, struct module *module, const char *name) {
    IN_CONTEXT("cuModuleGetFunction");
    char start[160];
    snprintf(start, sizeof start, ".entry %s(", name);
    char *at = strstr(module->text, start);
    if (!at) return NOT_FOUND;
    char *end = strchr(at, ')');
    int count = 0;
    while ((at = strstr(at + 1, ".param .u64")) && at < end) count++;
    *function = malloc(sizeof **function);
    **function = (struct function){strdup(module->text), strdup(name), count};
    return SUCCESS;
}
status cuLaunchKernel(struct function *function, unsigned grid, unsigned y, unsigned z,
                      unsigned block, unsigned by, unsigned bz, unsigned shared, void *stream,
                      void **parameters, void **extra) {
    IN_CONTEXT("cuLaunchKernel");
    if (y != 1 || z != 1 || by != 1 || bz != 1 || shared || extra || !grid || !block ||
        block > 1024)
        return INVALID_VALUE;
    address *pointers = calloc(MOST_PARAMETERS, sizeof *pointers);
    for (int i = 0; i < function->count; i++) pointers[i] = *(address *)parameters[i];
    return put(stream, (struct work){0, 0, 0, 0, function->code, function->name, grid, block,
                                     function->count, pointers});
}

/* ---- streams, events, graphs ------------------------------------------------------------------*/

status cuStreamCreate(struct stream **stream, unsigned flags) {
    IN_CONTEXT("cuStreamCreate");
    *stream = calloc(1, sizeof **stream);
    return flags == 1 ? SUCCESS : INVALID_VALUE;
}
status cuStreamSynchronize(void *stream) {
    IN_CONTEXT("cuStreamSynchronize");
    struct stream *open = captured(stream);
    if (!open) return SUCCESS;
    open->is_invalid = 1;
    return CAPTURE_UNSUPPORTED;
}
status cuStreamBeginCapture(struct stream *stream, int mode) {
    IN_CONTEXT("cuStreamBeginCapture");
    if ((uintptr_t)stream <= PER_THREAD || stream->captured) return INVALID_VALUE;
    stream->captured = calloc(1, sizeof *stream->captured);
    stream->is_invalid = 0;
    stream->mode = mode;
    capturing = stream;
    is_capturing_here = 1;
    return SUCCESS;
}
status cuStreamEndCapture(struct stream *stream, struct graph **graph) {
    IN_CONTEXT("cuStreamEndCapture");
    if (stream->mode != 2 && !is_capturing_here) return CAPTURE_WRONG_THREAD;
    *graph = stream->is_invalid ? NULL : stream->captured;
    stream->captured = NULL;
    capturing = NULL;
    is_capturing_here = 0;
    return *graph ? SUCCESS : CAPTURE_INVALIDATED;
}
status cuGraphInstantiateWithFlags(struct graph **executable, struct graph *graph, uint64_t flags) {
    NOT_CAPTURED("cuGraphInstantiate");
    *executable = malloc(sizeof **executable);
    **executable = *graph;
    return flags ? INVALID_VALUE : SUCCESS;
}
status cuGraphInstantiate(struct graph **e, struct graph *g, uint64_t flags) {
    return cuGraphInstantiateWithFlags(e, g, flags);
}
status cuGraphDestroy(struct graph *graph) {
    IN_CONTEXT("cuGraphDestroy");
    free(graph);
    return SUCCESS;
}
status cuGraphExecDestroy(struct graph *graph) {
    NOT_CAPTURED("cuGraphExecDestroy");
    free(graph);
    return SUCCESS;
}
status cuGraphLaunch(struct graph *graph, void *stream) {
    IN_CONTEXT("cuGraphLaunch");
    if (captured(stream)) return INVALID_VALUE;
    for (int i = 0; i < graph->count; i++) run(&graph->items[i]);
    return SUCCESS;
}
status cuEventCreate(void **event, unsigned flags) {
    IN_CONTEXT("cuEventCreate");
    (void)flags;
    *event = malloc(1);
    return SUCCESS;
}
status cuEventDestroy(void *event) { IN_CONTEXT("cuEventDestroy"); free(event); return SUCCESS; }
status cuEventRecord(void *event, void *stream) {
    IN_CONTEXT("cuEventRecord");
    return event && !captured(stream) ? SUCCESS : INVALID_HANDLE;
}
status cuStreamWaitEvent(void *stream, void *event, unsigned flags) {
    IN_CONTEXT("cuStreamWaitEvent");
    return event && !flags && !captured(stream) ? SUCCESS : INVALID_HANDLE;
}

/* ---- how the bindings find all this -----------------------------------------------------------*/

status cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags,
                           int *found) {
    (void)version, (void)flags;
    *function = dlsym(RTLD_DEFAULT, symbol);
    if (found) *found = *function ? 0 : 1;
    return *function ? SUCCESS : NOT_FOUND;
}
