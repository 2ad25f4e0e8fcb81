/* A packet's addresses and ports, and how they are changed. */
#pragma once
#include "maps.h"

/* IPv6 headers before the last that are looked through. */
enum { EXTENSIONS_MAX = 4 };

static inline int is_v4(const struct address *it)
{
	return !it->words[0] && !it->words[1] && it->words[2] == htonl(0xffff);
}

static inline void set_v4(struct address *it, __be32 v4)
{
	it->words[0] = it->words[1] = 0;
	it->words[2] = htonl(0xffff);
	it->words[3] = v4;
}

static inline int same_address(const struct address *a, const struct address *b)
{
	return a->words[0] == b->words[0] && a->words[1] == b->words[1] && a->words[2] == b->words[2] &&
	       a->words[3] == b->words[3];
}

/* One that nobody may send from: loopback, multicast, none. */
static inline int is_nobodys(const struct address *it)
{
	if (is_v4(it)) {
		__u32 first = ntohl(it->words[3]) >> 24;
		return first == 0 || first == 127 || first >= 224;
	}
	return (ntohl(it->words[0]) >> 24) == 0xff ||
	       (!it->words[0] && !it->words[1] && !it->words[2] && ntohl(it->words[3]) <= 1);
}

/* One of a container, or of a node in the mesh. */
static inline int is_clusters(const struct settings *us, const struct address *it)
{
	if (is_v4(it))
		return (it->words[3] & us->overlay_mask) == us->overlay;
	return it->words[0] == us->cluster[0] && !((it->words[1] ^ us->cluster[1]) & htonl(0xffff0000));
}

/* A container's address, of the family that a packet has. */
static inline void set_container(const struct settings *us, struct address *it, __be32 v4, int v6)
{
	if (!v6)
		return set_v4(it, v4);
	it->words[0] = us->prefix[0];
	it->words[1] = us->prefix[1];
	it->words[2] = 0;
	it->words[3] = v4;
}

/* Whether an IPv6 address is of the containers' network: an IPv4 address is in its last bytes. */
static inline int is_containers(const struct settings *us, const struct address *it)
{
	return it->words[0] == us->prefix[0] && it->words[1] == us->prefix[1] && !it->words[2];
}

/* The backend that an address and port are. */
static inline __u32 *owner_of(const struct settings *us, const struct address *it, __be16 port, __u8 protocol)
{
	struct owner_key key = { .address = it->words[3], .port = port, .protocol = protocol };

	return is_v4(it) || is_containers(us, it) ? bpf_map_lookup_elem(&owners, &key) : NULL;
}

enum part {
	WHOLE,
	FIRST, /* of several, with the ports in it */
	LATER, /* with none: they are known from the first */
};
struct packet {
	struct flow_key flow; /* its addresses and ports as they are */
	__u32 l3, l4; /* where its headers begin */
	__u32 bytes; /* from l3 on */
	__be32 id; /* of the datagram that it is a part of */
	__u8 v6;
	__u8 flags; /* TCP's */
	__u8 part;
	__u8 fixed; /* it must not be made into several */
};

enum parsed { OURS, OTHERS, WRONG };

/* Where a packet came in, and so where the answers leave. */
struct door {
	__u32 link;
	__u8 flags; /* of the flow back: FLAT, PEER */
	__u8 inside; /* the cluster's own come by it */
};

/* What the program at a link has in hand. It is too much for a stack of 512 bytes; and kernels before 6.2 take the key of
 * a map from no other's stack. No program at a link is interrupted by another, so each processor has one. */
struct hand {
	struct door door;
	struct packet it;
	struct packet quoted; /* what it is about, if it is an error */
	struct flow_key key; /* by which a flow is looked for */
	struct flow flow, back; /* to be put on record */
};
struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct hand);
	MAP_UINT(max_entries, 1);
} hands SECTION(".maps");

static inline struct hand *our_hand(void)
{
	__u32 only = 0;
	return bpf_map_lookup_elem(&hands, &only);
}

/* How long a packet says that it is, with its header. What the kernel has put together of more than it can say (BIG TCP)
 * says zero. */
static inline __u32 said_bytes(struct __sk_buff *skb, const struct packet *it, __be16 said, __u32 header)
{
	return !said && skb->gso_size ? skb->len - it->l3 : header + ntohs(said);
}

