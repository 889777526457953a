/* A driver without a device, for the tests: memory is memory of this machine, a launch is handed to
   whoever said that it takes launches, and the rules that a real driver has are kept.

   It stands where libcuda.so.1 does, so that what is tested are the calls as they leave the real
   Python bindings: a wrong type, order or number of arguments ends up here.

   fake_on_launch(function)      who runs kernels, and gives an error or 0
   fake_explain(text)            what the next error means
   fake_blocks(starts, sizes, n) which memory was handed out
   fake_fail(name, times, error) calls of that name give an error
   fake_calls(name)              how often it was called
   fake_say(setting, value)      what the device says of itself: "count", "major", "minor", and
                                 which "version" the driver is of
   fake_set_conditional(handle, value)   what a kernel that runs calls as cudaGraphSetConditional  */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int status;
typedef uint64_t address;
typedef status (*launcher)(const char *code, const char *name, unsigned grid, unsigned block,
                           int count, const address *pointers);

enum {
    SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100,
    INVALID_DEVICE = 101, INVALID_IMAGE = 200, INVALID_CONTEXT = 201, INVALID_HANDLE = 400,
    NOT_FOUND = 500, ILLEGAL_ADDRESS = 700, LAUNCH_TIMEOUT = 702, NOT_SUPPORTED = 801,
    CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901, CAPTURE_WRONG_THREAD = 908,
};
enum { GRAPHS_DECIDE = 12040, BRANCHES_OF_TWO = 12080, EDGES_HAVE_DATA = 12030 };
enum { LEGACY = 1, PER_THREAD = 2, MOST = 4096, MOST_PARAMETERS = 4096 };

/* ---- what the tests say and ask ---------------------------------------------------------------*/

struct counter { char name[48]; int calls, fails, error; };
static struct counter counters[64];
static int count_of_devices = 1, major = 9, minor = 0, driver_version = 12090;
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
    *(!strcmp(setting, "count")     ? &count_of_devices
      : !strcmp(setting, "major")   ? &major
      : !strcmp(setting, "version") ? &driver_version
                                    : &minor) = value;
}

/* What the next error is explained by, "" for nothing. */
static char why[2000];
void fake_explain(const char *text) { snprintf(why, sizeof why, "%s", text); }

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

enum { KERNEL, COPY, HOST_COPY, CONDITIONAL };
enum { IF, WHILE, SWITCH };
struct work { int kind; char *target, *source; size_t bytes;
              const char *code, *name; unsigned grid, block; int count; address *pointers;
              int decision; unsigned size; struct graph **bodies; uint64_t handle; };
struct graph { struct work **items; int count; struct graph *outer; uint64_t id; };
struct stream { struct graph *captured; int is_invalid, mode; struct work *last; };
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

/* The first blocks of memory that are handed out, and how many there are. */
int fake_blocks(address *starts, uint64_t *sizes, int most) {
    int count = 0;
    for (int i = 0; i < MOST; i++)
        if (blocks[i].start) {
            if (count < most) {
                starts[count] = (address)blocks[i].start;
                sizes[count] = blocks[i].size;
            }
            count++;
        }
    return count;
}

static struct stream *captured(void *stream) {
    return (uintptr_t)stream > PER_THREAD && ((struct stream *)stream)->captured ? stream : NULL;
}

static struct graph *new_graph(struct graph *outer) {
    static uint64_t number;
    struct graph *graph = calloc(1, sizeof *graph);
    graph->outer = outer;
    graph->id = ++number;
    return graph;
}

static status failed_on_device;            /* what a kernel did that it must not do */

static status decide(const struct work *work);

static status run(const struct work *work) {
    failed_on_device = SUCCESS;
    if (work->kind == CONDITIONAL) return decide(work);
    if (work->kind != KERNEL) {
        memmove(work->target, work->source, work->bytes);
        return SUCCESS;
    }
    status failed = run_kernel(work->code, work->name, work->grid, work->block, work->count,
                               work->pointers);
    return failed ? failed : failed_on_device;
}

static struct work *add(struct graph *graph, struct work work) {
    graph->items = realloc(graph->items, (graph->count + 1) * sizeof *graph->items);
    struct work *made = graph->items[graph->count++] = malloc(sizeof work);
    *made = work;
    return made;
}

