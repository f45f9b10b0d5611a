// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a C library would bring: the first instruction, and the functions that compilers call on
 * their own.
 */
#include <stddef.h>
#include <stdint.h>

#include "agent/agent.h"
#include "agent/sys.h"

/* The stack as the kernel leaves it, argc first; start() gets its address. */
#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall "
	"start\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tmov x0, sp\n\tbl start\n");
#elif defined(__arm__)
__asm__(".arm\n.globl _start\n_start:\n\tmov r0, sp\n\tbic sp, sp, #7\n\tbl start\n");
#elif defined(__riscv)
__asm__(".globl _start\n_start:\n\t.option push\n\t.option norelax\n\tla gp, __global_pointer$\n"
	"\t.option pop\n\tmv a0, sp\n\tandi sp, sp, -16\n\tcall start\n");
#endif

_Noreturn void start(long *stack);
void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *p, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);

_Noreturn __attribute__((used)) void start(long *stack)
{
	sys_exit(agent_main((int)stack[0], (char **)(stack + 1)));
}

/* A word that may stand anywhere; machines that cannot load it at once do so by bytes. */
struct __attribute__((packed, may_alias)) word {
	unsigned long v;
};

/* From the beginning on, which is right for overlaps, too, when the target lies lower. */
static void copy_up(void *to, const void *from, size_t n)
{
	uint8_t *t = to;
	const uint8_t *f = from;

#if defined(__x86_64__)
	__asm__ volatile("rep movsb" : "+D"(t), "+S"(f), "+c"(n) : : "memory");
#else
	for (; n >= sizeof(struct word); n -= sizeof(struct word)) {
		((struct word *)t)->v = ((const struct word *)f)->v;
		t += sizeof(struct word);
		f += sizeof(struct word);
	}
	while (n--)
		*t++ = *f++;
#endif
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	copy_up(to, from, n);
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	uint8_t *t = to;
	const uint8_t *f = from;

	if (t <= f || t >= f + n)
		copy_up(to, from, n);
	else
		while (n--)
			t[n] = f[n];
	return to;
}

void *memset(void *p, int c, size_t n)
{
	uint8_t *t = p;

	while (n--)
		*t++ = (uint8_t)c;
	return p;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *p = a, *q = b;

	for (; n; n--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}
