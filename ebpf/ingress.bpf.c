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
	struct door door = { .link = skb->ifindex };

	/* Of a network that has a link of its own, where it comes by again. */
	if (skb->vlan_present || skb->pkt_type != PACKET_HOST)
		return TC_ACT_OK;
	return inward(skb, ETH_BYTES, &door);
}

/* At such a one without hardware addresses. */
SECTION("classifier")
int from_outside_flat(struct __sk_buff *skb)
{
	struct door door = { .link = skb->ifindex, .flags = FLAT };

	return inward(skb, 0, &door);
}

/* A connection from the port at which a replica listens: seldom, and its own business. */
SEPARATE int let_pass(struct packet *it)
{
	struct flow passed = { .state = PASSED, .seen_ns = bpf_ktime_get_ns() };

	if (it)
		bpf_map_update_elem(&flows, &it->flow, &passed, BPF_ANY);
	return TC_ACT_OK;
}

/* At the node's end of each container's link. */
SECTION("classifier")
int from_container(struct __sk_buff *skb)
{
	struct door door = { .link = skb->ifindex, .flags = PEER, .inside = 1 };
	struct settings *us = our_settings();
	struct packet it;
	struct flow *back;
	int parsed;

	if (!us)
		return TC_ACT_OK;
	memset(&it, 0, sizeof(it));
	parsed = parse(skb, ETH_BYTES, &it);
	if (parsed == OTHERS)
		return pass_error(skb, &it, BACK);
	if (parsed != OURS || (it.part != WHOLE && !find_ports(&it)))
		return TC_ACT_OK;
	if (!owner_of(us, &it.flow.from, it.flow.from_port, it.flow.protocol))
		return lead(skb, &it, &door);
	it.flow.way = BACK;
	back = bpf_map_lookup_elem(&flows, &it.flow);
	if (back)
		return reply(skb, &it, back);
	if (it.flow.protocol != IPPROTO_TCP || is_clusters(us, &it.flow.to) || is_local(&it.flow.to))
		return lead(skb, &it, &door);
	if ((it.flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		return let_pass(&it);
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
SEPARATE int error_from_mesh(struct __sk_buff *skb, struct packet *it)
{
	struct settings *us = our_settings();
	struct packet quoted;
	struct flow_key key;
	__u32 index, link;
	int sent;

	memset(&quoted, 0, sizeof(quoted));
	memset(&key, 0, sizeof(key));
	if (!us || !it || !quoted_flow(skb, it, &quoted, &key))
		return drop(STRANGER);
	link = link_here(us, &quoted.flow.from, quoted.flow.from_port, quoted.flow.protocol, &index);
	if (link && same_address(&quoted.flow.from, &it->flow.to))
		return bpf_redirect_peer(link, 0);
	sent = error_back(skb, it, &quoted, &key);
	return sent == TC_ACT_OK ? drop(STRANGER) : sent;
}

/* The replies to a client's packet go to the node that sent it. */
SEPARATE int remember_sender(struct packet *it, __u32 sender, __u32 index)
{
	__u64 now = bpf_ktime_get_ns();
	struct flow_key key = {};
	struct flow fresh = { .backend = index, .through = sender, .state = OPEN, .seen_ns = now };
	struct flow *back;

	if (!it)
		return 0;
	reverse(&it->flow, &key);
	key.way = BACK;
	back = bpf_map_lookup_elem(&flows, &key);
	if (!back || back->through != sender || back->state >= CLOSING)
		return bpf_map_update_elem(&flows, &key, &fresh, BPF_ANY);
	touch(back, it, now);
	return 0;
}

/* What was inside a packet of another node, which has this gateway. Now it has what a link with hardware addresses needs. */
SEPARATE int unpacked(struct __sk_buff *skb, __u32 sender)
{
	struct settings *us = our_settings();
	struct packet it;
	struct flow *back;
	__u32 index, link;
	int parsed;

	if (!us)
		return TC_ACT_OK;
	memset(&it, 0, sizeof(it));
	parsed = parse(skb, ETH_BYTES, &it);
	if (parsed == OTHERS)
		return error_from_mesh(skb, &it);
	if (parsed != OURS)
		return drop(MALFORMED);
	if (it.part != WHOLE && !find_ports(&it))
		return drop(FRAGMENTED);
	it.flow.way = BACK;
	back = bpf_map_lookup_elem(&flows, &it.flow);
	if (back && !back->through)
		return reply(skb, &it, back);
	/* A client's packet for a replica here. */
	link = link_here(us, &it.flow.to, it.flow.to_port, it.flow.protocol, &index);
	if (!link)
		return drop(STRANGER);
	remember_sender(&it, sender, index);
	return bpf_redirect_peer(link, 0);
}

/* Whether a packet out of the mesh has another in it, for this node; `from` is the gateway of the one that sent it. That
 * it is who it says, WireGuard has made sure of. */
SEPARATE int holds_another(struct __sk_buff *skb, __be32 *from)
{
	struct settings *us = our_settings();
	struct address to, sender;

	if (!us || !from)
		return 0;
	if (skb->protocol == htons(ETH_P_IP)) {
		struct ipv4_header ip;

		if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)) || ip.version_words != 0x45 || ip.protocol != IPPROTO_IPIP)
			return 0;
		*from = ip.from;
		set_v4(&to, ip.to);
	} else if (skb->protocol == htons(ETH_P_IPV6)) {
		struct ipv6_header ip;

		if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)) || ip.next != IPPROTO_IPV6)
			return 0;
		memcpy(&sender, ip.from, sizeof(ip.from));
		*from = is_containers(us, &sender) ? sender.words[3] : 0;
		memcpy(&to, ip.to, sizeof(ip.to));
	} else {
		return 0;
	}
	/* One that this node relays to another is not its to open. */
	return is_local(&to);
}

/* At the mesh's device: what is inside the packets of other nodes, and what their containers send to this one. */
SECTION("classifier")
int from_mesh(struct __sk_buff *skb)
{
	struct door door = { .link = skb->ifindex, .flags = FLAT, .inside = 1 };
	struct ethernet_header frame = { .to = { 2 }, .from = { 2 }, .protocol = skb->protocol };
	__be32 sender = 0;

	if (!holds_another(skb, &sender))
		return inward(skb, 0, &door);
	/* No container may speak for a node. */
	if (!bpf_map_lookup_elem(&peers, &sender))
		return drop(STRANGER);
	if (bpf_skb_adjust_room(skb, -(int)outer_bytes(skb->protocol == htons(ETH_P_IPV6)), BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_change_head(skb, ETH_BYTES, 0) || bpf_skb_store_bytes(skb, 0, &frame, sizeof(frame), 0))
		return drop(FAILED);
	return unpacked(skb, sender);
}

#include "sockets.h"
