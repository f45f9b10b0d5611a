// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"
#include "proc/user.h"
#include "tunnel/ssh_setup.h"

#define WINDOW_BYTES (16u * 1024 * 1024)
#define WINDOW_BYTES_LEAST (64u * 1024)
#define ALIVE_INTERVAL_S 3
#define ALIVE_COUNT 3

/* ---- A list of words that ends with NULL ---- */

static size_t count(char *const *words)
{
	size_t n = 0;

	while (words && words[n])
		n++;
	return n;
}

static void add_word(char ***words, char *word)
{
	size_t n = count(*words);

	*words = xrealloc(*words, n + 2, sizeof(char *));
	(*words)[n] = word;
	(*words)[n + 1] = NULL;
}

static void add_words(char ***words, const char *const *from)
{
	for (; from && *from; from++)
		add_word(words, xstrdup(*from));
}

static void free_words(char **words)
{
	for (size_t i = 0; i < count(words); i++)
		free(words[i]);
	free(words);
}

void ssh_setup_set_word(struct ssh_setup *s, size_t i, const char *word)
{
	char *copy = xstrdup(word);

	free(s->argv[i]);
	s->argv[i] = copy;
}

/* ---- The command line ---- */

/* What must be so: of an option given twice, ssh takes the first. */
#define COMMON_WORDS                                                                               \
	"-oControlPersist=no", "-oClearAllForwardings=yes", "-oExitOnForwardFailure=no",           \
		"-oPermitLocalCommand=no", "-oRequestTTY=no", "-oTunnel=no", "-oForwardAgent=no",  \
		"-oForwardX11=no", "-oRemoteCommand=none",                                         \
		"-oLogLevel=INFO" /* what it says is all we know: see ssh_error.c */

/* Where the server is: see ssh_setup_next_address(). Until then they say what is so anyway. */
#define AIM_WORDS /* SSH_WORD_HOST */ "-T", /* SSH_WORD_ALIAS */ "-T"

static const char *const master_words[] = {
	"ssh",
	AIM_WORDS,
	"-N",
	"-M",
	"-S",
	/* SSH_WORD_PATH */ "",
	/* SSH_WORD_NO_FORK */ "-oForkAfterAuthentication=no",
	COMMON_WORDS,
	NULL,
};

/* A connection of its own, whatever the user's configuration says of sharing. */
static const char *const command_words[] = {"ssh", AIM_WORDS, "-S", "none", COMMON_WORDS, NULL};

static const char *const question_words[] = {"ssh", AIM_WORDS, "-G", NULL};

static const char *const *const first_words[] = {
	[SSH_FOR_MASTER] = master_words,
	[SSH_FOR_COMMAND] = command_words,
	[SSH_FOR_QUESTION] = question_words,
};

/* What is so unless the user says otherwise on our command line. */
static void add_defaults(struct ssh_setup *s, const struct ssh_config *c)
{
	add_word(&s->argv,
		 xasprintf("-oServerAliveInterval=%u", c->alive_interval_s ?: ALIVE_INTERVAL_S));
	add_word(&s->argv, xasprintf("-oServerAliveCountMax=%u", c->alive_count ?: ALIVE_COUNT));
	add_word(&s->argv, xstrdup("-oConnectTimeout=15"));
}

static void make_argv(struct ssh_setup *s, enum ssh_purpose purpose, const struct ssh_config *c,
		      const char *command)
{
	add_words(&s->argv, first_words[purpose]);
	if (!c->terminal)
		add_word(&s->argv, xstrdup("-oBatchMode=yes"));
	add_words(&s->argv, c->options);
	add_defaults(s, c);
	add_word(&s->argv, xstrdup("--"));
	add_word(&s->argv, xstrdup(c->destination));
	if (command)
		add_word(&s->argv, xstrdup(command));
}

/* ---- The environment ---- */

/* What ssh, agents and what asks for a passphrase need of ours. */
static const char *const kept[] = {
	"SSH_AUTH_SOCK",
	"SSH_ASKPASS",
	"SSH_ASKPASS_REQUIRE",
	"DISPLAY",
	"WAYLAND_DISPLAY",
	"XAUTHORITY",
	"XDG_RUNTIME_DIR",
	"DBUS_SESSION_BUS_ADDRESS",
	"TERM",
	"KRB5CCNAME",
	"GNUPGHOME",
	"SSH_SK_PROVIDER",
	"SSH_PKCS11_HELPER",
};

static void keep_variable(struct ssh_setup *s, const char *name)
{
	const char *value = getenv(name);

	if (value)
		add_word(&s->env, xasprintf("%s=%s", name, value));
}

