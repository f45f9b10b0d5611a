// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "web/channel.h"

static int send_all(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int receive_all(int fd, void *data, size_t len)
{
	char *at = data;

	while (len) {
		ssize_t n = recv(fd, at, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EPIPE;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

int channel_say(int fd, char word)
{
	return send_all(fd, &word, 1);
}

int channel_tell(int fd, char word, const char *text, size_t len)
{
	uint32_t size = (uint32_t)len;
	int r = len > UINT32_MAX ? -EMSGSIZE : send_all(fd, &word, 1);

	if (!r)
		r = send_all(fd, &size, sizeof(size));
	return r ? r : send_all(fd, text, len);
}

int channel_hear(int fd, char *ret_word, struct buf *ret_text)
{
	uint32_t size;
	char word;
	int r = receive_all(fd, &word, 1);

	if (!r)
		r = receive_all(fd, &size, sizeof(size));
	if (r)
		return r;
	buf_reset(ret_text);
	r = receive_all(fd, buf_reserve(ret_text, (size_t)size + 1), size);
	if (r)
		return r;
	ret_text->len = size;
	ret_text->data[size] = '\0';
	*ret_word = word;
	return 0;
}
