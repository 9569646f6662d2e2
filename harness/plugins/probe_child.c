#include "plugins/probe_child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "plugins/load.h"
#include "plugins/probe.h"

static void say(int report, const zeb_probe_message *message) {
    while (write(report, message, sizeof *message) < 0 && errno == EINTR)
        continue;
}

static void say_step(int report, const char *step) {
    zeb_probe_message message = {.kind = ZEB_PROBE_STEP};
    (void)zeb_fail(&message.as.text, ZEB_OK, "%s", step);
    say(report, &message);
}

static zeb_status try_backend(const zeb_backend *backend, int report, zeb_error *error) {
    uint32_t count = 0;
    zeb_error why = {0};
    say_step(report, "device_count");
    zeb_status status = backend->device_count(&count, &why);
    if (status != ZEB_OK) return zeb_fail(error, status, "its device_count failed: %s", why.text);
    say_step(report, "device_info");
    for (uint32_t i = 0; i < count && i < ZEB_PROBE_DEVICES_MAX; i++) {
        zeb_probe_message message = {.kind = ZEB_PROBE_DEVICE};
        status = backend->device_info(i, &message.as.device, &why);
        if (status != ZEB_OK) return zeb_fail(error, status, "its device_info(%u) failed: %s", i, why.text);
        if (memchr(message.as.device.id, '\0', sizeof message.as.device.id) == NULL || message.as.device.id[0] == '\0')
            return zeb_fail(error, ZEB_ERR_FORMAT, "its device_info(%u) gives no id", i);
        say(report, &message);
    }
    return ZEB_OK;
}

/* A sensor that is not on this machine is no fault of the plugin. */
static void try_sensor(const zeb_sensor_table *table, int report) {
    zeb_sensor *sensor = NULL;
    zeb_probe_message message = {.kind = ZEB_PROBE_SENSOR};
    say_step(report, "the sensor's open");
    message.status = table->open("", &sensor, &message.as.text);
    if (message.status == ZEB_OK) table->close(sensor);
    say(report, &message);
}

static zeb_status try_plugin(const char *name, const char *path, bool ask_devices, int report, zeb_error *error) {
    const zeb_plugin *plugin = NULL;
    say_step(report, "loading");
    zeb_status status = zeb_plugin_load(path, name, &plugin, error);
    if (status != ZEB_OK) return status;
    zeb_error why = {0};
    if (plugin->backend != NULL && ask_devices) status = try_backend(plugin->backend, report, &why);
    if (status != ZEB_OK) return zeb_fail(error, status, "%s: %s", path, why.text);
    if (plugin->sensor != NULL) try_sensor(plugin->sensor, report);
    return ZEB_OK;
}

/* Handlers of the program (or of a sanitizer) must not run on a plugin's crash: the signal is the message. */
static void reset_signals(void) {
    static const int caught[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGILL,  SIGTRAP, SIGABRT, SIGBUS, SIGFPE,
                                 SIGSEGV, SIGPIPE, SIGALRM, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD};
    sigset_t none;
    struct sigaction usual = {.sa_handler = SIG_DFL};
    for (size_t i = 0; i < sizeof caught / sizeof caught[0]; i++)
        (void)sigaction(caught[i], &usual, NULL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

void zeb_probe_child(const char *name, const char *path, bool ask_devices, int report) {
    zeb_probe_message done = {.kind = ZEB_PROBE_DONE};
    const struct rlimit no_core = {0, 0};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setrlimit(RLIMIT_CORE, &no_core);
    reset_signals();
    done.status = try_plugin(name, path, ask_devices, report, &done.as.text);
    say(report, &done);
    _exit(0);
}
