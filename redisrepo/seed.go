package redisrepo

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

// Holes are kept as '<from>-<to>:<reason>' joined by spaces.
func formatHoles(holes domain.Holes) string {
	var b strings.Builder
	for i, h := range holes {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%d-%d:%s", h.From, h.To, h.Reason)
	}
	return b.String()
}

func parseHoles(s string) (domain.Holes, error) {
	var holes domain.Holes
	for text := range strings.FieldsSeq(s) {
		var h domain.Hole
		if _, err := fmt.Sscanf(text, "%d-%d:%s", &h.From, &h.To, &h.Reason); err != nil {
			return nil, fmt.Errorf("hole: %w", err)
		}
		holes = append(holes, h)
	}
	return holes, nil
}

// SetSeeds gives groups their starting seqs; see domain.SeedCache.
func (s *Store) SetSeeds(ctx context.Context, partition int, gen int64, seeds map[string]domain.Seed) error {
	if err := s.rememberSends(ctx, partition, gen, seeds); err != nil {
		return err
	}
	keys := []string{
		genKey(partition), seqKey(partition, gen), holesKey(partition, gen), persistedKey(partition, gen),
		directKey(partition, gen),
	}
	args := []any{gen}
	for group, seed := range seeds {
		value := strconv.FormatInt(seed.Start, 10) + " " + strconv.FormatInt(seed.LastMS, 10)
		args = append(args, group, value, formatHoles(seed.Holes), seed.Start, formatSent(seed.Sent))
	}
	word, err := s.run(ctx, seedScript, keys, args...).Text()
	if err != nil {
		return fmt.Errorf("seed %d groups: %w", len(seeds), orFull(err))
	}
	if word != "OK" {
		return fmt.Errorf("seed %d groups: generation %d is no longer current", len(seeds), gen)
	}
	for _, seed := range seeds {
		if seed.Start > 0 { // not of a new group
			s.reseeds.Inc()
		}
	}
	return nil
}

// SetHoles takes over a group's holes after they have changed in MySQL, and lets its recent messages start where its
// history does. It speaks to the generation that Redis is in, which may be newer than the caller knows and have read them
// before they changed. Nor does it wait for that one: it may be waiting for this.
func (s *Store) SetHoles(ctx context.Context, group string, holes domain.Holes) error {
	p, gen := s.of(group)
	for range maxRenewals {
		keys := []string{genKey(p), seqKey(p, gen), holesKey(p, gen), floorKey(p, gen), recentKey(p, gen, group), recalledKey(p, gen, group)}
		word, err := s.run(ctx, holesScript, keys, gen, group, formatHoles(holes), holes.MinSeq()).Text()
		if err == nil && word == "STALE" {
			gen, err = s.rdb.HGet(ctx, genKey(p), "gen").Int64()
			if err == nil {
				continue
			}
		}
		if ignoreNil(err) != nil { // a Redis without a generation knows no holes
			return fmt.Errorf("set the holes of %s: %w", group, err)
		}
		return nil
	}
	return fmt.Errorf("set the holes of %s: generations follow on each other", group)
}

func formatSent(sent [2]int64) string {
	if sent == [2]int64{} {
		return ""
	}
	return strconv.FormatInt(sent[0], 10) + " " + strconv.FormatInt(sent[1], 10)
}

// rememberSends keeps the idempotency keys of a former generation in this one, before its first append.
func (s *Store) rememberSends(ctx context.Context, partition int, gen int64, seeds map[string]domain.Seed) error {
	pipe := s.rdb.Pipeline()
	now, err := s.NowMS(ctx)
	if err != nil {
		return err
	}
	for _, seed := range seeds {
		addSends(ctx, pipe, partition, gen, now, seed.Recent)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("remember the sends of a former generation: %w", orFull(err))
	}
	return nil
}

// RememberSends keeps the idempotency keys of sends that came late to MySQL, by group: their seeds were made without them.
func (s *Store) RememberSends(ctx context.Context, sends map[string][]domain.RecentSend) error {
	pipe := s.rdb.Pipeline()
	now, err := s.NowMS(ctx)
	if err != nil {
		return err
	}
	for group, list := range sends {
		p, gen := s.of(group)
		addSends(ctx, pipe, p, gen, now, list)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("remember the sends of %d groups: %w", len(sends), err)
	}
	return nil
}

// addSends does nothing where the sender has repeated the send meanwhile.
func addSends(ctx context.Context, pipe redis.Pipeliner, partition int, gen, nowMS int64, sends []domain.RecentSend) {
	for _, r := range sends {
		left := domain.DedupeWindow - time.Duration(nowMS-r.TimeMS)*time.Millisecond
		if left > 0 {
			value := fmt.Sprintf("%d %d %s", r.Seq, r.TimeMS, r.Hash)
			pipe.SetNX(ctx, dedupeKey(partition, gen, r.Dedupe), value, left)
		}
	}
}
