/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
 *
 * Fizz's ingress: what comes to a published port of any node goes to a healthy replica on any node, with the client's
 * address as it is, and what that answers goes back the same way.
 *
 *   client -> outside -> [from_outside] ------------------------> container        the replica is here
 *   client -> outside -> [from_outside] -> mesh -> [from_mesh] -> container        it is on another node
 *   client <- outside <- [from_mesh] <- mesh <- [from_container] <- container
 *
 * Between nodes a packet is inside another (into_mesh), so that neither end's address needs to be the mesh's. The host's
 * own connections are translated at its sockets, once for each. Names in brackets are the programs. */
#include "flows.h"

char terms[] SECTION("license") = "GPL";

/* At each link to the outside. */
SECTION("classifier")
int from_outside(struct __sk_buff *skb)
{
	/* Of a network that has a link of its own, where it comes by again. */
	if (skb->vlan_present || skb->pkt_type != PACKET_HOST)
		return TC_ACT_OK;
	return inward(skb, ETH_BYTES, 0, 0);
}

/* At such a one without hardware addresses. */
SECTION("classifier")
int from_outside_flat(struct __sk_buff *skb)
{
	return inward(skb, 0, FLAT, 0);
}

/* Whether a packet has the address of the container that is at the other end of a link. */
static inline int is_its_address(struct __sk_buff *skb, const struct settings *us, const struct address *it)
{
	__u32 link = skb->ifindex;
	__be32 *end = bpf_map_lookup_elem(&ends, &link);

	return end && it->words[3] == *end && (is_v4(it) || is_containers(us, it));
}

/* A connection from the port at which a replica listens: seldom, and its own business. */
static inline int let_pass(struct hand *hand)
{
	memset(&hand->flow, 0, sizeof(hand->flow));
	hand->flow.state = PASSED;
	hand->flow.seen_ns = bpf_ktime_get_ns();
	bpf_map_update_elem(&flows, &hand->it.flow, &hand->flow, BPF_ANY);
	return TC_ACT_OK;
}

