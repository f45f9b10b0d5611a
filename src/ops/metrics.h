/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The status of tunnels and sessions as numbers for Prometheus
 * (https://prometheus.io/docs/instrumenting/exposition_formats/, text format 0.0.4).
 */
#ifndef BYWAY_OPS_METRICS_H
#define BYWAY_OPS_METRICS_H

#include <jansson.h>

struct buf;

/* Arrays of objects as ops_tunnel_status() and ops_session_status() give them. What an object does
 * not say has no sample, and what has no sample no HELP and TYPE. */
void metrics_format(const json_t *tunnels, const json_t *sessions, struct buf *ret);

#endif
