// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "base/utf8.h"
#include "base/util.h"

/* RFC 3629, section 4: by the first byte, what the second may be, and how many there are. */
static const struct {
	unsigned char first, last, lo, hi, len;
} forms[] = {
	{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
	{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
	{0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

size_t utf8_len(const char *text, size_t left)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t i = 0, n = 2;

	if (*s < 0x80)
		return 1;
	while (i < ARRAY_SIZE(forms) && *s > forms[i].last)
		i++;
	if (i == ARRAY_SIZE(forms) || *s < forms[i].first || left < forms[i].len ||
	    s[1] < forms[i].lo || s[1] > forms[i].hi)
		return 0;
	while (n < forms[i].len && (s[n] & 0xc0) == 0x80)
		n++;
	return n == forms[i].len ? n : 0;
}

bool utf8_is_valid(const char *text)
{
	size_t left = strlen(text), n = 1;

	for (; left && n; left -= n, text += n)
		n = utf8_len(text, left);
	return n;
}

void utf8_mend(char *text)
{
	size_t left = strlen(text);

	while (left) {
		size_t n = utf8_len(text, left);

		if (!n) {
			*text = '?';
			n = 1;
		}
		text += n;
		left -= n;
	}
}
