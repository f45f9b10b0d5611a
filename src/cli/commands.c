// SPDX-License-Identifier: GPL-2.0-or-later
/* Every command of byway, in the order of `byway --help`. */
#include "cli/cli.h"

static const struct cli_opt vpc_create_opts[] = {
	{"cidr6", 0, "CIDR", "an IPv6 network as well"},
	{"mtu", 0, "BYTES", "of the VPC's links (default 1500)"},
	{"dns", 0, NULL, "serve names: SUBNET.VPC.internal"},
};

static const struct cli_opt subnet_add_opts[] = {
	{"type", 't', "TYPE", "public (may be NATed out) or private (the default)"},
	{"cidr6", 0, "CIDR", "its IPv6 network (default: the next free /64 of the VPC's)"},
	{"count", 'n', "N", "add N subnets on the next free networks"},
	{"prefix", 0, "LENGTH", "without a CIDR: the next free network's length (default 24)"},
	{"name", 0, "PREFIX", "with --count: names are PREFIX-1 to PREFIX-N (default subnet)"},
	{"file", 'f', "FILE", "add those of a JSON or YAML list of {name, cidr, cidr6, type}"},
};

static const struct cli_opt nat_enable_opts[] = {
	{"interface", 'i', "IF", "the way out (default: where the default route goes)"},
};

static const struct cli_opt network_up_opts[] = {
	{"cidr6", 0, "CIDR", "an IPv6 network as well"},
	{"mtu", 0, "BYTES", "of the network's links (default 1500)"},
	{"interface", 'i', "IF", "the way out (default: where the default route goes)"},
	{"no-nat", 0, NULL, "no way out"},
	{"dns", 0, NULL, "serve names: VM.NETWORK.internal"},
	{"dhcp", 0, NULL, "serve addresses, too"},
};

static const struct cli_opt dns_run_opts[] = {
	{"detach", 'd', NULL, "go on in the background once names are served"},
};

static const struct cli_opt vm_add_opts[] = {
	{"ip", 0, "ADDR,...", "exactly these, at most one of each family (default: the next free)"},
	{"mac", 0, "MAC", "exactly this (default: from network and address)"},
	{"owner", 0, "USER[:GROUP]", "who may open the TAP device (default: root)"},
	{"queues", 0, "N", "of the TAP device (default 1)"},
	{"isolated", 0, NULL, "does not reach other isolated VMs of the network"},
	{"rate", 0, "RX,TX", "bits a second to and from the VM, such as 100M,20M; 0: no limit"},
	{"netns", 0, "NAME", "a clone: with --ip and --mac inside, in a namespace of this name"},
	{"tap-name", 0, "NAME", "of a clone's TAP device there (default: tap0)"},
	{"while-pid", 0, "PID", "delete it as soon as this process, its monitor, has ended"},
	{"policy", 0, "FILE", "a security group that the host enforces, from the first frame on"},
};

static const struct cli_opt vm_snippet_opts[] = {
	{"for", 0, "WHAT",
	 "firecracker, firecracker-config, qemu, qemu-microvm, cloud-hypervisor or kernel-args"},
	{"dns", 0, "ADDR", "in kernel-args: a resolver (default: the gateway, if it serves names)"},
	{"dhcp", 0, NULL, "in kernel-args: ask for the address"},
};

static const struct cli_opt peer_add_opts[] = {
	{"allow", 0, "CIDR,...", "only these networks of the two VPCs"},
};

/* Which proxy, and who we are to it. */
#define UPSTREAM_OPTS                                                                              \
	{"proxy-url", 'u', "URL,...",                                                              \
	 "http[s]://[USER:PASSWORD@]HOST[:PORT] (default: $HTTPS_PROXY)", true},                   \
		{"proxy-host", 0, "HOST", "the same in parts"},                                    \
		{"proxy-port", 0, "PORT", "its port (default 3128)"},                              \
		{"proxy-ip", 0, "ADDR,...", "its addresses, instead of resolving its name"},       \
		{"username", 0, "NAME", "for the proxy"},                                          \
		{"password", 0, "WORD", "for the proxy; better in a file", true},                  \
	{                                                                                          \
		"password-file", 0, "FILE", "holds the password; - is standard input"              \
	}

