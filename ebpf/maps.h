/* The maps, pinned by their names, and the few ways in which the programs use them. */
#pragma once
#include "layout.h"

#define HASH(name, key_type, value_type, count, kind, flag) \
	struct { \
		MAP_UINT(type, kind); \
		MAP_TYPE(key, key_type); \
		MAP_TYPE(value, value_type); \
		MAP_UINT(max_entries, count); \
		MAP_UINT(map_flags, flag); \
		MAP_UINT(pinning, PIN_BY_NAME); \
	} name SECTION(".maps")
#define ARRAY(name, value_type, count) HASH(name, __u32, value_type, count, BPF_MAP_TYPE_ARRAY, 0)

ARRAY(settings, struct settings, 1);
/* A bit for each port of TCP (first) and UDP: whether any frontend has it. Most packets need to ask nothing more. */
ARRAY(published, __u64, 2 * 65536 / 64);
HASH(frontends, struct frontend_key, struct frontend, FRONTENDS_MAX, BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC);
HASH(ranges, struct range_key, __u32, RANGES_MAX, BPF_MAP_TYPE_LPM_TRIE, BPF_F_NO_PREALLOC);
HASH(tables, struct table_key, struct table, 2 * POOLS_MAX, BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC);
ARRAY(pools, struct pool, POOLS_MAX);
ARRAY(backends, struct backend, BACKENDS_MAX);
HASH(owners, struct owner_key, __u32, BACKENDS_MAX, BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC);
ARRAY(states, struct state, BACKENDS_MAX);
/* Those that are not well, for the daemon to find. */
HASH(outs, __u32, __u32, BACKENDS_MAX, BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC);
ARRAY(watches, struct watch, BACKENDS_MAX);
ARRAY(counts, struct counts, BACKENDS_MAX);
HASH(flows, struct flow_key, struct flow, FLOWS_MAX, BPF_MAP_TYPE_LRU_HASH, 0);
HASH(fragments, struct fragment_key, struct fragment, FRAGMENTS_MAX, BPF_MAP_TYPE_LRU_HASH, 0);
HASH(sockets, struct socket_key, struct socket, SOCKETS_MAX, BPF_MAP_TYPE_LRU_HASH, 0);
/* The node's own addresses, and the gateways of all nodes of the mesh. */
HASH(locals, struct address, __u32, LOCALS_MAX, BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC);
HASH(peers, __be32, __u32, PEERS_MAX, BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC);
/* Which container is at the other end of each link: its address. */
HASH(ends, __u32, __be32, ENDS_MAX, BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC);
ARRAY(drops, __u64, DROPS);

static inline struct settings *our_settings(void)
{
	__u32 only = 0;
	return bpf_map_lookup_elem(&settings, &only);
}

/* Counts a packet that goes no further. */
static inline int drop(enum drop why)
{
	__u32 at = why;
	__u64 *count = bpf_map_lookup_elem(&drops, &at);

	if (count)
		__sync_fetch_and_add(count, 1);
	return TC_ACT_SHOT;
}

/* Whether any frontend has a port. */
static inline int is_published(__u8 protocol, __be16 port)
{
	__u32 number = ntohs(port) | (protocol == IPPROTO_UDP) << 16;
	__u32 word = number / 64;
	__u64 *bits = bpf_map_lookup_elem(&published, &word);

	return bits && *bits >> (number % 64) & 1;
}

static inline int is_local(const struct address *address)
{
	return bpf_map_lookup_elem(&locals, address) != NULL;
}
