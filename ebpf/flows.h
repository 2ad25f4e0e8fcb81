/* Connections: once one is sent somewhere, it stays there. */
#pragma once
#include "choose.h"
#include "icmp.h"

enum {
	BACKEND_TRIES_MAX = 3, /* other backends that are tried where a connection would clash with another */
	PORT_TRIES_MAX = 8,
};

static const __u64 SECOND_NS = 1000000000ULL;

static inline void reverse(const struct flow_key *key, struct flow_key *back)
{
	back->from = key->to;
	back->to = key->from;
	back->from_port = key->to_port;
	back->to_port = key->from_port;
	back->protocol = key->protocol;
	back->zero = 0;
}

/* A packet of a flow has passed. Not each writes: that would move the entry between processors. */
static inline void touch(struct flow *flow, const struct packet *it, __u64 now)
{
	if (now - flow->seen_ns > SECOND_NS)
		flow->seen_ns = now;
	if (it->flags & TCP_RST)
		flow->state = ENDED;
	else if (it->flags & TCP_FIN && flow->state < CLOSING)
		flow->state = CLOSING;
}

/* Whether a socket of the host's own is there: one that had the port before it was published, or for which the kernel chose
 * it, for a connection outward. */
SEPARATE int is_hosts_own(struct __sk_buff *skb)
{
	struct hand *hand = our_hand();
	struct bpf_sock_tuple tuple;
	struct bpf_sock *socket;
	struct flow_key *flow;
	__u32 bytes;

	if (!hand)
		return 0;
	flow = &hand->it.flow;
	if (hand->it.v6) {
		memcpy(tuple.ipv6.saddr, &flow->from, sizeof(tuple.ipv6.saddr));
		memcpy(tuple.ipv6.daddr, &flow->to, sizeof(tuple.ipv6.daddr));
		tuple.ipv6.sport = flow->from_port;
		tuple.ipv6.dport = flow->to_port;
		bytes = sizeof(tuple.ipv6);
	} else {
		tuple.ipv4.saddr = flow->from.words[3];
		tuple.ipv4.daddr = flow->to.words[3];
		tuple.ipv4.sport = flow->from_port;
		tuple.ipv4.dport = flow->to_port;
		bytes = sizeof(tuple.ipv4);
	}
	socket = flow->protocol == IPPROTO_TCP ? bpf_skc_lookup_tcp(skb, &tuple, bytes, BPF_F_CURRENT_NETNS, 0)
					       : bpf_sk_lookup_udp(skb, &tuple, bytes, BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return 0;
	bpf_sk_release(socket);
	return 1;
}

/* By what the packets back of a flow in are known. */
static inline void key_back(struct hand *hand, const struct flow *in)
{
	struct flow_key *key = &hand->key;

	key->from = in->to;
	key->from_port = in->to_port;
	key->to = in->from;
	key->to_port = in->from_port;
	key->protocol = hand->it.flow.protocol;
	key->way = BACK;
	key->zero = 0;
}

/* The flow back belongs to the one in that a packet is of. */
static inline int is_its_own(const struct flow *back, const struct packet *it)
{
	return same_address(&back->from, &it->flow.to) && back->from_port == it->flow.to_port &&
	       same_address(&back->to, &it->flow.from) && back->to_port == it->flow.from_port;
}

/* Whether what comes back of the flow that is planned could not be told from what comes back of another: one client
 * reaches one backend by two addresses or ports, from one port of its own. */
SEPARATE int clashes(void)
{
	struct hand *hand = our_hand();
	struct flow *other;

	if (!hand)
		return 1;
	key_back(hand, &hand->flow);
	other = bpf_map_lookup_elem(&flows, &hand->key);
	return other && other->state < CLOSING && !is_its_own(other, &hand->it);
}

/* Puts the way back of a flow on record, unless it is. */
static inline void record_back(struct hand *hand, const struct flow *in, int if_new)
{
	struct flow *back = &hand->back;

	key_back(hand, in);
	if (if_new && bpf_map_lookup_elem(&flows, &hand->key))
		return;
	*back = *in;
	back->from = hand->it.flow.to;
	back->from_port = hand->it.flow.to_port;
	back->to = hand->it.flow.from;
	back->to_port = hand->it.flow.from_port;
	back->through = 0;
	back->link = hand->door.link;
	back->flags = hand->door.flags;
	bpf_map_update_elem(&flows, &hand->key, back, BPF_ANY);
}

/* Plans the flow of a packet to a backend. */
static inline void plan(const struct settings *us, struct hand *hand, const struct backend *to, __u32 index, __u64 now)
{
	const struct packet *it = &hand->it;
	struct flow *in = &hand->flow;

	memset(in, 0, sizeof(*in));
	in->from = it->flow.from;
	in->from_port = it->flow.from_port;
	set_container(us, &in->to, to->address, it->v6);
	in->to_port = to->port;
	in->backend = index;
	in->through = to->through;
	in->link = to->link;
	in->flags = PEER;
	in->state = it->flow.protocol == IPPROTO_TCP && it->flags & TCP_SYN ? OPENING : OPEN;
	in->seen_ns = in->began_ns = now;
	/* A replica that reaches itself by a published port would get a packet from itself, which nobody takes. */
	if (same_address(&in->from, &in->to))
		set_container(us, &in->from, us->gateway, it->v6);
}

/* Sends a packet of no known connection to a backend of a pool, and has the rest follow. Where the replies of that one
 * would clash, another takes it; where those of all would, the client's port is translated, too. */
SEPARATE int begin(__u32 pool, __u32 flags)
{
	struct settings *us = our_settings();
	struct hand *hand = our_hand();
	__u64 now = bpf_ktime_get_ns();
	__u32 hash, index = 0;
	struct packet *it;

	if (!us || !hand)
		return 0;
	it = &hand->it;
	hash = hash_of(&it->flow, flags);

	/* Kernels before 6.2 may take a call within a loop for a jump back without end. */
#pragma clang loop unroll(full)
	for (__u32 try = 0; try < BACKEND_TRIES_MAX + PORT_TRIES_MAX; try++) {
		struct backend *to;

		index = choose(pool, flags, hash + (try < BACKEND_TRIES_MAX ? try * 0x20fffffb : 0));
		to = bpf_map_lookup_elem(&backends, &index);
		if (!to || !to->address)
			return 0;
		plan(us, hand, to, index, now);
		if (try >= BACKEND_TRIES_MAX)
			hand->flow.from_port = htons(32768 + (bpf_get_prandom_u32() & 0x7fff));
		if (clashes())
			continue;
		record_back(hand, &hand->flow, 0);
		bpf_map_update_elem(&flows, &it->flow, &hand->flow, BPF_ANY);
		if (it->flow.protocol == IPPROTO_UDP || (it->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
			was_asked(index, it->flow.protocol == IPPROTO_TCP);
		return 1;
	}
	return 0;
}

/* Whether a connection has to go elsewhere than so far: it begins anew, or its replica takes no more of it. */
static inline int is_over(const struct flow *flow, const struct packet *it)
{
	__u32 index = flow->backend;
	struct backend *backend = bpf_map_lookup_elem(&backends, &index);

	if (it->flow.protocol == IPPROTO_UDP)
		return !backend || backend->flags & LEAVING || is_down(index);
	if ((it->flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return 0;
	return flow->state >= CLOSING || (flow->state == OPENING && is_down(index));
}

/* What the error in hand is about, and by what key the flow is known that its quoted packet is answered by. */
SEPARATE int is_about_a_flow(struct __sk_buff *skb)
{
	struct hand *hand = our_hand();
	struct icmp_header icmp;
	struct packet *it;

	if (!hand)
		return 0;
	it = &hand->it;
	if (it->flow.protocol != (it->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP) || it->part != WHOLE ||
	    bpf_skb_load_bytes(skb, it->l4, &icmp, sizeof(icmp)) || !is_error(it, icmp.type) ||
	    !parse_quoted(skb, it, &hand->quoted))
		return 0;
	reverse(&hand->quoted.flow, &hand->key);
	return 1;
}

/* An error about what a replica sent to a client: it hears of it as if it had sent it itself. */
SEPARATE int error_inward(struct __sk_buff *skb)
{
	struct settings *us = our_settings();
	struct hand *hand = our_hand();
	struct packet *it, *quoted;
	struct flow *in;

	if (!us || !hand)
		return TC_ACT_OK;
	it = &hand->it;
	quoted = &hand->quoted;
	hand->key.way = IN;
	in = bpf_map_lookup_elem(&flows, &hand->key);
	if (!in)
		return TC_ACT_OK;
	if (write_both(skb, it, quoted, &it->flow.to, &in->to, 1, &quoted->flow.from, &in->to, 0) ||
	    write_quoted_port(skb, it, quoted, quoted->flow.from_port, in->to_port, 0) ||
	    write_quoted_port(skb, it, quoted, quoted->flow.to_port, in->from_port, 1))
		return drop(FAILED);
	return send(skb, us, it, in);
}

/* An error that a replica, or its node, sends about what a client sent. */
SEPARATE int error_back(struct __sk_buff *skb)
{
	struct settings *us = our_settings();
	struct hand *hand = our_hand();
	struct packet *it, *quoted;
	struct flow *back;

	if (!us || !hand)
		return TC_ACT_OK;
	it = &hand->it;
	quoted = &hand->quoted;
	hand->key.way = BACK;
	back = bpf_map_lookup_elem(&flows, &hand->key);
	if (!back || back->state == PASSED)
		return TC_ACT_OK;
	if (back->through)
		return send(skb, us, it, back);
	if (write_both(skb, it, quoted, &it->flow.from, &back->from, 0, &quoted->flow.to, &back->from, 1) ||
	    write_quoted_port(skb, it, quoted, quoted->flow.to_port, back->from_port, 1) ||
	    write_quoted_port(skb, it, quoted, quoted->flow.from_port, back->to_port, 0))
		return drop(FAILED);
	return send(skb, us, it, back);
}

/* Sends a packet of a known flow on its way. */
SEPARATE int send_inward(struct __sk_buff *skb, struct flow *flow)
{
	struct settings *us = our_settings();
	struct hand *hand = our_hand();

	if (!us || !hand || !flow)
		return drop(FAILED);
	if (flow->through && is_too_big(skb, us, &hand->it))
		return say_too_big(skb);
	if (translate(skb, flow))
		return drop(FAILED);
	return send(skb, us, &hand->it, flow);
}

/* A packet of no known flow: if it is for a frontend and may come in, it begins one. */
SEPARATE int open_inward(struct __sk_buff *skb)
{
	struct settings *us = our_settings();
	struct hand *hand = our_hand();
	struct frontend *frontend;
	struct flow_key *flow;

	if (!us || !hand)
		return TC_ACT_OK;
	flow = &hand->it.flow;
	frontend = frontend_of(flow);
	if (!frontend || is_hosts_own(skb))
		return TC_ACT_OK;
	if (is_nobodys(&flow->from) || (!hand->door.inside && is_clusters(us, &flow->from)))
		return drop(FORGED);
	if (!may_come_in(frontend, &flow->from))
		return drop(NOT_ALLOWED);
	/* The kernel says that nobody is there. */
	if (!has_backends(frontend))
		return TC_ACT_OK;
	if (!begin(frontend->pool, frontend->flags))
		return drop(NO_BACKEND);
	return send_inward(skb, &hand->flow);
}

/* The packet in hand, if it is for an address of this node. */
SEPARATE int lead(struct __sk_buff *skb)
{
	struct hand *hand = our_hand();
	__u64 now = bpf_ktime_get_ns();
	struct packet *it;
	struct flow *flow;

	if (!hand || !is_published(hand->it.flow.protocol, hand->it.flow.to_port))
		return TC_ACT_OK;
	it = &hand->it;
	it->flow.way = IN;
	flow = bpf_map_lookup_elem(&flows, &it->flow);
	if (!flow || is_over(flow, it))
		return open_inward(skb);
	if (it->flow.protocol == IPPROTO_TCP && (it->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		was_asked(flow->backend, 1);
	/* Where the map is full, its two ways may go one without the other. */
	if (now - flow->seen_ns > SECOND_NS)
		record_back(hand, flow, 1);
	touch(flow, it, now);
	return send_inward(skb, flow);
}

/* A packet that comes from outside, or from another node to an address of this one. */
static inline int inward(struct __sk_buff *skb, __u32 l3, __u8 flags, __u8 inside)
{
	struct hand *hand = our_hand();
	int parsed;

	if (!hand)
		return TC_ACT_OK;
	hand->door = (struct door){ .link = skb->ifindex, .flags = flags, .inside = inside };
	parsed = parse(skb, l3);
	if (parsed == OTHERS)
		return is_about_a_flow(skb) ? error_inward(skb) : TC_ACT_OK;
	/* What the kernel drops needs not be dropped here. */
	if (parsed != OURS || (hand->it.part != WHOLE && !find_ports()))
		return TC_ACT_OK;
	return lead(skb);
}

/* What the answer to a connection's first packet says of who gave it. */
static inline void judge(struct flow *back, const struct packet *it, __u64 now)
{
	if (it->flow.protocol != IPPROTO_TCP)
		return;
	if (back->state == OPENING && it->flags & TCP_RST) {
		has_refused(back->backend);
	} else if (back->state == OPENING && (it->flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK)) {
		back->state = OPEN;
		has_answered(back->backend, now - back->began_ns);
	} else if (it->flags & TCP_RST && back->state < ENDED) {
		has_reset(back->backend);
	}
}

/* A reply on a flow back, on this node where it came in or on the one where its replica is. */
SEPARATE int reply(struct __sk_buff *skb, struct flow *back)
{
	struct settings *us = our_settings();
	struct hand *hand = our_hand();
	__u64 now = bpf_ktime_get_ns();
	struct packet *it;

	if (!us || !hand || !back || back->state == PASSED)
		return TC_ACT_OK;
	it = &hand->it;
	if (back->through) {
		touch(back, it, now);
		if (is_too_big(skb, us, it))
			return say_too_big(skb);
		return send(skb, us, it, back);
	}
	judge(back, it, now);
	touch(back, it, now);
	if (translate(skb, back))
		return drop(FAILED);
	return send(skb, us, it, back);
}
