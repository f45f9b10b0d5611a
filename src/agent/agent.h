/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agent: a program that sends and receives datagrams on a server, for the byway at the other
 * end of its stdin and stdout. */
#ifndef BYWAY_AGENT_AGENT_H
#define BYWAY_AGENT_AGENT_H

/*
 * agent DIRECTORY	deletes DIRECTORY/agent and DIRECTORY, and serves until stdin ends
 * agent -V		does nothing, to show that it could
 *
 * Returns the exit status: 0 after the end of stdin or a SHUTDOWN, 1 when the other side does not
 * keep to the protocol, 2 when the server lacks something or the usage is wrong.
 */
int agent_main(int argc, char **argv);

#endif
