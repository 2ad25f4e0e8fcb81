/* Errors about packets of flows: those that come are passed on to whom they concern, as if they were about what that one
 * sent; and one that this node has to send itself. */
#pragma once
#include "send.h"

enum {
	ICMP_UNREACHABLE = 3,
	ICMP_TOO_BIG = 4, /* a code of the above */
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETER = 12,
	ICMPV6_UNREACHABLE = 1,
	ICMPV6_TOO_BIG = 2,
	ICMPV6_PARAMETER = 4,
};

/* Tells the sender that its packet does not fit into the mesh (RFC 792 with RFC 1191, 4; RFC 4443, 3.2). */
static inline int say_too_big_v4(struct __sk_buff *skb, const struct settings *us, const struct packet *it)
{
	struct {
		struct ipv4_header ip;
		struct icmp_header icmp;
	} head = {
		.ip = { .version_words = 0x45, .hops = 64, .protocol = IPPROTO_ICMP,
			.from = it->flow.to.words[3], .to = it->flow.from.words[3] },
		.icmp = { .type = ICMP_UNREACHABLE, .code = ICMP_TOO_BIG },
	};
	/* The longest header, and the 8 bytes after it that tell whose packet it was. */
	__be32 quoted[17];

	if (bpf_skb_load_bytes(skb, it->l3, quoted, sizeof(quoted)))
		return drop(MALFORMED);
	head.ip.bytes = htons(sizeof(head) + sizeof(quoted));
	head.ip.checksum = folded(bpf_csum_diff(NULL, 0, (__be32 *)&head.ip, sizeof(head.ip), 0));
	head.icmp.rest = htonl(room_in_mesh(us, it->v6));
	head.icmp.checksum = folded(bpf_csum_diff(NULL, 0, quoted, sizeof(quoted),
						  bpf_csum_diff(NULL, 0, (__be32 *)&head.icmp, sizeof(head.icmp), 0)));
	if (bpf_skb_change_tail(skb, it->l3 + sizeof(quoted), 0) ||
	    bpf_skb_adjust_room(skb, sizeof(head), BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_store_bytes(skb, it->l3, &head, sizeof(head), 0))
		return drop(FAILED);
	return bpf_redirect_neigh(skb->ifindex, NULL, 0, 0);
}

static inline int say_too_big_v6(struct __sk_buff *skb, const struct settings *us, const struct packet *it)
{
	struct {
		struct ipv6_header ip;
		struct icmp_header icmp;
	} head = {
		.ip = { .version_class_flow = htonl(6 << 28), .next = IPPROTO_ICMPV6, .hops = 64 },
		.icmp = { .type = ICMPV6_TOO_BIG },
	};
	/* The pseudo-header of the checksum (RFC 8200, 8.1): after the addresses, how long and what. */
	__be32 length_next[2] = {};
	/* With two headers between the first and the transport's. */
	__be32 quoted[20];
	__u64 sum;

	if (bpf_skb_load_bytes(skb, it->l3, quoted, sizeof(quoted)))
		return drop(MALFORMED);
	memcpy(head.ip.from, &it->flow.to, sizeof(head.ip.from));
	memcpy(head.ip.to, &it->flow.from, sizeof(head.ip.to));
	head.ip.payload_bytes = htons(sizeof(head.icmp) + sizeof(quoted));
	head.icmp.rest = htonl(room_in_mesh(us, it->v6));
	length_next[0] = htonl(sizeof(head.icmp) + sizeof(quoted));
	length_next[1] = htonl(IPPROTO_ICMPV6);
	sum = bpf_csum_diff(NULL, 0, head.ip.from, sizeof(head.ip.from) + sizeof(head.ip.to), 0);
	sum = bpf_csum_diff(NULL, 0, length_next, sizeof(length_next), sum);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&head.icmp, sizeof(head.icmp), sum);
	head.icmp.checksum = folded(bpf_csum_diff(NULL, 0, quoted, sizeof(quoted), sum));
	if (bpf_skb_change_tail(skb, it->l3 + sizeof(quoted), 0) ||
	    bpf_skb_adjust_room(skb, sizeof(head), BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_store_bytes(skb, it->l3, &head, sizeof(head), 0))
		return drop(FAILED);
	return bpf_redirect_neigh(skb->ifindex, NULL, 0, 0);
}

SEPARATE int say_too_big(struct __sk_buff *skb)
{
	struct settings *us = our_settings();
	struct hand *hand = our_hand();

	if (!us || !hand)
		return drop(FAILED);
	return hand->it.v6 ? say_too_big_v6(skb, us, &hand->it) : say_too_big_v4(skb, us, &hand->it);
}

/* Whether a message is an error, which has the packet that it is about in it. */
static inline int is_error(const struct packet *it, __u8 type)
{
	if (it->v6)
		return type >= ICMPV6_UNREACHABLE && type <= ICMPV6_PARAMETER;
	return type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER;
}

/* What an error quotes: the packet that it is about, as the one who complains saw it. */
static inline int parse_quoted(struct __sk_buff *skb, const struct packet *it, struct packet *quoted)
{
	struct {
		__be16 from, to;
	} ports;

	memset(quoted, 0, sizeof(*quoted));
	quoted->l3 = it->l4 + sizeof(struct icmp_header);
	quoted->v6 = it->v6;
	if (!it->v6) {
		struct ipv4_header ip;

		if (bpf_skb_load_bytes(skb, quoted->l3, &ip, sizeof(ip)) || ip.fragment & htons(IPV4_OFFSET))
			return 0;
		set_v4(&quoted->flow.from, ip.from);
		set_v4(&quoted->flow.to, ip.to);
		quoted->flow.protocol = ip.protocol;
		quoted->l4 = quoted->l3 + (ip.version_words & 15) * 4;
	} else {
		struct ipv6_header ip;

		if (bpf_skb_load_bytes(skb, quoted->l3, &ip, sizeof(ip)))
			return 0;
		memcpy(&quoted->flow.from, ip.from, sizeof(ip.from));
		memcpy(&quoted->flow.to, ip.to, sizeof(ip.to));
		quoted->flow.protocol = ip.next;
		quoted->l4 = quoted->l3 + sizeof(ip);
	}
	if (quoted->flow.protocol != IPPROTO_TCP && quoted->flow.protocol != IPPROTO_UDP)
		return 0;
	if (bpf_skb_load_bytes(skb, quoted->l4, &ports, sizeof(ports)))
		return 0;
	quoted->flow.from_port = ports.from;
	quoted->flow.to_port = ports.to;
	return 1;
}

/* Writes one address of an error, outside and in what it quotes; the ICMP checksum is of all but IPv4's header. */
static inline int write_both(struct __sk_buff *skb, struct packet *it, struct packet *quoted, struct address *outer_old,
			     struct address *outer_new, int outer_at_destination, struct address *inner_old,
			     struct address *inner_new, int inner_at_destination)
{
	__u32 sum = it->l4 + 2;
	long failed = 0;

	if (!it->v6) {
		__be32 from = outer_old->words[3], to = outer_new->words[3];
		__be32 inner_from = inner_old->words[3], inner_to = inner_new->words[3];

		failed |= bpf_l3_csum_replace(skb, it->l3 + 10, from, to, sizeof(to));
		failed |= bpf_skb_store_bytes(skb, it->l3 + (outer_at_destination ? 16 : 12), &to, sizeof(to), 0);
		/* Within, the header's own checksum makes up for the address. */
		failed |= bpf_l3_csum_replace(skb, quoted->l3 + 10, inner_from, inner_to, sizeof(inner_to));
		failed |= bpf_skb_store_bytes(skb, quoted->l3 + (inner_at_destination ? 16 : 12), &inner_to,
					      sizeof(inner_to), 0);
	} else {
		__s64 change = bpf_csum_diff(outer_old->words, sizeof(*outer_old), outer_new->words, sizeof(*outer_new), 0);

		failed |= bpf_l4_csum_replace(skb, sum, 0, change, BPF_F_PSEUDO_HDR);
		bpf_csum_update(skb, change);
		failed |= bpf_skb_store_bytes(skb, it->l3 + (outer_at_destination ? 24 : 8), outer_new, sizeof(*outer_new), 0);
		change = bpf_csum_diff(inner_old->words, sizeof(*inner_old), inner_new->words, sizeof(*inner_new), 0);
		failed |= bpf_l4_csum_replace(skb, sum, 0, change, 0);
		failed |= bpf_skb_store_bytes(skb, quoted->l3 + (inner_at_destination ? 24 : 8), inner_new,
					      sizeof(*inner_new), 0);
	}
	return failed != 0;
}

static inline int write_quoted_port(struct __sk_buff *skb, struct packet *it, struct packet *quoted, __be16 old, __be16 new,
				    int at_destination)
{
	long failed = 0;

	if (old == new)
		return 0;
	failed |= bpf_l4_csum_replace(skb, it->l4 + 2, old, new, sizeof(new));
	failed |= bpf_skb_store_bytes(skb, quoted->l4 + (at_destination ? 2 : 0), &new, sizeof(new), 0);
	return failed != 0;
}
