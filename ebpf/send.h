/* Where packets go once they are translated: to a container, into the mesh, or back to where they came from. */
#pragma once
#include "packet.h"

enum { TCP_OPTIONS_MAX = 20 };

static inline __u16 folded(__u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* The header that goes before a packet into the mesh: of its own family, so that both ends' kernels, also those before
 * 6.3, need not be told that what is inside is of another. */
static inline __u32 outer_bytes(int v6)
{
	return v6 ? sizeof(struct ipv6_header) : sizeof(struct ipv4_header);
}

/* The largest packet that fits into the mesh beside that header. */
static inline __u32 room_in_mesh(const struct settings *us, int v6)
{
	return us->mesh_bytes_max - outer_bytes(v6);
}

/* Whether a packet is larger than that, and must stay one. What the kernel has put together from several of one
 * connection (GSO) it takes apart again, each as large as they came. */
static inline int is_too_big(struct __sk_buff *skb, const struct settings *us, const struct packet *it)
{
	__u32 head = it->l4 - it->l3 + (it->flow.protocol == IPPROTO_TCP ? 20 : 8);
	__u32 bytes = skb->gso_size ? skb->gso_size + head : it->bytes;

	return it->fixed && bytes > room_in_mesh(us, it->v6);
}

/* Has a connection that crosses the mesh agree on segments that fit (RFC 9293, 3.7.1). */
SEPARATE int limit_segments(struct __sk_buff *skb, __u32 l4, __u32 most)
{
	__u32 at = l4 + sizeof(struct tcp_header), end;
	struct tcp_header tcp;

	if (bpf_skb_load_bytes(skb, l4, &tcp, sizeof(tcp)))
		return 0;
	end = l4 + (tcp.words >> 4) * 4;
	for (int option = 0; option < TCP_OPTIONS_MAX; option++) {
		struct {
			__u8 kind, bytes;
			__be16 value;
		} is;
		__be16 less = htons(most);

		if (at + 2 > end || bpf_skb_load_bytes(skb, at, &is, 2) || is.kind == 0)
			return 0;
		if (is.kind == 1) {
			at++;
			continue;
		}
		if (is.kind == 2 && is.bytes == 4) {
			if (bpf_skb_load_bytes(skb, at, &is, 4) || ntohs(is.value) <= (most & 0xffff))
				return 0;
			/* A checksum is of 16-bit words; the value may be across two. */
			if ((at - l4) & 1) {
				__be16 old = (__be16)__builtin_bswap16(is.value), new = (__be16)__builtin_bswap16(less);

				bpf_l4_csum_replace(skb, l4 + 16, old, new, 2);
			} else {
				bpf_l4_csum_replace(skb, l4 + 16, is.value, less, 2);
			}
			bpf_skb_store_bytes(skb, at + 2, &less, sizeof(less), 0);
			return 0;
		}
		if (is.bytes < 2)
			return 0;
		at += is.bytes;
	}
	return 0;
}

static inline int put_v4(struct __sk_buff *skb, const struct settings *us, const struct packet *it, __be32 to)
{
	struct ipv4_header ip = {
		.version_words = 0x45,
		.bytes = htons(it->bytes + sizeof(ip)),
		.hops = 64,
		.protocol = IPPROTO_IPIP,
		.from = us->gateway,
		.to = to,
	};

	ip.checksum = folded(bpf_csum_diff(NULL, 0, (__be32 *)&ip, sizeof(ip), 0));
	return bpf_skb_adjust_room(skb, sizeof(ip), BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4) ||
	       bpf_skb_store_bytes(skb, it->l3, &ip, sizeof(ip), 0);
}

static inline int put_v6(struct __sk_buff *skb, const struct settings *us, const struct packet *it, __be32 to)
{
	struct ipv6_header ip = {
		.version_class_flow = htonl(6 << 28),
		.payload_bytes = htons(it->bytes),
		.next = IPPROTO_IPV6,
		.hops = 64,
	};
	struct address end;

	set_container(us, &end, us->gateway, 1);
	memcpy(ip.from, &end, sizeof(ip.from));
	set_container(us, &end, to, 1);
	memcpy(ip.to, &end, sizeof(ip.to));
	return bpf_skb_adjust_room(skb, sizeof(ip), BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6) ||
	       bpf_skb_store_bytes(skb, it->l3, &ip, sizeof(ip), 0);
}

/* Puts a packet into another, from this node to the one that has this gateway, with the replica or the client (RFC 2003;
 * RFC 2473 for IPv6). So the mesh carries it between two of its own addresses, and what is inside stays as it is. */
SEPARATE int into_mesh(struct __sk_buff *skb, __be32 to)
{
	struct settings *us = our_settings();
	struct hand *hand = our_hand();
	struct packet *it;

	if (!us || !hand || !us->gateway || !us->mesh_link)
		return drop(FAILED);
	it = &hand->it;
	/* Ethernet fills up what is short. */
	if (!skb->gso_size && skb->len > it->l3 + it->bytes && bpf_skb_change_tail(skb, it->l3 + it->bytes, 0))
		return drop(FAILED);
	if (it->v6 ? put_v6(skb, us, it, to) : put_v4(skb, us, it, to))
		return drop(FAILED);
	return bpf_redirect(us->mesh_link, 0);
}

static inline int send(struct __sk_buff *skb, const struct settings *us, const struct packet *it, const struct flow *flow)
{
	if (flow->through) {
		if (it->flags & TCP_SYN)
			limit_segments(skb, it->l4, room_in_mesh(us, it->v6) - (it->v6 ? 60 : 40));
		return into_mesh(skb, flow->through);
	}
	if (flow->flags & PEER)
		return bpf_redirect_peer(flow->link, 0);
	if (flow->flags & FLAT)
		return bpf_redirect(flow->link, 0);
	/* Not by the kernel's forwarding, to which the sender would look like one from nowhere. */
	return bpf_redirect_neigh(flow->link, NULL, 0, 0);
}