/* At the node's end of each container's link. */
SECTION("classifier")
int from_container(struct __sk_buff *skb)
{
	struct settings *us = our_settings();
	struct hand *hand = our_hand();
	struct packet *it;
	struct flow *back;
	int parsed;

	if (!us || !hand)
		return TC_ACT_OK;
	hand->door = (struct door){ .link = skb->ifindex, .flags = PEER, .inside = 1 };
	it = &hand->it;
	parsed = parse(skb, ETH_BYTES);
	/* One that speaks for another is the firewall's, which drops what it says. */
	if (parsed == WRONG || !is_its_address(skb, us, &it->flow.from))
		return TC_ACT_OK;
	if (parsed == OTHERS)
		return is_about_a_flow(skb) ? error_back(skb) : TC_ACT_OK;
	if (it->part != WHOLE && !find_ports())
		return TC_ACT_OK;
	if (!owner_of(us, &it->flow.from, it->flow.from_port, it->flow.protocol))
		return lead(skb);
	it->flow.way = BACK;
	back = bpf_map_lookup_elem(&flows, &it->flow);
	if (back)
		return reply(skb, back);
	if (it->flow.protocol != IPPROTO_TCP || is_clusters(us, &it->flow.to) || is_local(&it->flow.to))
		return lead(skb);
	if ((it->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		return let_pass(hand);
	/* What is known of its connection was lost. Sent as it is, it would end it; the client's next packet brings it
	 * back, as it is sent to the same replica again. */
	return drop(STRAY);
}

/* The link of the replica here that has an address and port; zero if none has. */
static inline __u32 link_here(const struct settings *us, const struct address *to, __be16 port, __u8 protocol, __u32 *index)
{
	__u32 *owner = owner_of(us, to, port, protocol);
	struct backend *backend;

	if (!owner)
		return 0;
	*index = *owner;
	backend = bpf_map_lookup_elem(&backends, index);
	return backend && !backend->through ? backend->link : 0;
}

/* An error between two nodes: for a replica here, or on its way back from one that is there. */
SEPARATE int error_from_mesh(struct __sk_buff *skb)
{
	struct settings *us = our_settings();
	struct hand *hand = our_hand();
	struct flow_key *quoted;
	__u32 index, link;
	int sent;

	if (!us || !hand || !is_about_a_flow(skb))
		return drop(STRANGER);
	quoted = &hand->quoted.flow;
	link = link_here(us, &quoted->from, quoted->from_port, quoted->protocol, &index);
	if (link && same_address(&quoted->from, &hand->it.flow.to))
		return bpf_redirect_peer(link, 0);
	sent = error_back(skb);
	return sent == TC_ACT_OK ? drop(STRANGER) : sent;
}

/* The replies to a client's packet go to the node that sent it. */
static inline void remember_sender(struct hand *hand, __be32 sender, __u32 index)
{
	__u64 now = bpf_ktime_get_ns();
	struct flow *back;

	reverse(&hand->it.flow, &hand->key);
	hand->key.way = BACK;
	back = bpf_map_lookup_elem(&flows, &hand->key);
	if (back && back->through == sender && back->state < CLOSING) {
		touch(back, &hand->it, now);
		return;
	}
	memset(&hand->back, 0, sizeof(hand->back));
	hand->back.backend = index;
	hand->back.through = sender;
	hand->back.state = OPEN;
	hand->back.seen_ns = now;
	bpf_map_update_elem(&flows, &hand->key, &hand->back, BPF_ANY);
}

/* What was inside a packet of another node, which has this gateway. Now it has what a link with hardware addresses needs. */
SEPARATE int unpacked(struct __sk_buff *skb, __u32 sender)
{
	struct settings *us = our_settings();
	struct hand *hand = our_hand();
	struct packet *it;
	struct flow *back;
	__u32 index, link;
	int parsed;

	if (!us || !hand)
		return TC_ACT_OK;
	parsed = parse(skb, ETH_BYTES);
	if (parsed == OTHERS)
		return error_from_mesh(skb);
	if (parsed != OURS)
		return drop(MALFORMED);
	it = &hand->it;
	if (it->part != WHOLE && !find_ports())
		return drop(FRAGMENTED);
	it->flow.way = BACK;
	back = bpf_map_lookup_elem(&flows, &it->flow);
	if (back && !back->through)
		return reply(skb, back);
	/* A client's packet for a replica here. */
	link = link_here(us, &it->flow.to, it->flow.to_port, it->flow.protocol, &index);
	if (!link)
		return drop(STRANGER);
	remember_sender(hand, sender, index);
	return bpf_redirect_peer(link, 0);
}

/* The gateway of the node that sent a packet out of the mesh with another in it, for this node; zero: it has none. That
 * it is who it says, WireGuard has made sure of. */
static inline __be32 sender_of_another(struct __sk_buff *skb, const struct settings *us)
{
	struct address to, from;

	if (skb->protocol == htons(ETH_P_IP)) {
		struct ipv4_header ip;

		if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)) || ip.version_words != 0x45 || ip.protocol != IPPROTO_IPIP)
			return 0;
		set_v4(&from, ip.from);
		set_v4(&to, ip.to);
	} else if (skb->protocol == htons(ETH_P_IPV6)) {
		struct ipv6_header ip;

		if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)) || ip.next != IPPROTO_IPV6)
			return 0;
		memcpy(&from, ip.from, sizeof(ip.from));
		memcpy(&to, ip.to, sizeof(ip.to));
		if (!is_containers(us, &from))
			return 0;
	} else {
		return 0;
	}
	/* One that this node relays to another is not its to open. */
	return is_local(&to) ? from.words[3] : 0;
}

/* At the mesh's device: what is inside the packets of other nodes, and what their containers send to this one. */
SECTION("classifier")
int from_mesh(struct __sk_buff *skb)
{
	struct ethernet_header frame = { .to = { 2 }, .from = { 2 }, .protocol = skb->protocol };
	struct settings *us = our_settings();
	__be32 sender = us ? sender_of_another(skb, us) : 0;

	if (!sender)
		return inward(skb, 0, FLAT, 1);
	/* No container may speak for a node. */
	if (!bpf_map_lookup_elem(&peers, &sender))
		return drop(STRANGER);
	if (bpf_skb_adjust_room(skb, -(int)outer_bytes(skb->protocol == htons(ETH_P_IPV6)), BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_change_head(skb, ETH_BYTES, 0) || bpf_skb_store_bytes(skb, 0, &frame, sizeof(frame), 0))
		return drop(FAILED);
	return unpacked(skb, sender);
}

#include "sockets.h"
