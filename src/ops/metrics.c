// SPDX-License-Identifier: GPL-2.0-or-later
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "ops/look.h"
#include "ops/metrics.h"
#include "ops/tunnel.h"
#include "session/life.h"

struct scope;

struct metric {
	const char *name, *type, *help;
	const char *key; /* of the object, when put looks at one only */
	/* Adds the samples of one object. */
	void (*put)(struct buf *b, const struct metric *m, const struct scope *s, const json_t *o);
};

/* A kind of objects. */
struct scope {
	const char *kind;    /* of look_walk() */
	const char *noun;    /* the label that has the object's name; NULL: it has none */
	const char *more[3]; /* keys that are labels of every sample, up to NULL */
	const char *state;   /* the key of what is one of states */
	const char *const *states;
	size_t n_states;
	const struct metric *metrics;
	size_t n_metrics;
};

/* ---- Samples ---- */

static void put_label(struct buf *b, const char *name, const char *value)
{
	buf_addf(b, "%s%s=\"", b->data[b->len - 1] == '{' ? "" : ",", name);
	for (; *value; value++) {
		if (*value == '\n')
			buf_adds(b, "\\n");
		else
			buf_addf(b, "%s%c", *value == '\\' || *value == '"' ? "\\" : "", *value);
	}
	buf_adds(b, "\"");
}

/* None is what an empty one is anyway. */
static void put_member(struct buf *b, const json_t *o, const char *key)
{
	const char *value = json_string_value(json_object_get(o, key));

	if (value && *value)
		put_label(b, key, value);
}

static void begin(struct buf *b, const struct metric *m, const struct scope *s, const json_t *o)
{
	buf_addf(b, "%s{", m->name);
	if (s->noun)
		put_label(b, s->noun, look_text(o, "name"));
	for (size_t i = 0; s->more[i]; i++)
		put_member(b, o, s->more[i]);
}

static void end(struct buf *b, json_int_t value)
{
	buf_addf(b, "} %lld\n", (long long)value);
}

static void put_number(struct buf *b, const struct metric *m, const struct scope *s,
		       const json_t *o)
{
	const json_t *v = json_object_get(o, m->key);

	if (!json_is_integer(v))
		return;
	begin(b, m, s, o);
	end(b, json_integer_value(v));
}

static bool is_state(const struct scope *s, const json_t *o, const char *state)
{
	return !strcmp(look_text(o, s->state), state);
}

static void put_up(struct buf *b, const struct metric *m, const struct scope *s, const json_t *o)
{
	begin(b, m, s, o);
	end(b, is_state(s, o, "up"));
}

/* One of them is 1, so that the others can be seen to be over. */
static void put_states(struct buf *b, const struct metric *m, const struct scope *s,
		       const json_t *o)
{
	for (size_t i = 0; i < s->n_states; i++) {
		begin(b, m, s, o);
		put_label(b, s->state, s->states[i]);
		end(b, is_state(s, o, s->states[i]));
	}
}

/* How many are in a list. */
static void put_size(struct buf *b, const struct metric *m, const struct scope *s, const json_t *o)
{
	begin(b, m, s, o);
	end(b, (json_int_t)json_array_size(json_object_get(o, m->key)));
}

static bool parse_time(const json_t *v, time_t *ret)
{
	const char *text = json_string_value(v);
	struct tm tm = {0};

	if (!text || !strptime(text, "%Y-%m-%dT%H:%M:%S", &tm))
		return false;
	*ret = timegm(&tm);
	return true;
}

static void put_time(struct buf *b, const struct metric *m, const struct scope *s, const json_t *o)
{
	time_t t;

	if (!parse_time(json_object_get(o, m->key), &t))
		return;
	begin(b, m, s, o);
	end(b, t);
}

static void put_last_error(struct buf *b, const struct metric *m, const struct scope *s,
			   const json_t *o)
{
	const json_t *error = json_object_get(o, "last_error");
	time_t t;

	if (!parse_time(json_object_get(error, "time"), &t))
		return;
	begin(b, m, s, o);
	put_member(b, error, "class");
	end(b, t);
}

static void put_info(struct buf *b, const struct metric *m, const struct scope *s, const json_t *o)
{
	static const char *const keys[] = {"group",     "server",    "protocol", "transport",
					   "namespace", "address",   "address6", "cidr",
					   "cidr6",     "interface", "bridge",   "type"};

	begin(b, m, s, o);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		put_member(b, o, keys[i]);
	end(b, 1);
}

/* ---- What there is to tell ---- */

