// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "vm/dhcp_release.h"

/* RFC 2131 2, RFC 2132. */
#define SERVER_PORT 67
#define AT_OP 0
#define AT_HTYPE 1
#define AT_HLEN 2
#define AT_CIADDR 12
#define AT_CHADDR 28
#define AT_OPTIONS 236
#define OP_REQUEST 1
#define HTYPE_ETHERNET 1

#define OPTION_TYPE 53
#define OPTION_SERVER 54
#define OPTION_END 255
#define TYPE_RELEASE 7

void dhcp_release_message(const struct mac *mac, const struct ip *addr, const struct ip *server,
			  uint8_t ret[DHCP_RELEASE_LEN])
{
	static const uint8_t options[] = {99,
					  130,
					  83,
					  99, /* magic cookie */
					  OPTION_TYPE,
					  1,
					  TYPE_RELEASE,
					  OPTION_SERVER,
					  4};
	uint8_t *end = ret + AT_OPTIONS + sizeof(options);

	memset(ret, 0, DHCP_RELEASE_LEN);
	ret[AT_OP] = OP_REQUEST;
	ret[AT_HTYPE] = HTYPE_ETHERNET;
	ret[AT_HLEN] = sizeof(mac->bytes);
	memcpy(ret + AT_CIADDR, addr->bytes, 4);
	memcpy(ret + AT_CHADDR, mac->bytes, sizeof(mac->bytes));
	memcpy(ret + AT_OPTIONS, options, sizeof(options));
	memcpy(end, server->bytes, 4);
	end[4] = OPTION_END;
}

int dhcp_release(const char *interface, const struct mac *mac, const struct ip *addr,
		 const struct ip *server)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(SERVER_PORT)};
	_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	uint8_t message[DHCP_RELEASE_LEN];

	if (fd < 0)
		return -errno;
	dhcp_release_message(mac, addr, server, message);
	memcpy(&to.sin_addr, server->bytes, sizeof(to.sin_addr));
	/* What is sent to an address of this host passes for having come by that interface. */
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface)) ||
	    sendto(fd, message, sizeof(message), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		return -errno;
	return 0;
}
