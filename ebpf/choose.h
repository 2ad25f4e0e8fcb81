/* Which replica takes a connection: the same for all nodes, without a word between them. */
#pragma once
#include "health.h"
#include "packet.h"

/* Other slots that are looked at while the chosen replica is down. */
enum { TRIES_MAX = 16 };

static inline __u32 mixed(__u32 hash, __u32 more)
{
	hash ^= more;
	hash *= 0x9e3779b1;
	return hash ^ hash >> 15;
}

/* From the client and the port that it asks for, and not from the address at which it does: whichever node it comes
 * to, the choice is the same, so that another can go on where one has gone. */
static inline __u32 hash_of(const struct flow_key *flow, __u32 flags)
{
	__u32 hash = mixed(0x46697a7a, flow->from.words[3]);

	hash = mixed(hash, flow->from.words[0] ^ flow->from.words[1]);
	hash = mixed(hash, flow->from.words[2] ^ flow->protocol);
	hash = mixed(hash, flow->to_port);
	return flags & AFFINITY ? hash : mixed(hash, flow->from_port);
}

/* The first in a table's order for a hash that is well; `first` is that which would be, were all well. */
static inline int choose_well(const struct table_key *key, __u32 hash, __u32 *first, __u32 *index)
{
	struct table *table = bpf_map_lookup_elem(&tables, key);

	if (!table)
		return 0;
	for (__u32 try = 0; try < TRIES_MAX; try++) {
		__u64 slot = (__u64)(hash + try * 0x20fffffb) * SLOTS >> 32;

		/* The compiler knows that it is; the verifier has to see it. */
		asm volatile("" : "+r"(slot));
		if (slot >= SLOTS)
			return 0;
		*index = table->slots[slot];
		if (!try)
			*first = *index;
		if (!is_down(*index))
			return 1;
	}
	return 0;
}

/* The number of the backend for a hash from a pool's table (Maglev: Eisenbud et al., NSDI 2016, 3.4); none has
 * BACKENDS_MAX. Where none is well, it is as if all were. */
SEPARATE int choose(__u32 pool, __u32 flags, __u32 hash)
{
	struct table_key key = { .pool = pool };
	__u32 first = BACKENDS_MAX, index = 0;

	if (choose_well(&key, hash, &first, &index))
		return index;
	key.standby = 1;
	if (flags & LOCAL_FIRST && choose_well(&key, hash, &first, &index))
		return index;
	return first;
}

static inline int has_backends(const struct frontend *frontend)
{
	struct table_key key = { .pool = frontend->pool };

	return bpf_map_lookup_elem(&tables, &key) != NULL;
}

/* The frontend that a packet is for. */
static inline struct frontend *frontend_of(const struct flow_key *flow)
{
	struct frontend_key key = { .to = flow->to, .port = flow->to_port, .protocol = flow->protocol };
	struct frontend *found = bpf_map_lookup_elem(&frontends, &key);

	if (found)
		return found;
	if (!is_local(&flow->to))
		return NULL;
	memset(&key.to, 0, sizeof(key.to));
	return bpf_map_lookup_elem(&frontends, &key);
}

static inline int may_come_in(const struct frontend *frontend, const struct address *from)
{
	struct range_key key = { .bits = 32 + 128, .pool = frontend->pool, .from = *from };

	return !(frontend->flags & RANGES) || bpf_map_lookup_elem(&ranges, &key);
}
