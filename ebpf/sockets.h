/* The host's own processes: what they connect to is chosen at the socket, and their packets need no translation. Those of
 * containers are in other networks, and come by their links. */
#pragma once
#include "choose.h"

static inline int is_host(struct bpf_sock_addr *call)
{
	struct settings *us = our_settings();

	return us && us->network == bpf_get_netns_cookie(call);
}

static inline int is_loopback(const struct address *it)
{
	if (is_v4(it))
		return ntohl(it->words[3]) >> 24 == 127;
	return !it->words[0] && !it->words[1] && !it->words[2] && it->words[3] == htonl(1);
}

static inline void meant_v4(struct bpf_sock_addr *call, struct address *it)
{
	set_v4(it, call->user_ip4);
}

static inline void meant_v6(struct bpf_sock_addr *call, struct address *it)
{
	it->words[0] = call->user_ip6[0];
	it->words[1] = call->user_ip6[1];
	it->words[2] = call->user_ip6[2];
	it->words[3] = call->user_ip6[3];
}

static inline void say_v4(struct bpf_sock_addr *call, const struct address *at, __be16 port)
{
	call->user_ip4 = at->words[3];
	call->user_port = port;
}

static inline void say_v6(struct bpf_sock_addr *call, const struct address *at, __be16 port)
{
	call->user_ip6[0] = at->words[0];
	call->user_ip6[1] = at->words[1];
	call->user_ip6[2] = at->words[2];
	call->user_ip6[3] = at->words[3];
	call->user_port = port;
}

/* Chooses where a call goes that is meant for a published port; `at` becomes that. */
static inline int redirect_call(struct bpf_sock_addr *call, struct address *at, __be16 *port)
{
	struct settings *us = our_settings();
	struct frontend_key key = { .to = *at, .port = *port, .protocol = call->protocol };
	struct socket meant = { .meant = *at, .port = *port };
	struct socket_key from = { .cookie = bpf_get_socket_cookie(call) };
	struct frontend *frontend;
	struct backend *to;
	__u32 index = 0, hash;

	if (!us || (call->protocol != IPPROTO_TCP && call->protocol != IPPROTO_UDP) || !is_published(call->protocol, *port) ||
	    !is_host(call))
		return 0;
	frontend = bpf_map_lookup_elem(&frontends, &key);
	if (!frontend) {
		if (!is_loopback(at) && !is_local(at))
			return 0;
		memset(&key.to, 0, sizeof(key.to));
		frontend = bpf_map_lookup_elem(&frontends, &key);
		if (!frontend)
			return 0;
	}
	/* A datagram's socket goes on to where it went. */
	hash = call->protocol == IPPROTO_TCP ? bpf_get_prandom_u32() : mixed((__u32)from.cookie, from.cookie >> 32);
	index = choose(frontend->pool, frontend->flags, hash);
	to = bpf_map_lookup_elem(&backends, &index);
	if (!to || !to->address)
		return 0;
	set_container(us, at, to->address, !is_v4(at));
	*port = to->port;
	from.at = *at;
	from.port = *port;
	bpf_map_update_elem(&sockets, &from, &meant, BPF_ANY);
	if (call->protocol == IPPROTO_TCP)
		was_asked(index, 0);
	return 1;
}

/* What a socket that was sent elsewhere is to hear of. */
static inline struct socket *meant_by(struct bpf_sock_addr *call, const struct address *at)
{
	struct socket_key key = { .cookie = bpf_get_socket_cookie(call), .at = *at, .port = call->user_port };

	return bpf_map_lookup_elem(&sockets, &key);
}

static inline int call_v4(struct bpf_sock_addr *call)
{
	struct address at;
	__be16 port = call->user_port;

	meant_v4(call, &at);
	if (redirect_call(call, &at, &port))
		say_v4(call, &at, port);
	return ALLOWED;
}

static inline int call_v6(struct bpf_sock_addr *call)
{
	struct address at;
	__be16 port = call->user_port;

	meant_v6(call, &at);
	if (redirect_call(call, &at, &port))
		say_v6(call, &at, port);
	return ALLOWED;
}

static inline int hear_v4(struct bpf_sock_addr *call)
{
	struct address at;
	struct socket *socket;

	meant_v4(call, &at);
	socket = meant_by(call, &at);
	if (socket)
		say_v4(call, &socket->meant, socket->port);
	return ALLOWED;
}

static inline int hear_v6(struct bpf_sock_addr *call)
{
	struct address at;
	struct socket *socket;

	meant_v6(call, &at);
	socket = meant_by(call, &at);
	if (socket)
		say_v6(call, &socket->meant, socket->port);
	return ALLOWED;
}

/* A published port is taken: who wants it for itself hears so, rather than get nothing. */
static inline int take_port(struct bpf_sock_addr *call, struct address *at)
{
	struct frontend_key key = { .to = *at, .port = call->user_port, .protocol = call->protocol };
	int anywhere = is_v4(at) ? !at->words[3] : !(at->words[0] | at->words[1] | at->words[2] | at->words[3]);

	if ((call->protocol != IPPROTO_TCP && call->protocol != IPPROTO_UDP) ||
	    !is_published(call->protocol, call->user_port) || !is_host(call))
		return ALLOWED;
	/* Everywhere is here, too; and one that has a port at all addresses has it at each. */
	if (!anywhere && !bpf_map_lookup_elem(&frontends, &key)) {
		memset(&key.to, 0, sizeof(key.to));
		if (!bpf_map_lookup_elem(&frontends, &key))
			return ALLOWED;
	}
	bpf_set_retval(-EADDRINUSE);
	return REFUSED;
}

SECTION("cgroup/connect4")
int connect_v4(struct bpf_sock_addr *call)
{
	return call_v4(call);
}

SECTION("cgroup/connect6")
int connect_v6(struct bpf_sock_addr *call)
{
	return call_v6(call);
}

SECTION("cgroup/sendmsg4")
int sendmsg_v4(struct bpf_sock_addr *call)
{
	return call_v4(call);
}

SECTION("cgroup/sendmsg6")
int sendmsg_v6(struct bpf_sock_addr *call)
{
	return call_v6(call);
}

SECTION("cgroup/recvmsg4")
int recvmsg_v4(struct bpf_sock_addr *call)
{
	return hear_v4(call);
}

SECTION("cgroup/recvmsg6")
int recvmsg_v6(struct bpf_sock_addr *call)
{
	return hear_v6(call);
}

SECTION("cgroup/getpeername4")
int getpeername_v4(struct bpf_sock_addr *call)
{
	return hear_v4(call);
}

SECTION("cgroup/getpeername6")
int getpeername_v6(struct bpf_sock_addr *call)
{
	return hear_v6(call);
}

SECTION("cgroup/bind4")
int bind_v4(struct bpf_sock_addr *call)
{
	struct address at;

	meant_v4(call, &at);
	return take_port(call, &at);
}

SECTION("cgroup/bind6")
int bind_v6(struct bpf_sock_addr *call)
{
	struct address at;

	meant_v6(call, &at);
	return take_port(call, &at);
}