/* Of whatever has a link on the host. */
#define LINK_METRICS(name, of)                                                                     \
	{"byway_" name "_info", "gauge", "What the " of " is; always 1.", NULL, put_info},         \
		{"byway_" name "_up", "gauge", "Whether the " of " is there, and its link up.",    \
		 NULL, put_up},                                                                    \
		{"byway_" name "_condition", "gauge",                                              \
		 "1 for the condition that the " of " is in, 0 for the others.", NULL,             \
		 put_states},                                                                      \
		{"byway_" name "_received_bytes_total", "counter",                                 \
		 "Bytes that came to the " of ".", "rx_bytes", put_number},                        \
		{"byway_" name "_transmitted_bytes_total", "counter",                              \
		 "Bytes that the " of " sent.", "tx_bytes", put_number},                           \
		{"byway_" name "_received_packets_total", "counter",                               \
		 "Packets that came to the " of ".", "rx_packets", put_number},                    \
		{"byway_" name "_transmitted_packets_total", "counter",                            \
		 "Packets that the " of " sent.", "tx_packets", put_number},                       \
		{"byway_" name "_received_dropped_total", "counter",                               \
		 "Packets to the " of " that its link dropped.", "rx_dropped", put_number},        \
	{                                                                                          \
		"byway_" name "_transmitted_dropped_total", "counter",                             \
			"Packets from the " of " that its link dropped.", "tx_dropped", put_number \
	}

#define LEASE_METRICS(name, of)                                                                    \
	{"byway_" name "_addresses_leased", "gauge", "IPv4 addresses of the " of " in use.",       \
	 "addresses_leased", put_number},                                                          \
	{                                                                                          \
		"byway_" name "_addresses_free", "gauge",                                          \
			"IPv4 addresses of the " of " to be had.", "addresses_free", put_number    \
	}

static const struct metric interface_metrics[] = {
	LINK_METRICS("interface", "interface"),
};

static const struct metric vpc_metrics[] = {
	LINK_METRICS("vpc", "VPC's gateway"),
	LEASE_METRICS("vpc", "VPC"),
	{"byway_vpc_subnets", "gauge", "Subnets of the VPC.", "subnets", put_size},
	{"byway_vpc_ports", "gauge", "VMs and containers of the VPC.", "vms", put_size},
	{"byway_vpc_peers", "gauge", "VPCs that the VPC is peered with.", "peers", put_size},
};

static const struct metric nat_metrics[] = {
	{"byway_nat_info", "gauge", "By which interface the VPC goes out; always 1.", NULL,
	 put_info},
	{"byway_nat_up", "gauge", "Whether the VPC's NAT is on.", NULL, put_up},
};

static const struct metric peering_metrics[] = {
	{"byway_peering_up", "gauge", "Whether the VPCs may reach each other.", NULL, put_up},
};

static const struct metric subnet_metrics[] = {
	LINK_METRICS("subnet", "subnet"),
	LEASE_METRICS("subnet", "subnet"),
};

static const struct metric vm_metrics[] = {
	LINK_METRICS("vm", "virtual machine"),
};

static const struct metric container_metrics[] = {
	LINK_METRICS("container", "container"),
};

static const struct metric tunnel_metrics[] = {
	{"byway_tunnel_up", "gauge", "Whether what is captured reaches the other side.", NULL,
	 put_up},
	{"byway_tunnel_state", "gauge", "1 for the state that the tunnel is in, 0 for the others.",
	 NULL, put_states},
	{"byway_tunnel_start_time_seconds", "gauge", "When the tunnel was made, in Unix time.",
	 "since", put_time},
	{"byway_tunnel_received_bytes_total", "counter",
	 "Bytes of TCP that came out of the tunnel.", "bytes_down", put_number},
	{"byway_tunnel_transmitted_bytes_total", "counter",
	 "Bytes of TCP that went into the tunnel.", "bytes_up", put_number},
	{"byway_tunnel_flows", "gauge", "TCP connections in the tunnel.", "flows", put_number},
	{"byway_tunnel_accepted_total", "counter", "TCP connections that reached their target.",
	 "accepted", put_number},
	{"byway_tunnel_refused_total", "counter", "TCP connections that were refused.", "refused",
	 put_number},
	{"byway_tunnel_unreachable_total", "counter",
	 "TCP connections whose target was unreachable or forbidden.", "unreachable", put_number},
	{"byway_tunnel_retransmits_total", "counter",
	 "TCP segments that were sent to the captured side again.", "retransmits", put_number},
};

static const struct metric session_metrics[] = {
	{"byway_session_info", "gauge", "What the session is; always 1.", NULL, put_info},
	{"byway_session_up", "gauge", "Whether the session is up.", NULL, put_up},
	{"byway_session_state", "gauge",
	 "1 for the state that the session is in, 0 for the others.", NULL, put_states},
	{"byway_session_state_since_seconds", "gauge", "Since when it is, in Unix time.", "since",
	 put_time},
	{"byway_session_received_bytes_total", "counter", "Bytes that came out of the tunnel.",
	 "bytes_in", put_number},
	{"byway_session_transmitted_bytes_total", "counter", "Bytes that went into the tunnel.",
	 "bytes_out", put_number},
	{"byway_session_restarts_total", "counter", "Times that openconnect was started again.",
	 "restarts", put_number},
	{"byway_session_auth_failures", "gauge", "Authentications that were refused, in a row.",
	 "auth_failures", put_number},
	{"byway_session_next_retry_seconds", "gauge",
	 "When openconnect is started again, in Unix time.", "next_retry", put_time},
	{"byway_session_last_error_seconds", "gauge", "When the session failed last, in Unix time.",
	 NULL, put_last_error},
};