static void make_env(struct ssh_setup *s, const struct user *user)
{
	/* Messages in English: see ssh_error.c. */
	add_words(&s->env, (const char *const[]){"PATH=" RUN_PATH, "LC_ALL=C", NULL});
	if (user) {
		add_word(&s->env, xasprintf("HOME=%s", user->home));
		add_word(&s->env, xasprintf("USER=%s", user->name));
		add_word(&s->env, xasprintf("LOGNAME=%s", user->name));
		add_word(&s->env, xasprintf("SHELL=%s", user->shell));
	} else {
		keep_variable(s, "HOME");
		keep_variable(s, "USER");
		keep_variable(s, "LOGNAME");
		keep_variable(s, "SHELL");
	}
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		keep_variable(s, kept[i]);
}

/* ---- The user ---- */

/* A group of its own as the primary one, and all of the user's beside it. */
static void set_groups(struct ssh_setup *s, gid_t own, gid_t primary, const gid_t *groups, size_t n)
{
	s->groups = xcalloc(n + 1, sizeof(gid_t));
	if (n)
		memcpy(s->groups, groups, n * sizeof(gid_t));
	s->groups[n] = primary;
	s->user.gid = own ?: primary;
	s->user.groups = s->groups;
	s->user.n_groups = n + 1;
	s->as_user = true;
}

static int set_own_groups(struct ssh_setup *s, gid_t own, struct err *err)
{
	_free_ gid_t *groups = NULL;
	int n = getgroups(0, NULL);

	groups = xcalloc((size_t)MAX(n, 0) + 1, sizeof(gid_t));
	n = getgroups(n, groups);
	if (n < 0)
		return err_errno(err, -errno, "cannot get the groups of the process");
	s->user.uid = geteuid();
	set_groups(s, own, getegid(), groups, (size_t)n);
	return 0;
}

static int make_user(struct ssh_setup *s, const struct ssh_config *c, struct err *err)
{
	if (c->user) {
		s->user.uid = c->user->uid;
		set_groups(s, c->gid, c->user->gid, c->user->groups, c->user->n_groups);
		return 0;
	}
	return c->gid ? set_own_groups(s, c->gid, err) : 0;
}

static int check_config(const struct ssh_config *c, struct err *err)
{
	if (!c->destination || !c->destination[0])
		return err_set(err, ERR_USAGE, -EINVAL, "ssh needs a host to connect to");
	if (!c->run_dir || strlen(c->run_dir) >= SSH_RUN_DIR_MAX)
		return err_set(err, ERR_USAGE, -ENAMETOOLONG,
			       "the folder for ssh's control socket must be named in less than %d "
			       "characters",
			       SSH_RUN_DIR_MAX);
	return 0;
}

/* ---- Where to ---- */

void ssh_setup_next_address(struct ssh_setup *s)
{
	_free_ char *host = NULL, *alias = NULL;
	char text[IP_STRLEN];

	if (!s->where.n)
		return;
	s->next_address %= s->where.n + 1; /* the last turn is the name's, as it is */
	if (s->next_address < s->where.n) {
		host = xasprintf("-oHostName=%s",
				 ip_format(&s->where.addrs[s->next_address], text));
		alias = xasprintf("-oHostKeyAlias=%s", s->where.alias);
	}
	ssh_setup_set_word(s, SSH_WORD_HOST, host ?: "-T");
	ssh_setup_set_word(s, SSH_WORD_ALIAS, alias ?: "-T");
	s->next_address++;
}

/* ---- The whole ---- */

int ssh_setup_init(struct ssh_setup *s, enum ssh_purpose purpose, const struct ssh_config *c,
		   const char *command, struct err *err)
{
	int r = check_config(c, err);

	if (!r)
		r = run_find("ssh", s->program, err);
	if (!r)
		r = make_user(s, c, err);
	if (r)
		return r;
	s->run_dir = xstrdup(c->run_dir);
	s->terminal = c->terminal;
	s->mode = c->mode;
	s->window_bytes = MAX(c->window_bytes ?: WINDOW_BYTES, WINDOW_BYTES_LEAST);
	make_argv(s, purpose, c, command);
	make_env(s, c->user);
	if (c->where)
		s->where = *c->where;
	ssh_setup_next_address(s);
	return 0;
}

int ssh_setup_start(const struct ssh_setup *s, int in, int out, int err_fd, struct child *ret,
		    struct err *err)
{
	return child_start(&(struct child_spec){.path = s->program,
						.argv = (const char *const *)s->argv,
						.env = (const char *const *)s->env,
						.in = in,
						.out = out,
						.err = err_fd,
						.user = s->as_user ? &s->user : NULL,
						.death_signal = SIGTERM,
						.own_session = !s->terminal,
						.ignore_keys = s->terminal},
			   ret, err);
}

void ssh_setup_done(struct ssh_setup *s)
{
	free_words(s->argv);
	free_words(s->env);
	free(s->groups);
	free(s->run_dir);
}
