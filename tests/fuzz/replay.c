// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Gives a fuzz target the files named as arguments, and those in the directories named: what the
 * fuzzer once found stays found, under any compiler. One TAP line for each.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/util.h"
#include "fuzz.h"

static int count;

static int replay_file(const char *path)
{
	_fclose_ FILE *f = fopen(path, "re");
	_buf_ struct buf b = {0};
	_free_ uint8_t *exact = NULL;
	size_t n = 0;

	if (!f)
		return -1;
	do {
		b.len += n;
		n = fread(buf_reserve(&b, 4096), 1, 4096, f);
	} while (n > 0);
	/* Of exactly its size, so that a sanitizer sees a read behind its end. */
	exact = xcalloc(b.len + 1, 1);
	memcpy(exact + 1, b.data, b.len);
	LLVMFuzzerTestOneInput(exact + 1, b.len);
	printf("ok %d - %s\n", ++count, path);
	return 0;
}

static int replay(const char *path)
{
	_free_ struct dirent **entries = NULL;
	struct stat st;
	int n, r = 0;

	if (stat(path, &st) < 0)
		return -1;
	if (!S_ISDIR(st.st_mode))
		return replay_file(path);
	n = scandir(path, &entries, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		_free_ char *child = xasprintf("%s/%s", path, entries[i]->d_name);

		if (entries[i]->d_name[0] != '.' && replay(child) < 0)
			r = -1;
		free(entries[i]);
	}
	return n < 0 ? -1 : r;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (replay(argv[i]) < 0) {
			printf("Bail out! cannot read %s\n", argv[i]);
			return 1;
		}
	}
	printf("1..%d\n", count);
	return count > 0 ? 0 : 1;
}
