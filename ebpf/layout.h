/* The maps: what the daemon and the programs tell each other. `src/network/ingress/layout.rs` has the same in Rust,
 * and a test there compares each size with what the compiler wrote into the object. */
#pragma once
#include "kernel.h"

/* How many of each there may be. */
enum {
	/* Of a pool's table: a prime, as Maglev needs (Eisenbud et al., NSDI 2016, 3.4), with which an entry of the map
	 * stays within 2 KiB, of which the kernel would else take double. */
	SLOTS = 983,
	FRONTENDS_MAX = 65536,
	POOLS_MAX = 65536,
	BACKENDS_MAX = 65536,
	RANGES_MAX = 65536,
	FLOWS_MAX = 262144, /* each has two entries, one for each way */
	SOCKETS_MAX = 65536,
	FRAGMENTS_MAX = 8192,
	LOCALS_MAX = 1024,
	ENDS_MAX = 65536,
	PEERS_MAX = 4096,
};

/* An address of either family; IPv4's as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2). */
struct address {
	__be32 words[4];
};

/* A published port. `to` is all zero where it is published at all the node's addresses. */
struct frontend_key {
	struct address to;
	__be16 port;
	__u8 protocol;
	__u8 zero;
};

enum {
	RANGES = 1,      /* only who is in its source ranges may come in */
	AFFINITY = 2,    /* a client's address alone chooses */
	LOCAL_FIRST = 4, /* its table has replicas of this node alone, and one of all stands by */
};
struct frontend {
	__u32 pool;
	__u32 flags;
};

/* Source ranges of a pool. */
struct range_key {
	__u32 bits; /* of what follows: 32 for the pool, and the prefix's */
	__u32 pool;
	struct address from;
};

/* Who takes a pool's connections: numbers of backends. One update changes all of it. */
struct table {
	__u16 slots[SLOTS];
};
struct table_key {
	__u32 pool;
	__u32 standby; /* the one of all, where the first is of this node alone */
};

/* How many a pool has, and how many of them the programs have taken out. */
struct pool {
	__u32 backends;
	__u32 down;
};

/* A replica's port. Where the number stands for another, the daemon has first removed all flows to the old. */
enum {
	LEAVING = 1, /* keeps its connections, and gets no other */
};
struct backend {
	__be32 address; /* its IPv6 address has the same last bytes, behind the containers' prefix */
	__be16 port;
	__u8 protocol;
	__u8 flags;
	__be32 through; /* the gateway of its node, in the mesh; zero: it is here */
	__u32 link;     /* here: the node's end of its link */
	__u32 pool;
	__u32 zero;
	__u64 patience_ns; /* how long it may leave a connection's first packet unanswered */
};

/* The same from the other side: whose is an address and port? */
struct owner_key {
	__be32 address;
	__be16 port;
	__u8 protocol;
	__u8 zero;
};

/* A backend as the programs find it. */
enum standing {
	WELL = 0,
	REFUSED_ONE = 1, /* it answered a connection with a reset */
	SILENT = 2, /* it did not answer a connection in time */
};
struct state {
	__u32 standing; /* not well: it gets no connection while others in its pool are well */
	__u32 zero;
};
struct watch {
	__u64 asked_ns; /* when the oldest connection that waits for an answer came; zero: none waits */
	__u64 answer_ns; /* how long answers take, smoothed */
	struct bpf_timer timer;
	__u64 timed; /* the timer is set up */
};
struct counts {
	__u64 connections, answered, refused, silent, resets;
};

/* One way of a connection, by what its packets carry on that way. */
enum { IN = 0, BACK = 1 };
struct flow_key {
	struct address from, to;
	__be16 from_port, to_port;
	__u8 protocol;
	__u8 way;
	__u16 zero;
};
enum flow_state {
	OPENING = 1,
	OPEN = 2,
	CLOSING = 3,
	ENDED = 4,
	PASSED = 5, /* one that a replica opened itself: nothing is translated */
};
enum {
	FLAT = 1,    /* `link` has no hardware addresses */
	PEER = 2,    /* `link` is a container's: what is sent arrives inside */
};
/* What is to be written into its packets, and where they go. */
struct flow {
	struct address from, to;
	__be16 from_port, to_port;
	__u8 state;
	__u8 flags;
	__u16 zero;
	__u32 backend;
	__be32 through; /* into the mesh, to the node that has this gateway; zero: by `link` */
	__u32 link;
	__u32 zero2;
	__u64 seen_ns;
	__u64 began_ns;
};

/* Which ports a datagram's later fragments have. */
struct fragment_key {
	struct address from, to;
	__be32 id;
	__u32 protocol;
};
struct fragment {
	__be16 from_port, to_port;
};

/* What a socket of the host's own meant to reach. */
struct socket_key {
	__u64 cookie;
	struct address at;
	__be16 port;
	__u16 zero;
	__u32 zero2;
};
struct socket {
	struct address meant;
	__be16 port;
	__u16 zero;
};

/* About this node. */
struct settings {
	__u64 network;        /* the cookie of the host's namespace */
	__u32 mesh_link;
	__u32 mesh_bytes_max; /* its largest packet */
	__be32 gateway;       /* this node's address in the mesh's IPv4 network */
	__be32 overlay, overlay_mask;
	__be32 prefix[2];     /* of all containers' IPv6 addresses: 64 bits */
	__be32 cluster[2];    /* of all the cluster's: the first 48 bits */
	__u32 zero;
};

/* Why packets did not go on. */
enum drop {
	MALFORMED,
	NOT_ALLOWED, /* not from a frontend's ranges */
	FORGED,      /* from outside, with an address that only insiders have */
	NO_BACKEND,
	FRAGMENTED,  /* a fragment whose first was not seen */
	STRAY,       /* a reply that belongs to no known connection */
	STRANGER,    /* out of the mesh, and not from a node or not to a backend */
	FAILED,      /* the kernel would not change the packet */
	DROPS,
};
