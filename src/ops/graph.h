/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The topology in Graphviz' language (https://graphviz.org/doc/info/lang.html). */
#ifndef BYWAY_OPS_GRAPH_H
#define BYWAY_OPS_GRAPH_H

#include <jansson.h>

struct buf;
struct err;

/* doc: as struct look has it. Names in it may be any text. */
void graph_dot(const json_t *doc, struct buf *ret);
/* The same drawn by dot(1): ERR_UNSUPPORTED, with the package's name, when it is not installed. */
int graph_svg(const json_t *doc, struct buf *ret, struct err *err);

#endif
