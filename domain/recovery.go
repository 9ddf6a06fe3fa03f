package domain

import (
	"context"
	"fmt"
	"time"
)

// Seed is where a group starts in a generation, and all its holes up to there.
type Seed struct {
	Start  int64 // the first message gets Start+1
	LastMS int64 // time of the last stored message
	Holes  Holes
	// Recent are the latest sends with a client_id, of DedupeWindow: a repeat of one of them is a repeat in the
	// new generation, too.
	Recent []RecentSend
	// Sent counts the users' own messages in a direct conversation, of the lower id and of the higher, up to
	// MaxStrangerLimit: what the stranger limit goes by. Where both have written it says no more than that. Zero for other
	// groups.
	Sent [2]int64
}

// MaxStrangerLimit is where messages to a stranger are no longer counted, and so the highest limit there can be.
const MaxStrangerLimit = 1000

// DedupeWindow is how long a client_id is remembered.
const DedupeWindow = 10 * time.Minute

// RecentSend is what is remembered of a send for its repeats.
type RecentSend struct {
	Dedupe string // DedupeID
	Seq    int64
	TimeMS int64
	Hash   string
}

// RecentSend is what repeats of a message are known by; false for one without a client_id.
func (m *Message) RecentSend() (RecentSend, bool) {
	return RecentSend{Dedupe: DedupeID(m.Group, m.From, m.ClientID), Seq: m.Seq, TimeMS: m.TimeMS, Hash: m.Hash}, m.ClientID != ""
}

// SeedStore is the MySQL side of seeding.
type SeedStore interface {
	// Seed decides, in one transaction and once for all instances, where each group starts in gen: 0 if the
	// group was created in this very generation, otherwise well above everything ever accounted for. It records
	// the seqs left out as holes.
	Seed(ctx context.Context, partition int, gen int64, groups []string) (map[string]Seed, error)
}

// SeedCache is the Redis side of seeding.
type SeedCache interface {
	// SetSeeds sets the seqs of groups that gen does not know yet.
	SetSeeds(ctx context.Context, partition int, gen int64, seeds map[string]Seed) error
}

// Recovery brings back into Redis what an append found missing there.
type Recovery struct {
	gens  *Generations
	heads *Heads
	store SeedStore
	cache SeedCache
	opens DirectOpener
}

// DirectOpener makes direct conversations.
type DirectOpener interface {
	// OpenDirect makes the conversation of this id, if nobody else has meanwhile.
	OpenDirect(ctx context.Context, group string) error
}

// NewRecovery puts the sides together.
func NewRecovery(gens *Generations, heads *Heads, store SeedStore, cache SeedCache) *Recovery {
	return &Recovery{gens: gens, heads: heads, store: store, cache: cache}
}

// Renew finds the partition's generation after seen turned out stale.
func (r *Recovery) Renew(ctx context.Context, partition int, seen int64) error {
	return r.gens.Renew(ctx, partition, seen)
}

// UseOpener tells who opens direct conversations. To be called before the first Load that opens one: Groups is made
// of the same parts.
func (r *Recovery) UseOpener(o DirectOpener) { r.opens = o }

// Load caches a group and its members: not_found when there is none, unless open asks for the direct conversation of
// this id to be made.
func (r *Recovery) Load(ctx context.Context, group string, open bool) error {
	_, err := r.heads.Load(ctx, group)
	if !open || CodeOf(err) != CodeNotFound {
		return err
	}
	if err := r.opens.OpenDirect(ctx, group); err != nil {
		return err
	}
	_, err = r.heads.Load(ctx, group)
	return err
}

// Seed gives groups their starting seqs in gen.
func (r *Recovery) Seed(ctx context.Context, partition int, gen int64, groups []string) error {
	seeds, err := r.store.Seed(ctx, partition, gen, groups)
	if err != nil {
		return Unavailable(fmt.Errorf("seed %d groups in generation %d: %w", len(groups), gen, err), "MySQL")
	}
	if err := r.cache.SetSeeds(ctx, partition, gen, seeds); err != nil {
		return Failed(fmt.Errorf("set %d seeds in generation %d: %w", len(seeds), gen, err), "Redis")
	}
	return nil
}
