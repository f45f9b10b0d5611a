/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is different between two looks, as events: byway.event/1.
 *
 * An event has event ("added", "changed", "removed", or "present" for what was there before), kind and id of
 * the object, its condition, and the object without what only counts and without the lists of others in it; when
 * it changed, was has the members that are not what they were, as they were.
 */
#ifndef BYWAY_OPS_CHANGES_H
#define BYWAY_OPS_CHANGES_H

#include <jansson.h>

/* Takes the reference. */
typedef void (*change_fn)(void *arg, json_t *event);
/* The event as it is told: with the schema, its number and the time. Takes the reference; a new one. */
json_t *changes_line(json_int_t seq, json_t *event);
/* What went first, then what changed or came, each in the order of look_walk(). */
void changes_find(const json_t *before, const json_t *after, change_fn fn, void *arg);
/* Everything, as present. */
void changes_snapshot(const json_t *doc, change_fn fn, void *arg);

#endif
