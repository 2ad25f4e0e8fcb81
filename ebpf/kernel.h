/* What the programs need of the kernel's interface, by hand: types, numbers and calls, each as in the kernel's
 * own headers (linux/bpf.h, linux/ip.h, linux/tcp.h and so on), without a copy of all its types. */
#pragma once

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed int __s32;
typedef signed long long __s64;
/* In network byte order. */
typedef __u16 __be16;
typedef __u32 __be32;

#define NULL ((void *)0)
#define inline inline __attribute__((always_inline))
/* A function that the kernel verifies by itself, once, and not at each call: what it is given it must not rely on. */
#define SEPARATE __attribute__((noinline))
#define SECTION(name) __attribute__((section(name), used))
#define memcpy __builtin_memcpy
#define memset __builtin_memset

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define htons(it) ((__be16)__builtin_bswap16(it))
#define htonl(it) ((__be32)__builtin_bswap32(it))
#else
#define htons(it) ((__be16)(it))
#define htonl(it) ((__be32)(it))
#endif
#define ntohs(it) htons(it)
#define ntohl(it) htonl(it)

/* Maps, as BTF describes them. */
#define MAP_UINT(name, value) int (*name)[value]
#define MAP_TYPE(name, value) typeof(value) *name
#define PIN_BY_NAME 1

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LPM_TRIE = 11,
};
enum { BPF_F_NO_PREALLOC = 1 };
enum { BPF_ANY = 0 };

/* What a classifier says of a packet. */
enum { TC_ACT_OK = 0, TC_ACT_SHOT = 2 };

/* What a program at a socket says of a call. */
enum { REFUSED = 0, ALLOWED = 1 };

enum { PACKET_HOST = 0 };
enum { ETH_BYTES = 14, ETH_P_IP = 0x0800, ETH_P_IPV6 = 0x86dd };
enum {
	IPPROTO_HOPOPTS = 0,
	IPPROTO_ICMP = 1,
	IPPROTO_IPIP = 4,
	IPPROTO_TCP = 6,
	IPPROTO_UDP = 17,
	IPPROTO_IPV6 = 41,
	IPPROTO_ROUTING = 43,
	IPPROTO_FRAGMENT = 44,
	IPPROTO_ICMPV6 = 58,
	IPPROTO_DSTOPTS = 60,
};
enum { EADDRINUSE = 98 };
enum { CLOCK_MONOTONIC = 1 };

/* A packet, as a classifier sees it. */
struct __sk_buff {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	__u32 protocol;
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 vlan_proto;
	__u32 priority;
	__u32 ingress_ifindex;
	__u32 ifindex;
	__u32 tc_index;
	__u32 cb[5];
	__u32 hash;
	__u32 tc_classid;
	__u32 data;
	__u32 data_end;
	__u32 napi_id;
	__u32 family;
	__u32 remote_ip4;
	__u32 local_ip4;
	__u32 remote_ip6[4];
	__u32 local_ip6[4];
	__u32 remote_port;
	__u32 local_port;
	__u32 data_meta;
	__u64 flow_keys;
	__u64 tstamp;
	__u32 wire_len;
	__u32 gso_segs;
	__u64 sk;
	__u32 gso_size;
	__u8 tstamp_type;
	__u64 hwtstamp;
};

/* A call at a socket. */
struct bpf_sock_addr {
	__u32 user_family;
	__u32 user_ip4;
	__u32 user_ip6[4];
	__u32 user_port;
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 msg_src_ip4;
	__u32 msg_src_ip6[4];
	__u64 sk;
};

/* Whom to look for among the sockets. */
struct bpf_sock_tuple {
	union {
		struct {
			__be32 saddr, daddr;
			__be16 sport, dport;
		} ipv4;
		struct {
			__be32 saddr[4], daddr[4];
			__be16 sport, dport;
		} ipv6;
	};
};

struct bpf_sock;
struct bpf_timer {
	__u64 opaque[2];
} __attribute__((aligned(8)));

struct ethernet_header {
	__u8 to[6], from[6];
	__be16 protocol;
};

/* RFC 791, 3.1. */
struct ipv4_header {
	__u8 version_words;
	__u8 service;
	__be16 bytes;
	__be16 id;
	__be16 fragment;
	__u8 hops;
	__u8 protocol;
	__u16 checksum;
	__be32 from, to;
};
enum { IPV4_DONT_FRAGMENT = 0x4000, IPV4_MORE = 0x2000, IPV4_OFFSET = 0x1fff };

