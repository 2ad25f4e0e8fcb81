/* What connections tell of the replicas: who refuses one, or leaves it unanswered, gets no other, at once and without the
 * daemon. That is a suspicion: an active check by the daemon, or another sign of life, ends it, and of a pool no more than
 * half are taken out for it. */
#pragma once
#include "maps.h"

static inline void take_out(__u32 index, enum standing why)
{
	__u32 standing;
	struct backend *backend = bpf_map_lookup_elem(&backends, &index);
	struct state *state = bpf_map_lookup_elem(&states, &index);
	__u32 number = backend ? backend->pool : 0;
	struct pool *pool = bpf_map_lookup_elem(&pools, &number);

	if (!backend || !state || !pool || state->standing != WELL)
		return;
	if (__sync_fetch_and_add(&pool->down, 1) >= pool->backends / 2) {
		__sync_fetch_and_add(&pool->down, -1);
		return;
	}
	if (__sync_val_compare_and_swap(&state->standing, WELL, why) != WELL) {
		__sync_fetch_and_add(&pool->down, -1);
		return;
	}
	standing = why;
	bpf_map_update_elem(&outs, &index, &standing, BPF_ANY);
}

static inline void take_back(__u32 index)
{
	struct backend *backend = bpf_map_lookup_elem(&backends, &index);
	struct state *state = bpf_map_lookup_elem(&states, &index);
	__u32 number = backend ? backend->pool : 0;
	struct pool *pool = bpf_map_lookup_elem(&pools, &number);

	if (!backend || !state || !pool)
		return;
	if (__sync_lock_test_and_set(&state->standing, WELL) == WELL)
		return;
	__sync_fetch_and_add(&pool->down, -1);
	bpf_map_delete_elem(&outs, &index);
}

static inline int is_down(__u32 index)
{
	struct state *state = bpf_map_lookup_elem(&states, &index);

	return state && state->standing != WELL;
}

static int on_silence(void *map __attribute__((unused)), __u32 *index, struct watch *watch)
{
	__u64 asked = watch->asked_ns, waited = bpf_ktime_get_ns() - asked;
	struct backend *backend = bpf_map_lookup_elem(&backends, index);
	struct counts *count = bpf_map_lookup_elem(&counts, index);

	if (!asked || !backend)
		return 0;
	if (waited < backend->patience_ns) {
		bpf_timer_start(&watch->timer, backend->patience_ns - waited, 0);
		return 0;
	}
	watch->asked_ns = 0;
	if (count)
		__sync_fetch_and_add(&count->silent, 1);
	take_out(*index, SILENT);
	return 0;
}

/* A connection was sent to a backend. */
static inline void was_asked(__u32 index, int is_tcp)
{
	struct backend *backend = bpf_map_lookup_elem(&backends, &index);
	struct watch *watch = bpf_map_lookup_elem(&watches, &index);
	struct counts *count = bpf_map_lookup_elem(&counts, &index);

	if (!backend || !watch || !count)
		return;
	__sync_fetch_and_add(&count->connections, 1);
	if (!is_tcp || !backend->patience_ns || watch->asked_ns)
		return;
	watch->asked_ns = bpf_ktime_get_ns();
	if (!__sync_lock_test_and_set(&watch->timed, 1)) {
		bpf_timer_init(&watch->timer, &watches, CLOCK_MONOTONIC);
		bpf_timer_set_callback(&watch->timer, on_silence);
	}
	bpf_timer_start(&watch->timer, backend->patience_ns, 0);
}

/* It took a connection. */
static inline void has_answered(__u32 index, __u64 after_ns)
{
	struct watch *watch = bpf_map_lookup_elem(&watches, &index);
	struct counts *count = bpf_map_lookup_elem(&counts, &index);
	struct state *state = bpf_map_lookup_elem(&states, &index);

	if (!watch || !count || !state)
		return;
	__sync_fetch_and_add(&count->answered, 1);
	watch->asked_ns = 0;
	/* An eighth of the newest, as TCP smooths its round-trip time (RFC 6298, 2). */
	watch->answer_ns = watch->answer_ns ? watch->answer_ns - (watch->answer_ns >> 3) + (after_ns >> 3) : after_ns;
	if (state->standing != WELL)
		take_back(index);
}

static inline void has_refused(__u32 index)
{
	struct watch *watch = bpf_map_lookup_elem(&watches, &index);
	struct counts *count = bpf_map_lookup_elem(&counts, &index);

	if (!watch || !count)
		return;
	__sync_fetch_and_add(&count->refused, 1);
	watch->asked_ns = 0;
	take_out(index, REFUSED_ONE);
}

static inline void has_reset(__u32 index)
{
	struct counts *count = bpf_map_lookup_elem(&counts, &index);

	if (count)
		__sync_fetch_and_add(&count->resets, 1);
}