/* What is captured, and how it is run: of every kind of tunnel. */
#define TUNNEL_OPTS                                                                                \
	{"in", 0, "NETNS", "capture a namespace, or a VPC/SUBNET, instead of the host"},           \
		{"tun-name", 0, "NAME", "of the TUN device (default byway0)"},                     \
		{"tun-cidr", 0, "CIDR", "its address (default 198.18.0.1/30)"},                    \
		{"mtu", 0, "BYTES", "of the TUN device (default 1500)"},                           \
		{"include", 0, "CIDR,...", "capture nothing but these"},                           \
		{"exclude", 0, "CIDR,...", "leave these alone"},                                   \
		{"exclude-uid", 0, "UID,...", "leave these users alone"},                          \
		{"cgroup", 0, "PATH,...",                                                          \
		 "capture nothing but what processes in these cgroups send"},                      \
		{"allow-dns", 0, "ADDR,...",                                                       \
		 "the resolvers (default: those of /etc/resolv.conf)"},                            \
		{"no-killswitch", 0, NULL, "block nothing"},                                       \
		{"detach", 'd', NULL, "go on in the background once the tunnel stands"},           \
	{                                                                                          \
		"state-dir", 0, "DIR", "where status and lock are kept"                            \
	}

static const struct cli_opt proxy_up_opts[] = {
	UPSTREAM_OPTS,
	TUNNEL_OPTS,
	{"dns", 0, "MODE",
	 "bypass (the default): beside the tunnel; tcp: through it; virtual: by the proxy"},
	{"keep-logs", 0, NULL, "accepted for proxyvpn's sake: there are no logs to remove"},
};

static const struct cli_opt proxy_check_opts[] = {
	UPSTREAM_OPTS,
};

/* How ssh is called: as ssh(1) has these options. */
#define SSH_OPTS                                                                                   \
	{"config", 'F', "FILE", "ssh's configuration"},                                            \
		{"option", 'o', "OPTION\n...", "of ssh's configuration"},                          \
		{"identity", 'i', "FILE\n...", "a key"}, {"port", 'p', "PORT", "of the server"},   \
	{                                                                                          \
		"jump", 'J', "HOST", "a jump host on the way"                                      \
	}

static const struct cli_opt ssh_up_opts[] = {
	SSH_OPTS,
	TUNNEL_OPTS,
	{"dns", 0, "WHO", "answers queries: remote (the default), the server's resolver; an address; off"},
	{"connections", 'n', "N", "SSH connections to spread the streams over (default 1)"},
};

static const struct cli_opt ssh_check_opts[] = {
	SSH_OPTS,
};

static const struct cli_opt tunnel_in_opts[] = {
	{"in", 0, "NETNS", "the tunnel of a namespace, or a VPC/SUBNET, instead of the host's"},
	{"state-dir", 0, "DIR", "where status and lock are kept"},
};

/* How many sessions, whatever the file says. */
#define COUNT_OPT {"count", 0, "N", "so many sessions, instead of the file's instances"}

static const struct cli_opt session_up_opts[] = {
	COUNT_OPT,
	{"wait", 'w', NULL, "end when all are up, and go on in the background"},
	{"timeout", 0, "SECONDS", "after which --wait gives up waiting, not the sessions (default 60)"},
	{"detach", 'd', NULL, "go on in the background once they begin to start"},
};

static const struct cli_opt session_validate_opts[] = {
	COUNT_OPT,
};

static const struct cli_opt session_down_opts[] = {
	{"all", 'a', NULL, "all sessions of all files"},
};

static const struct cli_opt session_status_opts[] = {
	{"watch", 'w', NULL, "again each second"},
};

static const struct cli_opt session_logs_opts[] = {
	{"follow", 'f', NULL, "and what is written from now on"},
	{"lines", 'n', "N", "from the end (default 100)"},
};

static const struct cli_opt cni_install_opts[] = {
	{"network", 0, "NETWORK", "for the containers (default micropod0)"},
	{"cidr", 0, "CIDR", "of it, when it is not there (default 10.10.0.0/24)"},
	{"dir", 0, "DIR", "where runtimes look for networks (default /etc/cni/net.d)"},
};

static const struct cli_opt status_opts[] = {
	{"watch", 'w', NULL, "again and again, with what passes in a second"},
	{"interval", 0, "SECONDS", "between two looks of --watch (default 1)"},
};

static const struct cli_opt why_opts[] = {
	{"live", 0, NULL, "send a probe, too, and say which rule of the kernel decided"},
	{"ipv6", '6', NULL, "IPv6, where names have addresses of both"},
};