static inline enum parsed parse_v4(struct __sk_buff *skb, struct packet *it)
{
	struct ipv4_header ip;
	__u32 head;

	if (bpf_skb_load_bytes(skb, it->l3, &ip, sizeof(ip)))
		return WRONG;
	head = (ip.version_words & 15) * 4;
	it->bytes = said_bytes(skb, it, ip.bytes, 0);
	if (ip.version_words >> 4 != 4 || head < sizeof(ip))
		return WRONG;
	set_v4(&it->flow.from, ip.from);
	set_v4(&it->flow.to, ip.to);
	it->flow.protocol = ip.protocol;
	it->l4 = it->l3 + head;
	it->fixed = !!(ip.fragment & htons(IPV4_DONT_FRAGMENT));
	if (ip.fragment & htons(IPV4_OFFSET))
		it->part = LATER;
	else if (ip.fragment & htons(IPV4_MORE))
		it->part = FIRST;
	it->id = ip.id;
	return it->bytes < head || skb->len - it->l3 < it->bytes ? WRONG : OURS;
}

static inline enum parsed parse_v6(struct __sk_buff *skb, struct packet *it)
{
	struct ipv6_header ip;
	__u8 next;

	if (bpf_skb_load_bytes(skb, it->l3, &ip, sizeof(ip)))
		return WRONG;
	memcpy(&it->flow.from, ip.from, sizeof(ip.from));
	memcpy(&it->flow.to, ip.to, sizeof(ip.to));
	it->v6 = it->fixed = 1;
	it->l4 = it->l3 + sizeof(ip);
	it->bytes = said_bytes(skb, it, ip.payload_bytes, sizeof(ip));
	if (ntohl(ip.version_class_flow) >> 28 != 6 || skb->len - it->l3 < it->bytes)
		return WRONG;
	next = ip.next;
	for (int at = 0; at < EXTENSIONS_MAX; at++) {
		struct ipv6_fragment extension;

		if (next == IPPROTO_FRAGMENT) {
			if (bpf_skb_load_bytes(skb, it->l4, &extension, sizeof(extension)))
				return WRONG;
			it->part = extension.offset_more & htons(0xfff8)  ? LATER
				   : extension.offset_more & htons(1) ? FIRST
								      : WHOLE;
			it->id = extension.id;
			it->l4 += sizeof(extension);
		} else if (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS) {
			if (bpf_skb_load_bytes(skb, it->l4, &extension, 2))
				return WRONG;
			/* The second byte of these is their length, in units of 8 bytes without the first 8. */
			it->l4 += (extension.zero + 1) * 8;
		} else {
			break;
		}
		next = extension.next;
		if (it->part == LATER)
			break;
	}
	it->flow.protocol = next;
	return OURS;
}

/* Takes a packet in hand whose network header begins at `l3`. What is neither TCP nor UDP is others' to look at; it has
 * its addresses and protocol. */
SEPARATE int parse(struct __sk_buff *skb, __u32 l3)
{
	struct hand *hand = our_hand();
	struct packet *it;
	enum parsed network;
	__u32 room;

	if (!hand)
		return WRONG;
	it = &hand->it;
	memset(it, 0, sizeof(*it));
	it->l3 = l3;
	if (skb->protocol == htons(ETH_P_IP))
		network = parse_v4(skb, it);
	else if (skb->protocol == htons(ETH_P_IPV6))
		network = parse_v6(skb, it);
	else
		return OTHERS;
	if (network != OURS)
		return network;
	if (it->l4 > l3 + it->bytes)
		return WRONG;
	room = l3 + it->bytes - it->l4;
	if (it->flow.protocol == IPPROTO_TCP) {
		struct tcp_header tcp;

		if (it->part == LATER)
			return OURS;
		if (bpf_skb_load_bytes(skb, it->l4, &tcp, sizeof(tcp)) || (tcp.words >> 4) * 4 < (int)sizeof(tcp) ||
		    (tcp.words >> 4) * 4u > room)
			return WRONG;
		it->flow.from_port = tcp.from;
		it->flow.to_port = tcp.to;
		it->flags = tcp.flags;
		return OURS;
	}
	if (it->flow.protocol == IPPROTO_UDP) {
		struct udp_header udp;

		if (it->part == LATER)
			return OURS;
		if (bpf_skb_load_bytes(skb, it->l4, &udp, sizeof(udp)) || ntohs(udp.bytes) < sizeof(udp) ||
		    (it->part == WHOLE ? ntohs(udp.bytes) : sizeof(udp)) > room)
			return WRONG;
		it->flow.from_port = udp.from;
		it->flow.to_port = udp.to;
		return OURS;
	}
	return OTHERS;
}

