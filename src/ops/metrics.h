/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a look (look.h) found, as numbers for Prometheus
 * (https://prometheus.io/docs/instrumenting/exposition_formats/, text format 0.0.4).
 */
#ifndef BYWAY_OPS_METRICS_H
#define BYWAY_OPS_METRICS_H

#include <jansson.h>

struct buf;

/* doc: as struct look has it. What an object does not say has no sample, and what has no sample no HELP
 * and TYPE. */
void metrics_format(const json_t *doc, struct buf *ret);

#endif