static const struct cli_opt prove_opts[] = {
	{"output", 'o', "FILE", "write the evidence there, as JSON"},
	{"states", 0, NULL, "in each state of its way out, which is interrupted for that"},
};

static const struct cli_opt doctor_opts[] = {
	{"fix", 0, NULL, "change what can be changed, and put back again"},
	{"undo", 0, NULL, "put back what --fix changed"},
};

static const struct cli_opt graph_opts[] = {
	{"ascii", 0, NULL, "as a tree, but without lines that not every terminal has"},
	{"dot", 0, NULL, "in the language of Graphviz"},
	{"svg", 0, NULL, "as Graphviz draws it"},
};

static const struct cli_opt events_opts[] = {
	{"snapshot", 0, NULL, "begin with what is there"},
};

static const struct cli_opt egress_add_opts[] = {
	{"replace", 0, NULL, "one of that name becomes this one, at its next start"},
};

static const struct cli_opt egress_use_opts[] = {
	{"exclude", 0, "CIDR,...", "of the host: these it reaches as usual"},
};

static const struct cli_opt egress_run_opts[] = {
	{"detach", 'd', NULL, "go on in the background once it has begun to connect"},
};

static const struct cli_opt serve_opts[] = {
	{"listen", 0, "WHERE", "127.0.0.1:PORT, [::1]:PORT or unix:PATH (default 127.0.0.1:8642)"},
};

static const struct cli_opt completion_opts[] = {
	{"names", 0, NULL, "instead: what arguments of these kinds can be now, such as VPC/SUBNET"},
};

#define NO_OPTS NULL, 0
#define OPTS(table) table, ARRAY_SIZE(table)

/* What the thin program hands over. */
#ifdef BYWAY_THIN
#define FULL(run) NULL
#else
#define FULL(run) run
#endif

