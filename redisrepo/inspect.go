package redisrepo

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

const unpersistedRead = 500 // messages in one answer

// InspectGroup shows what there is of a group, and fills nothing in; see domain.InspectCache.
func (s *Store) InspectGroup(ctx context.Context, group string) (*domain.CachedGroup, error) {
	p, gen := s.of(group)
	recent := recentKey(p, gen, group)
	pipe := s.rdb.Pipeline()
	numbers := &partitionNumbers{gen: gen, groups: []string{group}}
	numbers.persisted = pipe.HMGet(ctx, persistedKey(p, gen), group) // first: a seq read later is never below its watermark
	numbers.seqs = pipe.HMGet(ctx, seqKey(p, gen), group)
	numbers.holes = pipe.HMGet(ctx, holesKey(p, gen), group)
	head := headCmds{numbers: numbers, gen: gen}
	head.group = pipe.HMGet(ctx, groupKey(p, group), "*loaded", "*type", "*flags", "*join", "*name", "*version", "")
	length := pipe.XLen(ctx, recent)
	first := pipe.XRangeN(ctx, recent, "-", "+", 1)
	last := pipe.XRevRangeN(ctx, recent, "+", "-", 1)
	speakers := pipe.ZScore(ctx, heatKey(p), group)
	messages := pipe.ZScore(ctx, trafficKey(p), group)
	if err := execIgnoringNil(ctx, pipe); err != nil {
		return nil, fmt.Errorf("inspect %s: %w", group, err)
	}
	c := &domain.CachedGroup{Partition: p, Gen: gen, RecentCount: length.Val()}
	c.Heat = domain.GroupHeat{Speakers: int(speakers.Val()), Messages: int(messages.Val())}
	c.Group = group
	if err := head.into(&c.CachedHead); err != nil {
		return nil, fmt.Errorf("inspect %s: %w", group, err)
	}
	var err error
	if c.RecentFrom, err = onlySeq(first.Val()); err != nil {
		return nil, err
	}
	if c.RecentTo, err = onlySeq(last.Val()); err != nil {
		return nil, err
	}
	online, err := s.Online(ctx, []string{group})
	c.Online = online[group]
	return c, err
}

// onlySeq is the seq of a recent message; 0 for none.
func onlySeq(messages []redis.XMessage) (int64, error) {
	if len(messages) == 0 {
		return 0, nil
	}
	return recentSeq(messages[0])
}

func recentSeq(m redis.XMessage) (int64, error) {
	seq, err := strconv.ParseInt(strings.TrimSuffix(m.ID, "-0"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("recent message %s: %w", m.ID, err)
	}
	return seq, nil
}

// Unpersisted reads back from the newest message; see domain.RateCache.
func (s *Store) Unpersisted(ctx context.Context, group string, sinceMS int64, most int) (watermark int64, times []int64, known bool, err error) {
	p, gen := s.of(group)
	mark, err := s.rdb.HGet(ctx, persistedKey(p, gen), group).Result()
	if err != nil {
		return 0, nil, false, ignoreNil(err)
	}
	if watermark, err = strconv.ParseInt(mark, 10, 64); err != nil {
		return 0, nil, false, fmt.Errorf("watermark of %s: %w", group, err)
	}
	for before := "+"; len(times) < most; {
		messages, err := s.rdb.XRevRangeN(ctx, recentKey(p, gen, group), before, streamID(watermark+1), unpersistedRead).Result()
		if err != nil {
			return 0, nil, false, fmt.Errorf("recent messages of %s: %w", group, err)
		}
		records, err := recentRecords(domain.Range{Group: group}, messages)
		if err != nil {
			return 0, nil, false, err
		}
		for _, r := range records {
			if r.TimeMS < sinceMS {
				return watermark, times, true, nil
			}
			times = append(times, r.TimeMS)
		}
		if len(messages) < unpersistedRead {
			break
		}
		before = "(" + messages[len(messages)-1].ID
	}
	return watermark, times, true, nil
}
