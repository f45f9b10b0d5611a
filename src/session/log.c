// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Theory of operation
 *
 * A line is made fit to be read by a person, with the secret taken out first: cutting or replacing
 * characters before would leave pieces of it. Then it goes to the file and, as a datagram, to the
 * journal; neither is waited for.
 *
 * Before each line the file is looked at: it may have been renamed or removed by somebody else,
 * logrotate(8) for instance, and is then opened anew. Whatever fails, the next line tries again.
 * A line stands in the file whole or not at all.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/log.h"
#include "session/log.h"
#include "session/log_impl.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define TEXT_MAX 2048 /* bytes of a line; openconnect's own words are much shorter */
#define MASK "********"
#define CUT "..."

struct session_log {
	char *name, *directory, *path;
	uint64_t max_bytes;
	unsigned int keep;
	int fd;      /* -1: could not be opened */
	int journal; /* not connected: journald may come, go and come back */
	const char *journal_path;
	bool told;
};

static const char *const sources[LOG_NUM_SOURCES] = {
	[LOG_FROM_BYWAY] = "byway",
	[LOG_FROM_OPENCONNECT] = "openconnect",
};

/* ---- The text ---- */

/* How openconnect, when told to show what it sends, spells a password: in a form (RFC 3986 2.1), in
 * XML, and as it is. Each decodes one character at at and returns what is behind it. */
typedef const char *next_char_fn(const char *at, char *ret);

static const char *next_plain(const char *at, char *ret)
{
	*ret = *at;
	return at + 1;
}

static const char *next_percent(const char *at, char *ret)
{
	char hex[3] = "";

	if (*at != '%' || !isxdigit((unsigned char)at[1]) || !isxdigit((unsigned char)at[2]))
		return next_plain(at, ret);
	memcpy(hex, at + 1, 2);
	*ret = (char)strtoul(hex, NULL, 16);
	return at + 3;
}

static const char *next_entity(const char *at, char *ret)
{
	static const struct {
		const char *name;
		char is;
	} entities[] = {
		{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};

	for (size_t i = 0; i < ARRAY_SIZE(entities); i++) {
		if (strncmp(at, entities[i].name, strlen(entities[i].name)))
			continue;
		*ret = entities[i].is;
		return at + strlen(entities[i].name);
	}
	return next_plain(at, ret);
}

static const char *behind(const char *at, const char *secret, next_char_fn *next)
{
	for (; *secret; secret++) {
		char c = '\0';

		if (*at)
			at = next(at, &c);
		if (c != *secret)
			return NULL;
	}
	return at;
}

/* What is behind the secret that stands at at, in any spelling; NULL when it does not. */
static const char *behind_secret(const char *at, const char *secret)
{
	static next_char_fn *const spellings[] = {next_plain, next_percent, next_entity};
	const char *end = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(spellings) && !end; i++)
		end = behind(at, secret, spellings[i]);
	return end;
}

static void mask_secret(const char *line, const char *secret, struct buf *ret)
{
	bool is_any = secret && *secret;

	while (*line) {
		const char *end = is_any ? behind_secret(line, secret) : NULL;

		if (end)
			buf_adds(ret, MASK);
		else
			buf_add(ret, line, 1);
		line = end ? end : line + 1;
	}
}