const struct cli_cmd cli_commands[] = {
	{"vpc", "create", "NAME CIDR", 2, 2, OPTS(vpc_create_opts), cmd_vpc_create,
	 "make a private network with a gateway"},
	{"vpc", "list", "", 0, 0, NO_OPTS, cmd_vpc_list, "list the VPCs"},
	{"vpc", "show", "NAME", 1, 1, NO_OPTS, cmd_vpc_show, "show one VPC with all that is in it"},
	{"vpc", "delete", "NAME...", 1, -1, NO_OPTS, cmd_vpc_delete,
	 "stop what runs in a VPC and remove all of it"},
	{"subnet", "add", "VPC [NAME [CIDR]]", 1, 3, OPTS(subnet_add_opts), cmd_subnet_add,
	 "add a network namespace to a VPC, or many at once"},
	{"subnet", "list", "[VPC]", 0, 1, NO_OPTS, cmd_subnet_list, "list the subnets"},
	{"subnet", "delete", "VPC/SUBNET...", 1, -1, NO_OPTS, cmd_subnet_delete,
	 "stop what runs in a subnet and remove it"},
	{"network", "up", "[NAME [CIDR]]", 0, 2, OPTS(network_up_opts), cmd_network_up,
	 "make a flat network with a way out, for VMs (micropod0 10.10.0.0/24)"},
	{"network", "list", "", 0, 0, NO_OPTS, cmd_network_list, "list the flat networks"},
	{"network", "show", "NETWORK", 1, 1, NO_OPTS, cmd_network_show,
	 "show one network with all that is in it"},
	{"network", "down", "NETWORK...", 1, -1, NO_OPTS, cmd_network_down,
	 "remove a network with all that is in it"},
	{"vm", "add", "NETWORK[/SUBNET] NAME", 2, 2, OPTS(vm_add_opts), cmd_vm_add,
	 "make a TAP device and lease an address for a virtual machine"},
	{"vm", "list", "[NETWORK]", 0, 1, NO_OPTS, cmd_vm_list, "list the VMs"},
	{"vm", "show", "NETWORK/NAME", 1, 1, NO_OPTS, cmd_vm_show, "show one VM"},
	{"vm", "snippet", "NETWORK/NAME", 1, 1, OPTS(vm_snippet_opts), cmd_vm_snippet,
	 "print what a VM's monitor, or its kernel, is to be told"},
	{"vm", "delete", "NETWORK/NAME...", 1, -1, NO_OPTS, cmd_vm_delete,
	 "remove VMs' devices and free their addresses"},
	{"cni", "install", "", 0, 0, OPTS(cni_install_opts), cmd_cni_install,
	 "let container runtimes put containers on a network"},
	{"dns", "enable", "VPC", 1, 1, NO_OPTS, cmd_dns_enable,
	 "serve names at the gateway of a VPC or network"},
	{"dns", "disable", "VPC", 1, 1, NO_OPTS, cmd_dns_disable,
	 "serve them no more, nor addresses"},
	{"dns", "run", "VPC", 1, 1, OPTS(dns_run_opts), cmd_dns_run,
	 "run and supervise dnsmasq: what `dns enable` and `network up` start"},
	{"publish", "list", "[VPC]", 0, 1, NO_OPTS, cmd_publish_list, "list the published ports"},
	{"publish", NULL, "NETWORK/NAME MAPPING...", 2, -1, NO_OPTS, cmd_publish,
	 "let ports of the host lead to a VM, a container or a subnet"},
	{"unpublish", NULL, "NETWORK/NAME [PORT...]", 1, -1, NO_OPTS, cmd_unpublish,
	 "take ports back, or all of them"},
	{"nat", "enable", "VPC", 1, 1, OPTS(nat_enable_opts), cmd_nat_enable,
	 "let a VPC's public subnets out"},
	{"nat", "disable", "VPC", 1, 1, NO_OPTS, cmd_nat_disable, "cut them off again"},
	{"peer", "add", "VPC VPC", 2, 2, OPTS(peer_add_opts), cmd_peer_add,
	 "let two VPCs reach each other"},
	{"peer", "list", "", 0, 0, NO_OPTS, cmd_peer_list, "list the peerings"},
	{"peer", "delete", "VPC VPC", 2, 2, NO_OPTS, cmd_peer_delete, "part them again"},
	{"policy", "apply", "VPC/NAME FILE", 2, 2, NO_OPTS, cmd_policy_apply,
	 "put a subnet (or VPC/* for all), or a VM, under a security group"},
	{"policy", "show", "VPC/NAME", 1, 1, NO_OPTS, cmd_policy_show,
	 "show a subnet's or a VM's policy"},
	{"policy", "verify", "VPC/NAME", 1, 1, NO_OPTS, cmd_policy_verify,
	 "compare the kernel's rules with the policy"},
	{"policy", "remove", "VPC/NAME", 1, 1, NO_OPTS, cmd_policy_remove,
	 "open a subnet or a VM again"},
	{"proxy", "up", "", 0, 0, OPTS(proxy_up_opts), FULL(cmd_proxy_up),
	 "send all TCP through an HTTP CONNECT proxy, and block the rest"},
	{"proxy", "down", "", 0, 0, OPTS(tunnel_in_opts), cmd_proxy_down,
	 "take a tunnel down, running or not, and everything it blocks"},
	{"proxy", "status", "", 0, 0, OPTS(tunnel_in_opts), cmd_proxy_status, "show the tunnels"},
	{"proxy", "check", "HOST:PORT", 1, 1, OPTS(proxy_check_opts), FULL(cmd_proxy_check),
	 "open one stream through a proxy, with no tunnel, and say how it went"},
	{"ssh", "down", "", 0, 0, OPTS(tunnel_in_opts), cmd_ssh_down,
	 "take a tunnel down, running or not, and everything it blocks"},
	{"ssh", "status", "", 0, 0, OPTS(tunnel_in_opts), cmd_ssh_status, "show the tunnels"},
	{"ssh", "check", "[USER@]HOST HOST:PORT", 2, 2, OPTS(ssh_check_opts), FULL(cmd_ssh_check),
	 "open one stream through a server, with no tunnel, and say how it went"},
	{"ssh", NULL, "[USER@]HOST", 1, 1, OPTS(ssh_up_opts), FULL(cmd_ssh_up),
	 "send everything through an SSH server, and block the rest"},
	{"session", "up", "FILE", 1, 1, OPTS(session_up_opts), cmd_session_up,
	 "bring up the openconnect sessions of a file, and keep them up"},
	{"session", "down", "[NAME|FILE...]", 0, -1, OPTS(session_down_opts), cmd_session_down,
	 "end sessions, or what a crash left of them, and take everything away"},
	{"session", "list", "[NAME]", 0, 1, NO_OPTS, cmd_session_list, "list the sessions"},
	{"session", "status", "[NAME]", 0, 1, OPTS(session_status_opts), cmd_session_status,
	 "show how the sessions are"},
	{"session", "exec", "NAME -- COMMAND...", 2, -1, NO_OPTS, cmd_session_exec,
	 "run a command inside a session"},
	{"session", "logs", "NAME", 1, 1, OPTS(session_logs_opts), cmd_session_logs,
	 "show a session's log"},
	{"session", "restart", "NAME", 1, 1, NO_OPTS, cmd_session_restart,
	 "start a session's openconnect anew, now"},
	{"session", "check", "NAME", 1, 1, NO_OPTS, cmd_session_check,
	 "ask through a session's tunnel, and say how it went"},
	{"session", "validate", "FILE", 1, 1, OPTS(session_validate_opts), cmd_session_validate,
	 "check a file of sessions"},
	{"session", "hook", "", 0, 0, NO_OPTS, cmd_session_hook,
	 "what openconnect calls as its --script"},
	{"egress", "add", "NAME SPEC", 2, 2, OPTS(egress_add_opts), cmd_egress_add,
	 "name a way out, such as {ssh: alice@bastion.example.com}"},
	{"egress", "list", "", 0, 0, NO_OPTS, cmd_egress_list, "list the ways out"},
	{"egress", "show", "EGRESS", 1, 1, NO_OPTS, cmd_egress_show, "show one with who uses it"},
	{"egress", "use", "WORKLOAD EGRESS,...", 2, 2, OPTS(egress_use_opts), cmd_egress_use,
	 "let a subnet, network, VM or the host out by these, or by nat or none"},
	{"egress", "run", "EGRESS", 1, 1, OPTS(egress_run_opts), FULL(cmd_egress_run),
	 "connect it, and keep it up"},
	{"egress", "stop", "EGRESS", 1, 1, NO_OPTS, cmd_egress_stop,
	 "end it; what goes out by it is blocked"},
	{"egress", "delete", "EGRESS...", 1, -1, NO_OPTS, cmd_egress_delete,
	 "end ways out that nobody uses, and forget them"},
	{"validate", NULL, "FILE...", 1, -1, NO_OPTS, cmd_validate,
	 "check files that say what the machine's networks should be"},
	{"plan", NULL, "FILE...", 1, -1, NO_OPTS, cmd_plan,
	 "show what apply would change (exit status 10 when anything)"},
	{"apply", NULL, "FILE...", 1, -1, NO_OPTS, cmd_apply, "make the networks what the files say"},
	{"destroy", NULL, "FILE...", 1, -1, NO_OPTS, cmd_destroy,
	 "remove what belongs to the files, which may be gone"},
	{"exec", NULL, "VPC/SUBNET -- COMMAND...", 2, -1, NO_OPTS, cmd_exec,
	 "run a command inside a subnet"},
	{"status", NULL, "", 0, 0, OPTS(status_opts), cmd_status, "show everything at a glance"},
	{"events", NULL, "", 0, 0, OPTS(events_opts), cmd_events, "say what changes, when it does"},
	{"graph", NULL, "", 0, 0, OPTS(graph_opts), cmd_graph, "draw what is joined to what"},
	{"metrics", NULL, "", 0, 0, NO_OPTS, cmd_metrics, "print all that can be counted for Prometheus"},
	{"why", NULL, "WORKLOAD WORKLOAD [PORT]", 2, 3, OPTS(why_opts), cmd_why,
	 "say what lets A reach B, or what does not"},
	{"prove", NULL, "TARGET", 1, 1, OPTS(prove_opts), cmd_prove,
	 "send probes from inside, watch outside, and say whether anything leaks"},
	{"serve", NULL, "", 0, 0, OPTS(serve_opts), FULL(cmd_serve),
	 "show all of it as a web page, to this machine alone"},
	{"doctor", NULL, "", 0, 0, OPTS(doctor_opts), cmd_doctor,
	 "find what on this host is in the way, and how to fix it"},
	{"block", NULL, "[FILE...]", 0, -1, NO_OPTS, cmd_block,
	 "let nothing out of this host until a tunnel stands, if a file asks for it"},
	{"unblock", NULL, "", 0, 0, NO_OPTS, cmd_unblock, "let it out again"},
	{"gc", NULL, "", 0, 0, NO_OPTS, cmd_gc,
	 "remove what a crash left, and repair what differs from the state"},
	{"reset", NULL, "", 0, 0, NO_OPTS, cmd_reset, "remove everything that byway made"},
	{"completion", NULL, "SHELL", 1, -1, OPTS(completion_opts), cmd_completion,
	 "print the completion script for bash, zsh or fish"},
};
const size_t cli_n_commands = ARRAY_SIZE(cli_commands);