/* RFC 8200, 3. */
struct ipv6_header {
	__be32 version_class_flow;
	__be16 payload_bytes;
	__u8 next;
	__u8 hops;
	__be32 from[4], to[4];
};

/* RFC 8200, 4.5. */
struct ipv6_fragment {
	__u8 next;
	__u8 zero;
	__be16 offset_more;
	__be32 id;
};

/* RFC 9293, 3.1, without options. */
struct tcp_header {
	__be16 from, to;
	__be32 sequence, acknowledged;
	__u8 words;
	__u8 flags;
	__be16 window;
	__u16 checksum;
	__be16 urgent;
};
enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16 };

/* RFC 768. */
struct udp_header {
	__be16 from, to;
	__be16 bytes;
	__u16 checksum;
};

/* RFC 792 and RFC 4443, 2.1: the head that all messages have. */
struct icmp_header {
	__u8 type, code;
	__u16 checksum;
	__be32 rest;
};

/* Calls into the kernel, by number (enum bpf_func_id; bpf-helpers(7)). */
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static long (*const bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static __u32 (*const bpf_get_prandom_u32)(void) = (void *)7;
static long (*const bpf_skb_store_bytes)(struct __sk_buff *skb, __u32 at, const void *from, __u32 bytes, __u64 flags) =
	(void *)9;
static long (*const bpf_l3_csum_replace)(struct __sk_buff *skb, __u32 at, __u64 from, __u64 to, __u64 bytes) =
	(void *)10;
static long (*const bpf_l4_csum_replace)(struct __sk_buff *skb, __u32 at, __u64 from, __u64 to, __u64 flags) =
	(void *)11;
static long (*const bpf_redirect)(__u32 link, __u64 flags) = (void *)23;
static long (*const bpf_skb_load_bytes)(const void *skb, __u32 at, void *to, __u32 bytes) = (void *)26;
static __s64 (*const bpf_csum_diff)(__be32 *from, __u32 from_bytes, __be32 *to, __u32 to_bytes, __u32 seed) =
	(void *)28;
static long (*const bpf_skb_change_tail)(struct __sk_buff *skb, __u32 bytes, __u64 flags) = (void *)38;
static __s64 (*const bpf_csum_update)(struct __sk_buff *skb, __u32 change) = (void *)40;
static long (*const bpf_skb_change_head)(struct __sk_buff *skb, __u32 bytes, __u64 flags) = (void *)43;
static __u64 (*const bpf_get_socket_cookie)(void *context) = (void *)46;
static long (*const bpf_skb_adjust_room)(struct __sk_buff *skb, __s32 bytes, __u32 where, __u64 flags) = (void *)50;
static long (*const bpf_sk_release)(void *socket) = (void *)86;
static struct bpf_sock *(*const bpf_sk_lookup_udp)(void *context, struct bpf_sock_tuple *tuple, __u32 bytes,
						   __u64 network, __u64 flags) = (void *)85;
static struct bpf_sock *(*const bpf_skc_lookup_tcp)(void *context, struct bpf_sock_tuple *tuple, __u32 bytes,
						    __u64 network, __u64 flags) = (void *)99;
static __u64 (*const bpf_get_netns_cookie)(void *context) = (void *)122;
static long (*const bpf_redirect_neigh)(__u32 link, void *next, int next_bytes, __u64 flags) = (void *)152;
static long (*const bpf_redirect_peer)(__u32 link, __u64 flags) = (void *)155;
static long (*const bpf_timer_init)(struct bpf_timer *timer, void *map, __u64 clock) = (void *)169;
static long (*const bpf_timer_set_callback)(struct bpf_timer *timer, void *callback) = (void *)170;
static long (*const bpf_timer_start)(struct bpf_timer *timer, __u64 nanoseconds, __u64 flags) = (void *)171;
static int (*const bpf_set_retval)(int value) = (void *)187;

/* Flags of bpf_l4_csum_replace; the low four bits are how many bytes change. */
enum { BPF_F_PSEUDO_HDR = 1 << 4, BPF_F_MARK_MANGLED_0 = 1 << 5 };
/* Where bpf_skb_adjust_room makes room: below the link's header. */
enum { BPF_ADJ_ROOM_MAC = 1 };
enum {
	BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 = 1 << 1,
	BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 = 1 << 2,
};
/* Looks in the network that the program is in. */
#define BPF_F_CURRENT_NETNS (-1L)
