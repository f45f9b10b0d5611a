/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the agent gives up before it reads its first frame. */
#ifndef BYWAY_AGENT_CONFINE_H
#define BYWAY_AGENT_CONFINE_H

/* Raises the limit of open files as far as it goes, and returns it. The others become what the
 * agent needs: no core, no file, no other process. */
unsigned long confine_limits(void);
/* Dies with its parent, gains no privileges, is nobody's to trace, and makes no system calls but
 * those that its loop needs. Where the kernel lacks one of these, without it. */
void confine(void);

#endif
