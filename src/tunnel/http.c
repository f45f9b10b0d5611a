// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A state per place where bytes may be split. A header's line is looked at when the first byte of
 * the next one has come, because until then it may be continued (obs-fold, RFC 9112 5.2). Of a
 * line longer than the buffer the rest is passed over; a challenge that is cut counts as one that
 * cannot be met.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/util.h"
#include "tunnel/http.h"

enum state {
	IN_STATUS,  /* in the status line */
	LINE_START, /* behind a line break; the line before is complete in the buffer */
	IN_LINE,    /* in a header's line */
	AT_CR,      /* behind a CR, which a LF must follow */
	AT_LAST_CR, /* the same on the empty line */
	COMPLETE,
};

#define CUT 0x100u       /* flag beside the state: the line is longer than the buffer */
#define OF_STATUS 0x200u /* flag: the line in the buffer is the status line */

static const char version[] = "HTTP/1.";

/* ---- Small lexing ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* tchar, RFC 9110 5.6.2 */
static bool is_token(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static const char *skip_blanks(const char *p)
{
	while (is_blank(*p))
		p++;
	return p;
}

static size_t token_len(const char *p)
{
	size_t n = 0;

	while (is_token(p[n]))
		n++;
	return n;
}

static bool token_is(const char *p, size_t len, const char *word)
{
	return strlen(word) == len && !strncasecmp(p, word, len);
}

/* ---- Proxy-Authenticate ---- */

/* A parameter's value, quotes and escapes taken off. False when it does not fit, or does not
 * end. */
static bool take_value(const char **p, char *ret, size_t size)
{
	const char *s = *p;
	bool quoted = *s == '"', fits = true;
	size_t n = 0;

	for (s += quoted; quoted ? *s && *s != '"' : *s && *s != ',' && !is_blank(*s); s++) {
		if (quoted && *s == '\\' && s[1])
			s++;
		if (n + 1 < size)
			ret[n++] = *s;
		else
			fits = false;
	}
	ret[n] = '\0';
	fits = fits && (!quoted || *s == '"');
	*p = s + (quoted && *s == '"');
	return fits;
}

struct challenge {
	struct digest_challenge digest;
	bool digestible; /* Digest, and nothing in it that we cannot do */
	bool has_realm, has_nonce, has_qop, stale;
};

/* A list in a string: qop="auth,auth-int" */
static bool list_has(const char *list, const char *word)
{
	while (*list) {
		size_t len = token_len(list);

		if (token_is(list, len, word))
			return true;
		list += len ? len : 1;
	}
	return false;
}

static void take_qop(struct challenge *c, const char *value)
{
	c->has_qop = true;
	c->digest.qop_auth = list_has(value, "auth");
	if (!c->digest.qop_auth)
		c->digestible = false;
}

static void take_parameter(struct challenge *c, const char *name, size_t len, const char **p)
{
	struct digest_challenge *d = &c->digest;
	char value[64];
	bool fits = true;

	if (token_is(name, len, "realm")) {
		fits = take_value(p, d->realm, sizeof(d->realm));
		c->has_realm = true;
	} else if (token_is(name, len, "nonce")) {
		fits = take_value(p, d->nonce, sizeof(d->nonce));
		c->has_nonce = true;
	} else if (token_is(name, len, "opaque")) {
		fits = take_value(p, d->opaque, sizeof(d->opaque));
		d->has_opaque = true;
	} else if (take_value(p, value, sizeof(value))) {
		if (token_is(name, len, "algorithm"))
			fits = digest_algorithm_parse(value, strlen(value), d) == 0;
		else if (token_is(name, len, "qop"))
			take_qop(c, value);
		else if (token_is(name, len, "stale"))
			c->stale = !strcasecmp(value, "true");
	} else if (token_is(name, len, "algorithm") || token_is(name, len, "qop")) {
		fits = false;
	}
	if (!fits)
		c->digestible = false;
}

static void end_challenge(struct http_response *r, const struct challenge *c)
{
	if (!c->digestible || !c->has_realm || !c->has_nonce || r->wants_digest)
		return;
	r->wants_digest = true;
	r->stale = c->stale;
	r->challenge = c->digest;
}

static void begin_challenge(struct http_response *r, struct challenge *c, const char *scheme,
			    size_t len)
{
	*c = (struct challenge){.digestible = token_is(scheme, len, "Digest")};
	if (token_is(scheme, len, "Basic"))
		r->wants_basic = true;
	if (!r->scheme[0])
		str_printable(r->scheme, sizeof(r->scheme), scheme, len);
}

/*
 * A list of challenges, each a scheme and a list of parameters, all separated by commas (RFC 9110
 * 11.6.1): a token with "=" behind it is a parameter, any other begins a challenge. The "==" at
 * the end of a token68 ends up as a parameter without a value, which nobody asks for.
 */
static void take_challenges(struct http_response *r, const char *p, bool cut)
{
	struct challenge c = {0};

	for (;;) {
		size_t len;
		const char *word, *behind;

		while (is_blank(*p) || *p == ',')
			p++;
		len = token_len(p);
		if (!len && *p) { /* of a token68 */
			p++;
			continue;
		}
		if (!len)
			break;
		word = p;
		behind = skip_blanks(p + len);
		if (*behind == '=') {
			p = skip_blanks(behind + 1);
			take_parameter(&c, word, len, &p);
		} else {
			end_challenge(r, &c);
			begin_challenge(r, &c, word, len);
			p += len;
		}
	}
	if (!cut)
		end_challenge(r, &c);
}

/* ---- Lines ---- */

/* Squid's own word on why; of Proxy-Status (a list, the nearest proxy last) the last error. */
static void take_proxy_status(struct http_response *r, const char *value)
{
	const char *error = NULL;

	for (const char *p = value; (p = strcasestr(p, "error=")); p++)
		error = p + strlen("error=");
	if (error && !r->cause[0])
		str_printable(r->cause, sizeof(r->cause), error, token_len(error));
}

static int take_header(struct http_response *r, bool cut)
{
	size_t len = token_len(r->line);
	const char *value;

	if (!len || (r->line[len] != ':' && !(cut && !r->line[len])))
		return -EBADMSG;
	if (r->line[len] != ':') /* a name longer than the buffer */
		return 0;
	value = skip_blanks(r->line + len + 1);
	if (token_is(r->line, len, "Proxy-Authenticate"))
		take_challenges(r, value, cut);
	else if (token_is(r->line, len, "X-Squid-Error"))
		str_printable(r->cause, sizeof(r->cause), value, strlen(value));
	else if (token_is(r->line, len, "Proxy-Status"))
		take_proxy_status(r, value);
	return 0;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "HTTP/1.1 200 Connection established"; the phrase, and the blank before it, may be absent. */
static int take_status(struct http_response *r)
{
	const char *p = r->line + strlen(version);

	if (r->len < strlen("HTTP/1.1 200") || strncmp(r->line, version, strlen(version)) != 0 ||
	    !is_digit(p[0]) || p[1] != ' ' || !is_digit(p[2]) || !is_digit(p[3]) ||
	    !is_digit(p[4]) || (p[5] && p[5] != ' '))
		return -EBADMSG;
	r->status = (unsigned int)((p[2] - '0') * 100 + (p[3] - '0') * 10 + (p[4] - '0'));
	if (r->status < 100 || r->status > 599)
		return -EBADMSG;
	p = skip_blanks(p + 5);
	str_printable(r->phrase, sizeof(r->phrase), p, strlen(p));
	return 0;
}

static int take_line(struct http_response *r)
{
	bool cut = r->state & CUT, of_status = r->state & OF_STATUS;
	int err;

	while (r->len && is_blank(r->line[r->len - 1]))
		r->len--;
	r->line[r->len] = '\0';
	err = of_status ? take_status(r) : take_header(r, cut);
	r->len = 0;
	r->state &= ~(CUT | OF_STATUS);
	return err;
}

/* ---- The machine ---- */

void http_response_init(struct http_response *r)
{
	r->status = 0;
	r->phrase[0] = r->cause[0] = r->scheme[0] = '\0';
	r->wants_basic = r->wants_digest = r->stale = false;
	r->total = r->len = 0;
	r->state = IN_STATUS | OF_STATUS;
}

static void set_state(struct http_response *r, enum state state)
{
	r->state = (r->state & (CUT | OF_STATUS)) | state;
}

static void add_byte(struct http_response *r, char c)
{
	if (r->len + 1 < sizeof(r->line))
		r->line[r->len++] = c;
	else
		r->state |= CUT;
}

/* A byte of a line. Of control characters only the tab is one (RFC 9110 5.5). */
static int line_byte(struct http_response *r, char c)
{
	unsigned char u = (unsigned char)c;

	if (c == '\r') {
		set_state(r, AT_CR);
		return 0;
	}
	if (c == '\n') {
		set_state(r, LINE_START);
		return 0;
	}
	if ((u < ' ' && c != '\t') || u == 0x7f)
		return -EBADMSG;
	add_byte(r, c);
	return 0;
}

/* Recognizes at its first byte what is no HTTP at all, and may never end its line. */
static int status_byte(struct http_response *r, char c)
{
	if (r->len < strlen(version) && c != version[r->len])
		return -EBADMSG;
	return line_byte(r, c);
}

/* The end of a header: of the response's, or of an interim one's, and then the next begins. */
static int header_end(struct http_response *r)
{
	size_t total = r->total;

	if (r->status >= 200) {
		set_state(r, COMPLETE);
		return 0;
	}
	if (r->status == 101) /* nobody asked for another protocol */
		return -EBADMSG;
	http_response_init(r);
	r->total = total;
	return 0;
}

static int line_start_byte(struct http_response *r, char c)
{
	int err;

	if (is_blank(c) && r->state & OF_STATUS)
		return -EBADMSG;
	if (is_blank(c)) {
		set_state(r, IN_LINE);
		add_byte(r, ' ');
		return 0;
	}
	err = take_line(r);
	if (err)
		return err;
	if (c == '\n')
		return header_end(r);
	if (c == '\r') {
		set_state(r, AT_LAST_CR);
		return 0;
	}
	set_state(r, IN_LINE);
	return line_byte(r, c);
}

static int take_byte(struct http_response *r, char c)
{
	switch ((enum state)(r->state & ~(CUT | OF_STATUS))) {
	case IN_STATUS:
		return status_byte(r, c);
	case LINE_START:
		return line_start_byte(r, c);
	case IN_LINE:
		return line_byte(r, c);
	case AT_CR:
		set_state(r, LINE_START);
		return c == '\n' ? 0 : -EBADMSG;
	case AT_LAST_CR:
		return c == '\n' ? header_end(r) : -EBADMSG;
	case COMPLETE:
		break;
	}
	return 0;
}

int http_response_feed(struct http_response *r, const char *data, size_t n, size_t *ret_used)
{
	for (size_t i = 0; i < n; i++) {
		int err = r->total++ < HTTP_HEADER_MAX ? take_byte(r, data[i]) : -EMSGSIZE;

		if (err)
			return err;
		if (r->state == COMPLETE) {
			*ret_used = i + 1;
			return 1;
		}
	}
	*ret_used = n;
	return 0;
}