static bool is_continuation(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

/* Not in the middle of a character in UTF-8. */
static void cut(struct buf *text)
{
	if (text->len <= TEXT_MAX)
		return;
	text->len = TEXT_MAX - strlen(CUT);
	while (text->len && is_continuation(text->data[text->len]))
		text->len--;
	buf_adds(text, CUT);
}

/* Those of ASCII, and U+0080 to U+009F, which some terminals obey, too. */
static void replace_controls(struct buf *text)
{
	for (char *c = text->data; *c; c++) {
		if (*c == '\xc2' && is_continuation(c[1]) && (unsigned char)c[1] < 0xa0)
			c[0] = c[1] = '?';
		else if ((unsigned char)*c < ' ' || *c == '\x7f')
			*c = '?';
	}
}

static void make_text(const char *line, const char *secret, struct buf *ret)
{
	buf_adds(ret, ""); /* an empty line is one, too */
	mask_secret(line, secret, ret);
	cut(ret);
	replace_controls(ret);
}

static void put_timestamp(struct buf *b)
{
	char seconds[32];
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &tm);
	buf_addf(b, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
}

/* ---- The file ---- */

static int make_directories(const char *path)
{
	_free_ char *part = xstrdup(path);

	for (char *c = part + (*part == '/');; c++) {
		char was = *c;

		if (was && was != '/')
			continue;
		*c = '\0';
		if (mkdir(part, 0750) && errno != EEXIST)
			return -errno;
		if (!was)
			return 0;
		*c = was;
	}
}

static int open_file(struct session_log *l)
{
	int r = make_directories(l->directory);

	close_p(&l->fd);
	l->fd = r ? -1
		  : open(l->path,
			 O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640);
	if (!r && l->fd < 0)
		r = -errno;
	return r;
}

static bool is_in_place(const struct session_log *l, const struct stat *st)
{
	struct stat at;

	return !lstat(l->path, &at) && at.st_dev == st->st_dev && at.st_ino == st->st_ino;
}

/* Its size, whoever else has written to it or emptied it. */
static int look_at_file(struct session_log *l, off_t *ret_size)
{
	struct stat st;
	int r = 0;

	if (l->fd < 0 || fstat(l->fd, &st) || !is_in_place(l, &st))
		r = open_file(l);
	if (!r && fstat(l->fd, &st))
		r = -errno;
	if (!r)
		*ret_size = st.st_size;
	return r;
}

/* The oldest is overwritten. */
static int rotate(struct session_log *l)
{
	_free_ char *to = NULL;

	if (!l->keep)
		return ftruncate(l->fd, 0) ? -errno : 0;
	for (unsigned int i = l->keep; i; i--) {
		_free_ char *from = i > 1 ? xasprintf("%s.%u", l->path, i - 1) : xstrdup(l->path);

		free(to);
		to = xasprintf("%s.%u", l->path, i);
		if (rename(from, to) && errno != ENOENT)
			return -errno;
	}
	return open_file(l);
}

static int append(struct session_log *l, const struct buf *line)
{
	off_t size;
	ssize_t n;
	int r = look_at_file(l, &size);

	if (!r && size && (uint64_t)size + line->len > l->max_bytes) {
		r = rotate(l);
		if (!r)
			r = look_at_file(l, &size);
	}
	if (r)
		return r;
	n = write(l->fd, line->data, line->len);
	if (n == (ssize_t)line->len)
		return 0;
	r = n < 0 ? -errno : -ENOSPC;
	(void)!ftruncate(l->fd, size);
	return r;
}

static void write_file(struct session_log *l, enum log_source from, const char *text)
{
	_buf_ struct buf line = {0};
	int r;

	put_timestamp(&line);
	buf_addf(&line, " %s: %s\n", sources[from], text);
	r = append(l, &line);
	if (!r || l->told)
		return;
	l->told = true;
	log_warn("cannot write %s: %s", l->path, strerror(-r));
}

/* ---- The journal ---- */

/* No value has a newline in it, so that none has to be told by its length. */
static void send_to_journal(const struct session_log *l, enum log_source from, int priority,
			    const char *text)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	_buf_ struct buf msg = {0};

	if (l->journal < 0 || str_copy(to.sun_path, sizeof(to.sun_path), l->journal_path))
		return;
	buf_addf(&msg,
		 "MESSAGE=%s\nPRIORITY=%d\nSYSLOG_IDENTIFIER=byway\nBYWAY_SESSION=%s\n"
		 "BYWAY_SOURCE=%s\n",
		 text, priority, l->name, sources[from]);
	(void)!sendto(l->journal, msg.data, msg.len, MSG_DONTWAIT | MSG_NOSIGNAL,
		      (struct sockaddr *)&to, sizeof(to));
}

void session_log_set_journal(struct session_log *l, const char *path)
{
	l->journal_path = path;
}

/* ---- Both ---- */

int session_log_open(const char *directory, const char *name, uint64_t max_bytes, unsigned int keep,
		     struct session_log **ret, struct err *err)
{
	struct session_log *l = xcalloc(1, sizeof(*l));
	int r = fault_point("open a session's log");

	*l = (struct session_log){.name = xstrdup(name),
				  .directory = xstrdup(directory),
				  .path = xasprintf("%s/%s.log", directory, name),
				  .max_bytes = max_bytes,
				  .keep = keep,
				  .fd = -1,
				  .journal = -1,
				  .journal_path = JOURNAL_SOCKET};
	if (!r)
		r = open_file(l);
	if (r) {
		err_errno(err, r, "cannot open the log %s", l->path);
		session_log_free(l);
		return r;
	}
	l->journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	*ret = l;
	return 0;
}

void session_log_free(struct session_log *l)
{
	if (!l)
		return;
	close_p(&l->fd);
	close_p(&l->journal);
	free(l->name);
	free(l->directory);
	free(l->path);
	free(l);
}

void session_log_write(struct session_log *l, enum log_source from, int priority,
		       const char *secret, const char *line)
{
	_buf_ struct buf text = {0};

	make_text(line, secret, &text);
	write_file(l, from, text.data);
	send_to_journal(l, from, priority, text.data);
}

const char *session_log_path(const struct session_log *l)
{
	return l->path;
}
