// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/line.h"

bool line_add(struct line *l, char c)
{
	if (c != '\n' && c != '\r' && l->len < sizeof(l->text) - 1)
		l->text[l->len++] = c >= ' ' && c <= '~' ? c : '?';
	l->text[l->len] = '\0';
	if (c != '\n')
		return false;
	l->len = 0;
	return true;
}