/* The ports of a datagram's later parts are those of its first, which comes before them unless the network changes
 * their order: then they are lost, as if the network had lost them. */
SEPARATE int find_ports(void)
{
	struct hand *hand = our_hand();
	struct fragment_key key = {};
	struct fragment ports;
	struct fragment *known;
	struct packet *it;

	if (!hand)
		return 0;
	it = &hand->it;
	key.from = it->flow.from;
	key.to = it->flow.to;
	key.id = it->id;
	key.protocol = it->flow.protocol;
	ports.from_port = it->flow.from_port;
	ports.to_port = it->flow.to_port;
	if (it->part == FIRST)
		bpf_map_update_elem(&fragments, &key, &ports, BPF_ANY);
	if (it->part != LATER)
		return 1;
	known = bpf_map_lookup_elem(&fragments, &key);
	if (!known)
		return 0;
	it->flow.from_port = known->from_port;
	it->flow.to_port = known->to_port;
	return 1;
}

/* Writes another address, and mends the checksums that it is in. Those of a packet that came with the sum of its
 * bytes (CHECKSUM_COMPLETE) stay right: in IPv4 the header's checksum makes up for the address, in IPv6 the
 * transport's, which the kernel takes into account only from 6.16 on; so it is told. */
static inline int write_address(struct __sk_buff *skb, struct packet *it, struct address *old, struct address *new,
				int is_destination)
{
	__u32 sum = it->l4 + (it->flow.protocol == IPPROTO_TCP ? 16 : 6);
	__u64 flags = BPF_F_PSEUDO_HDR | (it->flow.protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0);
	long failed = 0;

	if (same_address(old, new))
		return 0;
	if (!it->v6) {
		__be32 from = old->words[3], to = new->words[3];

		if (it->part != LATER)
			failed |= bpf_l4_csum_replace(skb, sum, from, to, flags | sizeof(to));
		failed |= bpf_l3_csum_replace(skb, it->l3 + 10, from, to, sizeof(to));
		failed |= bpf_skb_store_bytes(skb, it->l3 + (is_destination ? 16 : 12), &to, sizeof(to), 0);
	} else {
		__s64 change = bpf_csum_diff(old->words, sizeof(*old), new->words, sizeof(*new), 0);

		if (it->part != LATER)
			failed |= bpf_l4_csum_replace(skb, sum, 0, change, flags);
		bpf_csum_update(skb, change);
		failed |= bpf_skb_store_bytes(skb, it->l3 + (is_destination ? 24 : 8), new, sizeof(*new), 0);
	}
	return failed != 0;
}

static inline int write_port(struct __sk_buff *skb, struct packet *it, __be16 old, __be16 new, int is_destination)
{
	int is_tcp = it->flow.protocol == IPPROTO_TCP;
	__u64 flags = (is_tcp ? 0 : BPF_F_MARK_MANGLED_0) | sizeof(new);
	long failed = 0;

	if (old == new || it->part == LATER)
		return 0;
	failed |= bpf_l4_csum_replace(skb, it->l4 + (is_tcp ? 16 : 6), old, new, flags);
	failed |= bpf_skb_store_bytes(skb, it->l4 + (is_destination ? 2 : 0), &new, sizeof(new), 0);
	return failed != 0;
}

/* Writes a flow's addresses and ports into a packet of it. */
SEPARATE int translate(struct __sk_buff *skb, struct flow *flow)
{
	struct hand *hand = our_hand();
	struct packet *it;
	int failed;

	if (!hand || !flow)
		return 1;
	it = &hand->it;
	failed = write_address(skb, it, &it->flow.to, &flow->to, 1);
	failed |= write_port(skb, it, it->flow.to_port, flow->to_port, 1);
	failed |= write_address(skb, it, &it->flow.from, &flow->from, 0);
	failed |= write_port(skb, it, it->flow.from_port, flow->from_port, 0);
	return failed;
}
