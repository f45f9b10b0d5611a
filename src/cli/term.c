// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/term.h"

/* ---- What it can ---- */

bool term_has_colour(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

bool term_has_utf8(void)
{
	locale_t l = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
	bool is = l && !strcmp(nl_langinfo_l(CODESET, l), "UTF-8");

	if (l)
		freelocale(l);
	return is;
}

static struct winsize size(void)
{
	struct winsize w = {0};

	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &w))
		return (struct winsize){0};
	return w;
}

size_t term_columns(void)
{
	return size().ws_col;
}

/* ---- Texts ---- */

static const char *const escapes[] = {
	[TERM_PLAIN] = "",        [TERM_DIM] = "\033[2m",   [TERM_BOLD] = "\033[1m",
	[TERM_GOOD] = "\033[32m", [TERM_BUSY] = "\033[33m", [TERM_BAD] = "\033[31m",
};

enum term_colour term_colour_of(const char *condition)
{
	static const struct {
		const char *condition;
		enum term_colour colour;
	} table[] = {
		{"up", TERM_GOOD},       {"idle", TERM_DIM},          {"down", TERM_BAD},
		{"missing", TERM_BAD},   {"error", TERM_BAD},         {"killed", TERM_BAD},
		{"creating", TERM_BUSY}, {"deleting", TERM_BUSY},     {"connecting", TERM_BUSY},
		{"starting", TERM_BUSY}, {"reconnecting", TERM_BUSY},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (!strcmp(condition, table[i].condition))
			return table[i].colour;
	return TERM_PLAIN;
}

/* The bytes of a character but for its first are 10xxxxxx (RFC 3629). */
static bool begins(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

size_t term_width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += begins(*text);
	return n;
}

/* C0 and DEL; C1 comes as two bytes in UTF-8. */
static bool is_control(const char *c)
{
	const unsigned char *u = (const unsigned char *)c;

	return u[0] < ' ' || u[0] == 0x7f || (u[0] == 0xc2 && u[1] < 0xa0);
}

void term_put(struct buf *b, enum term_colour colour, const char *text, size_t width, size_t max)
{
	bool coloured = colour != TERM_PLAIN && term_has_colour();
	size_t n = 0, all = term_width(text);
	bool cut = max && all > max;

	if (coloured)
		buf_adds(b, escapes[colour]);
	for (; *text && (!cut || n + begins(*text) < max); text++) {
		n += begins(*text);
		buf_add(b, is_control(text) ? "?" : text, 1);
		text += is_control(text) && begins(text[1]) == false;
	}
	if (cut)
		buf_adds(b, term_has_utf8() ? "…" : "~");
	if (coloured)
		buf_adds(b, "\033[0m");
	for (n += cut; n < width; n++)
		buf_adds(b, " ");
}

const char *term_bytes(long long n, char buf[TERM_BYTES_MAX])
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
	double v = (double)n;
	size_t i = 0;

	for (; v >= 999.5 && i + 1 < ARRAY_SIZE(units); i++)
		v /= 1000;
	snprintf(buf, TERM_BYTES_MAX, i && v < 99.95 ? "%.1f %s" : "%.0f %s", v, units[i]);
	return buf;
}

/* ---- Again and again ---- */

#define ENTER "\033[?1049h\033[?25l" /* the other screen; no cursor */
#define LEAVE "\033[?25h\033[?1049l"

struct page {
	char *text;
	size_t len;
};

/* What draw() prints, as a text: the C library's stdout is a variable (stdout(3), glibc). */
static int draw_page(struct cli *c, term_draw_fn draw, void *arg, struct page *ret)
{
	FILE *real = stdout, *memory = open_memstream(&ret->text, &ret->len);
	int r;

	if (!memory)
		return err_errno(&c->err, -errno, "cannot draw");
	stdout = memory;
	r = draw(c, arg);
	stdout = real;
	fclose(memory);
	return r;
}

/* As many lines as there is room for, each over what stood there. */
static void show(const char *text, size_t rows)
{
	size_t n = 0;

	fputs("\033[H", stdout);
	for (const char *end; *text && (end = strchr(text, '\n')) && ++n < rows; text = end + 1)
		printf("%.*s\033[K\n", (int)(end - text), text);
	fputs(*text ? "...\033[J" : "\033[J", stdout);
}

/* False: nobody looks any more. */
static bool put(const char *text, const char *between)
{
	struct winsize w = size();

	if (w.ws_row)
		show(text, w.ws_row);
	else
		printf("%s%s", between, text);
	return !fflush(stdout);
}

/* True: the next one is wanted. */
static bool pause_for(int signals, unsigned int interval_s)
{
	struct pollfd p[] = {{.fd = signals, .events = POLLIN}, {.fd = STDOUT_FILENO}};
	struct signalfd_siginfo s;

	if (poll(p, 2, (int)interval_s * 1000) <= 0)
		return true;
	if (p[0].revents && read(signals, &s, sizeof(s)) == (ssize_t)sizeof(s))
		return s.ssi_signo == SIGWINCH;
	return false;
}

static int watch(struct cli *c, int signals, unsigned int interval_s, term_draw_fn draw, void *arg)
{
	bool first = true, go_on = true;
	int r = 0;

	while (go_on && !r) {
		struct page page = {0};

		r = draw_page(c, draw, arg, &page);
		go_on = !r && put(page.text, first || c->json ? "" : "\n") &&
			pause_for(signals, interval_s);
		first = false;
		free(page.text);
	}
	return r;
}

int term_watch(struct cli *c, unsigned int interval_s, term_draw_fn draw, void *arg)
{
	bool in_place = isatty(STDOUT_FILENO);
	_close_ int signals = -1;
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (signals < 0)
		return err_errno(&c->err, -errno, "cannot wait for signals");
	if (in_place)
		fputs(ENTER, stdout);
	r = watch(c, signals, interval_s, draw, arg);
	if (in_place)
		fputs(LEAVE, stdout);
	return r;
}
