/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Progress and errors, on stderr; under systemd with its priority prefixes (sd-daemon(3)).
 * Only src/ops and the fronts log errors: one failure, one message.
 */
#ifndef BYWAY_BASE_LOG_H
#define BYWAY_BASE_LOG_H

#include "base/util.h"

enum log_level { LOG_LEVEL_NONE = -1, LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level);

void log_write(enum log_level level, const char *fmt, ...) _printf_(2, 3);
#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