static status put(void *stream, struct work work) {
    struct stream *open = captured(stream);
    if (!open) return run(&work);
    if (open->is_invalid) return CAPTURE_INVALIDATED;
    open->last = add(open->captured, work);
    return SUCCESS;
}

status cuInit(unsigned flags) {
    status failed = told("cuInit");
    if (failed) return failed;
    is_started = 1;
    return flags ? INVALID_VALUE : SUCCESS;
}
status cuDriverGetVersion(int *version) { *version = driver_version; return SUCCESS; }
status cuGetErrorString(status error, const char **text) {
    (void)error;
    static char told[sizeof why];
    *text = "so it is";
    if (why[0]) {
        *text = strcpy(told, why);
        why[0] = 0;
    }
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
    return put(stream, (struct work){.kind = HOST_COPY, .target = (char *)target,
                                     .source = (char *)source, .bytes = bytes});
}
status cuMemcpyDtoHAsync(void *target, address source, size_t bytes, void *stream) {
    IN_CONTEXT("cuMemcpyDtoHAsync");
    if (!holds((char *)source, bytes)) return INVALID_VALUE;
    return put(stream, (struct work){.kind = HOST_COPY, .target = target,
                                     .source = (char *)source, .bytes = bytes});
}
status cuMemcpyDtoDAsync(address target, address source, size_t bytes, void *stream) {
    IN_CONTEXT("cuMemcpyDtoDAsync");
    if (!holds((char *)source, bytes) || !holds((char *)target, bytes)) return INVALID_VALUE;
    return put(stream, (struct work){.kind = COPY, .target = (char *)target,
                                     .source = (char *)source, .bytes = bytes});
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
    return put(stream, (struct work){.kind = KERNEL, .code = function->code,
                                     .name = function->name, .grid = grid, .block = block,
                                     .count = function->count, .pointers = pointers});
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
static status begin(struct stream *stream, struct graph *graph, struct work *last, int mode) {
    if ((uintptr_t)stream <= PER_THREAD || stream->captured) return INVALID_VALUE;
    *stream = (struct stream){graph, 0, mode, last};
    capturing = stream;
    is_capturing_here = 1;
    return SUCCESS;
}
status cuStreamBeginCapture(struct stream *stream, int mode) {
    IN_CONTEXT("cuStreamBeginCapture");
    return begin(stream, new_graph(NULL), NULL, mode);
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

/* ---- graphs that decide: conditional nodes ----------------------------------------------------*/

struct handle { uint64_t graph; unsigned value, at_launch, flags; int is_used, is_set; };
static struct handle handles[MOST];
static uint64_t count_of_handles;
static const struct graph *running;        /* the graph, or the body, whose work is being done */
static const uint64_t FIRST_HANDLE = 0xC0DE00000000;

static struct handle *handle_of(uint64_t number) {
    uint64_t index = number - FIRST_HANDLE;
    return index < count_of_handles ? &handles[index] : NULL;
}

/* What becomes of a graph has its number. */
static int is_inside(const struct graph *graph, uint64_t outer) {
    for (; graph; graph = graph->outer)
        if (graph->id == outer) return 1;
    return 0;
}

/* Work in a graph is done in order here: what is added must come after all that is there. */
static int is_ordered(const struct graph *graph, struct work **after, size_t count) {
    if (graph->count != 0 && !count) return 0;
    for (size_t i = 0; i < count; i++) {
        int is_here = 0;
        for (int j = 0; j < graph->count; j++) is_here |= graph->items[j] == after[i];
        if (!is_here) return 0;
    }
    return !count || graph->items[graph->count - 1] == after[count - 1];
}

/* Edges that say nothing, or whose data say nothing. */
static int are_plain(const void *data, size_t count) {
    for (size_t i = 0; data && i < 8 * count; i++)
        if (((const char *)data)[i]) return 0;
    return 1;
}

static int is_being_captured(const struct graph *graph) {
    return capturing && capturing->captured == graph;
}

status cuGraphCreate(struct graph **graph, unsigned flags) {
    IN_CONTEXT("cuGraphCreate");
    *graph = new_graph(NULL);
    return flags ? INVALID_VALUE : SUCCESS;
}
status cuStreamBeginCaptureToGraph(struct stream *stream, struct graph *graph, struct work **after,
                                   const void *data, size_t count, int mode) {
    IN_CONTEXT("cuStreamBeginCaptureToGraph");
    if (!are_plain(data, count) || is_being_captured(graph) || !is_ordered(graph, after, count))
        return INVALID_VALUE;
    return begin(stream, graph, count ? after[count - 1] : NULL, mode);
}
status cuStreamGetCaptureInfo(struct stream *stream, int *state, uint64_t *number,
                              struct graph **graph, struct work ***last, const void **data,
                              size_t *count) {
    static const char plain_edge[8];
    IN_CONTEXT("cuStreamGetCaptureInfo");
    *state = !stream->captured ? 0 : stream->is_invalid ? 2 : 1;
    if (number) *number = 1;
    if (graph) *graph = stream->captured;
    if (last) *last = &stream->last;
    if (data) *data = plain_edge;
    if (count) *count = stream->last != NULL;
    return SUCCESS;
}
status cuGraphConditionalHandleCreate(uint64_t *made, struct graph *graph, void *context,
                                      unsigned at_launch, unsigned flags) {
    IN_CONTEXT("cuGraphConditionalHandleCreate");
    if (driver_version < GRAPHS_DECIDE) return NOT_SUPPORTED;
    if (context != &primary || flags > 1 || count_of_handles == MOST) return INVALID_VALUE;
    handles[count_of_handles] = (struct handle){graph->id, 0, at_launch, flags, 0, 0};
    *made = FIRST_HANDLE + count_of_handles++;
    return SUCCESS;
}

struct node_parameters {
    int type, reserved[3];
    struct { uint64_t handle; int decision; unsigned size; struct graph **bodies; void *context; }
        conditional;
};

status cuGraphAddNode(struct work **node, struct graph *graph, struct work **after,
                      const void *data, size_t count, struct node_parameters *parameters) {
    IN_CONTEXT("cuGraphAddNode");
    unsigned size = parameters->conditional.size;
    int decision = parameters->conditional.decision;
    struct handle *handle = handle_of(parameters->conditional.handle);
    if (parameters->type != 13 || driver_version < GRAPHS_DECIDE) return NOT_SUPPORTED;
    if (driver_version < BRANCHES_OF_TWO && (size > 1 || decision == SWITCH)) return INVALID_VALUE;
    if (size < 1 || (size > 1 && decision == WHILE) || (size > 2 && decision == IF) ||
        decision > SWITCH)
        return INVALID_VALUE;
    if (!handle || handle->is_used || !is_inside(graph, handle->graph) ||
        parameters->conditional.context != &primary)
        return INVALID_VALUE;
    if (!are_plain(data, count) || is_being_captured(graph) || !is_ordered(graph, after, count))
        return INVALID_VALUE;
    struct graph **bodies = calloc(size, sizeof *bodies);
    for (unsigned i = 0; i < size; i++) bodies[i] = new_graph(graph);
    handle->is_used = 1;
    parameters->conditional.bodies = bodies;
    *node = add(graph, (struct work){.kind = CONDITIONAL, .decision = decision, .size = size,
                                     .bodies = bodies, .handle = parameters->conditional.handle});
    return SUCCESS;
}

/* Called by a kernel.  Only one that runs in a graph may, and a handle is of one graph: it is set
   from there, or from a body inside of it. */
void fake_set_conditional(uint64_t number, unsigned value) {
    struct handle *handle = handle_of(number);
    if (!handle || !is_inside(running, handle->graph)) {
        failed_on_device = ILLEGAL_ADDRESS;
        return;
    }
    handle->value = value;
    handle->is_set = 1;
}

static status run_all(const struct graph *graph) {
    const struct graph *before = running;
    status failed = SUCCESS;
    running = graph;
    for (int i = 0; i < graph->count && !failed; i++) failed = run(graph->items[i]);
    running = before;
    return failed;
}

static status decide(const struct work *work) {
    struct handle *handle = handle_of(work->handle);
    if (!handle->is_set) return ILLEGAL_ADDRESS; /* a real one would decide somehow */
    status failed = SUCCESS;
    if (work->decision == WHILE) {
        for (int turns = 0; handle->value && !failed; turns++)
            failed = turns == 1 << 20 ? LAUNCH_TIMEOUT : run_all(work->bodies[0]);
        return failed;
    }
    unsigned body = work->decision == SWITCH ? handle->value : !handle->value;
    return body < work->size ? run_all(work->bodies[body]) : SUCCESS;
}

static void start_handles(const struct graph *graph) {
    for (uint64_t i = 0; i < count_of_handles; i++)
        if (is_inside(graph, handles[i].graph)) {
            handles[i].is_set = 0;
            if (handles[i].flags) handles[i].value = handles[i].at_launch;
        }
    for (int i = 0; i < graph->count; i++)
        for (unsigned j = 0; j < graph->items[i]->size; j++)
            start_handles(graph->items[i]->bodies[j]);
}

/* ---- what becomes of graphs -------------------------------------------------------------------*/

static struct graph *copied(struct graph *graph, struct graph *outer) {
    struct graph *copy = malloc(sizeof *copy);
    struct work **items = calloc(graph->count + 1, sizeof *items);
    *copy = (struct graph){items, graph->count, outer, graph->id};
    for (int i = 0; i < graph->count; i++) {
        struct work *work = copy->items[i] = malloc(sizeof *work);
        *work = *graph->items[i];
        if (work->size) work->bodies = calloc(work->size, sizeof *work->bodies);
        for (unsigned j = 0; j < work->size; j++)
            work->bodies[j] = copied(graph->items[i]->bodies[j], copy);
    }
    return copy;
}

static void let_go(struct graph *graph) {
    for (int i = 0; i < graph->count; i++) {
        for (unsigned j = 0; j < graph->items[i]->size; j++) let_go(graph->items[i]->bodies[j]);
        if (graph->items[i]->size) free(graph->items[i]->bodies);
        free(graph->items[i]);
    }
    free(graph->items);
    free(graph);
}

static status checked(const struct graph *graph, int is_body) {
    for (uint64_t i = 0; i < count_of_handles; i++)
        if (handles[i].graph == graph->id && !handles[i].is_used) return INVALID_VALUE;
    for (int i = 0; i < graph->count; i++) {
        if (is_body && graph->items[i]->kind == HOST_COPY) return NOT_SUPPORTED;
        for (unsigned j = 0; j < graph->items[i]->size; j++) {
            status failed = checked(graph->items[i]->bodies[j], 1);
            if (failed) return failed;
        }
    }
    return SUCCESS;
}

status cuGraphInstantiateWithFlags(struct graph **executable, struct graph *graph, uint64_t flags) {
    NOT_CAPTURED("cuGraphInstantiate");
    status failed = flags || is_being_captured(graph) ? INVALID_VALUE : checked(graph, 0);
    if (!failed) *executable = copied(graph, NULL);
    return failed;
}
status cuGraphInstantiate(struct graph **e, struct graph *g, uint64_t flags) {
    return cuGraphInstantiateWithFlags(e, g, flags);
}
status cuGraphDestroy(struct graph *graph) {
    IN_CONTEXT("cuGraphDestroy");
    if (graph->outer) return INVALID_VALUE;
    let_go(graph);
    return SUCCESS;
}
status cuGraphExecDestroy(struct graph *graph) {
    NOT_CAPTURED("cuGraphExecDestroy");
    let_go(graph);
    return SUCCESS;
}
status cuGraphLaunch(struct graph *graph, void *stream) {
    IN_CONTEXT("cuGraphLaunch");
    if (captured(stream)) return INVALID_VALUE;
    start_handles(graph);
    return run_all(graph);
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
    (void)flags;
    *function = dlsym(RTLD_DEFAULT, symbol);
    /* What was there before edges had data took other arguments. */
    if (version < EDGES_HAVE_DATA &&
        (!strcmp(symbol, "cuGraphAddNode") || !strcmp(symbol, "cuStreamGetCaptureInfo")))
        *function = NULL;
    if (found) *found = *function ? 0 : 1;
    return *function ? SUCCESS : NOT_FOUND;
}