static const struct metric egress_metrics[] = {
	{"byway_egress_up", "gauge", "Whether what goes out by the egress gets through.", NULL,
	 put_up},
	{"byway_egress_state", "gauge", "1 for the state that the egress is in, 0 for the others.",
	 NULL, put_states},
	{"byway_egress_users", "gauge", "Workloads that may go out by the egress.", "users",
	 put_size},
	{"byway_egress_received_bytes_total", "counter", "Bytes that came out of its tunnel.",
	 "bytes_down", put_number},
	{"byway_egress_transmitted_bytes_total", "counter", "Bytes that went into its tunnel.",
	 "bytes_up", put_number},
};

static const struct metric host_metrics[] = {
	{"byway_host_up", "gauge", "Whether one of the egresses that the host goes out by is up.",
	 NULL, put_up},
};

static const char *const host_states[] = {"up", "blocked"};
static const char *const egress_states[] = {"down",         "connecting", "starting", "up",
					    "reconnecting", "error",      "killed"};
static const char *const tunnel_states[] = {"down",         "connecting", "up",
					    "reconnecting", "error",      "killed"};
static const char *const session_states[] = {"down", "starting", "up", "reconnecting", "error"};
static_assert(ARRAY_SIZE(tunnel_states) == TUNNEL_NUM_STATES, "tunnel_states[] is not complete");
static_assert(ARRAY_SIZE(session_states) == SESSION_NUM_STATES, "session_states[] is not complete");

static const char *const conditions[] = {CONDITION_UP,      CONDITION_IDLE, CONDITION_DOWN,
					 CONDITION_MISSING, "creating",     "deleting"};

#define METRICS(table) .metrics = table, .n_metrics = ARRAY_SIZE(table)
#define STATES(key, table) .state = key, .states = table, .n_states = ARRAY_SIZE(table)

static const struct scope scopes[] = {
	{"interface",
	 "interface",
	 {NULL},
	 STATES("condition", conditions),
	 METRICS(interface_metrics)},
	{"vpc", "vpc", {NULL}, STATES("condition", conditions), METRICS(vpc_metrics)},
	{"nat", NULL, {"vpc"}, STATES("condition", conditions), METRICS(nat_metrics)},
	{"peer", NULL, {"a", "b"}, STATES("condition", conditions), METRICS(peering_metrics)},
	{"subnet", "subnet", {"vpc"}, STATES("condition", conditions), METRICS(subnet_metrics)},
	{"vm", "vm", {"network", "subnet"}, STATES("condition", conditions), METRICS(vm_metrics)},
	{"container",
	 "container",
	 {"network", "subnet"},
	 STATES("condition", conditions),
	 METRICS(container_metrics)},
	{"tunnel", "tunnel", {"kind"}, STATES("state", tunnel_states), METRICS(tunnel_metrics)},
	{"session", "session", {NULL}, STATES("state", session_states), METRICS(session_metrics)},
	{"egress", "egress", {"kind"}, STATES("state", egress_states), METRICS(egress_metrics)},
	{"host", "host", {NULL}, STATES("state", host_states), METRICS(host_metrics)},
};

struct pick {
	const char *kind;
	json_t *ret;
};

static void pick(void *arg, const struct look_object *o)
{
	const struct pick *p = arg;

	if (!strcmp(o->kind, p->kind))
		json_array_append(p->ret, o->json);
}

/* All samples of a metric stand together, behind what it is. */
static void put_metric(struct buf *ret, const struct metric *m, const struct scope *s,
		       const json_t *objects)
{
	_buf_ struct buf samples = {0};
	const json_t *o;
	size_t i;

	json_array_foreach(objects, i, o) m->put(&samples, m, s, o);
	if (samples.len)
		buf_addf(ret, "# HELP %s %s\n# TYPE %s %s\n%s", m->name, m->help, m->name, m->type,
			 samples.data);
}

static void put_scope(struct buf *ret, const struct scope *s, const json_t *doc)
{
	struct pick p = {.kind = s->kind, .ret = json_array()};

	look_walk(doc, pick, &p);
	for (size_t i = 0; i < s->n_metrics; i++)
		put_metric(ret, &s->metrics[i], s, p.ret);
	json_decref(p.ret);
}

void metrics_format(const json_t *doc, struct buf *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(scopes); i++)
		put_scope(ret, &scopes[i], doc);
}
